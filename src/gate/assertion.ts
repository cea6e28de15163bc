import { sign, type KeyObject } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { publicJwkOf, readPrivateKey, type PublicJwk } from '../config/private-key.ts'
import type { Config } from '../config/schema.ts'
import type { Claims } from '../oidc/token-set.ts'
import { compileClaimPath, rawValueAt } from './claims.ts'
import type { CompiledRoute, Who } from './verdict.ts'

/** The JWTs that prove to an application that a request came through the gateway, and who sent it. */
export interface Assertions {
  /** The public keys that verify assertions, beginning with the one that signs. */
  readonly publicKeys: readonly PublicJwk[]
  /**
   * Returns the assertion for a user on a route, at `now` (ms since the epoch). Signs only if there is no assertion for
   * this session, route and public origin yet, if half of its lifetime is over, or if the claims have changed.
   */
  make(origin: string, route: Pick<CompiledRoute, 'index'>, who: Who, now: number): string
}

interface Made {
  /** The claims object that `content` was made from. */
  claims: Claims
  readonly content: string
  readonly madeAt: number
  readonly jwt: string
}

const MAX_USERS = 20_000
/** The limit for routes and origins of one user. With a wildcard in `publicUrl`, a client can name any number of hosts. */
const MAX_PER_USER = 100

export function createAssertions({
  keys,
  audience,
  lifetime,
  claims: names,
}: NonNullable<Config['assertion']>): Assertions {
  const privateKeys = keys.map((text) => readPrivateKey(text, 'assert'))
  const publicKeys = privateKeys.map(publicJwkOf)
  const paths = names.map(compileClaimPath)
  const [signing] = privateKeys
  const [published] = publicKeys
  if (signing === undefined || published === undefined) throw new Error('there is no key for assertions')
  const { key } = signing
  const { alg, kid } = published
  const header = encoded(JSON.stringify({ alg, typ: 'JWT', kid }))
  // With the option `max`, the library would allocate memory for all entries in advance.
  const made = new LRUCache<string | Claims, Map<string, Made>>({ maxSize: MAX_USERS, sizeCalculation: () => 1 })

  /** Returns the members that do not depend on the time, as JSON. */
  function contentOf(origin: string, { claims, id, provider }: Who): string {
    const own = {
      iss: origin,
      aud: audience ?? origin,
      sub: claims['sub'],
      sid: id,
      // Users of two providers may have the same `sub`.
      provider,
    }
    return JSON.stringify({ ...Object.fromEntries(paths.map((path) => [path.name, rawValueAt(claims, path)])), ...own })
  }

  function signed(content: string, now: number): string {
    const iat = Math.floor(now / 1000)
    const times = `,"iat":${iat},"exp":${iat + Math.floor(lifetime / 1000)}}`
    const input = `${header}.${encoded(content.slice(0, -1) + times)}`
    return `${input}.${signatureOf(key, input).toString('base64url')}`
  }

  return {
    publicKeys,
    make(origin, { index }, who, now) {
      const user = who.id ?? who.digest ?? who.claims
      const place = `${index} ${origin}`
      let ofUser = made.get(user)
      if (ofUser === undefined) made.set(user, (ofUser = new Map()))
      const known = ofUser.get(place)
      // If the clock was set back, `iat` would be in the future.
      const isFresh = known !== undefined && now >= known.madeAt && now < known.madeAt + lifetime / 2
      if (isFresh && known.claims === who.claims) return known.jwt
      const content = contentOf(origin, who)
      if (isFresh && known.content === content) {
        known.claims = who.claims
        return known.jwt
      }
      if (ofUser.size >= MAX_PER_USER) ofUser.clear()
      const jwt = signed(content, now)
      ofUser.set(place, { claims: who.claims, content, madeAt: now, jwt })
      return jwt
    },
  }
}

/** Signs synchronously, so that no request waits for a promise. */
function signatureOf(key: KeyObject, input: string): Buffer {
  const hash = key.asymmetricKeyType === 'ec' ? 'sha256' : null
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
}

function encoded(text: string): string {
  return Buffer.from(text).toString('base64url')
}
