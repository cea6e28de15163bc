import { createHash, sign, type KeyObject } from 'node:crypto'
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
  /** The claims object that the assertion was made from. Must not keep the object of an ended session. */
  claims: WeakRef<Claims>
  /** The hash of the members that do not depend on the time. */
  readonly digest: string
  readonly madeAt: number
  readonly jwt: string
}

/** The limit for the texts of all assertions. */
const MAX_CHARACTERS = 16_000_000
/** What an entry takes besides its JWT, in about as many bytes. */
const ENTRY_OVERHEAD = 500
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
  const made = new LRUCache<string, ReadonlyMap<string, Made>>({ maxSize: MAX_CHARACTERS, sizeCalculation: sizeOf })
  let sweptAt = 0

  function isFresh({ madeAt }: Made, now: number): boolean {
    // After the clock was set back, `iat` would be in the future.
    return now >= madeAt && now < madeAt + lifetime / 2
  }

  /** Lets go of the assertions that are not used any more. */
  function sweep(now: number): void {
    if (Math.abs(now - sweptAt) < lifetime / 2) return
    sweptAt = now
    for (const [user, assertions] of made.entries())
      if (![...assertions.values()].some((one) => isFresh(one, now))) made.delete(user)
  }

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
      const user = who.id ?? who.digest ?? ''
      const place = `${index} ${origin}`
      const ofUser = made.get(user)
      const found = ofUser?.get(place)
      const known = found !== undefined && isFresh(found, now) ? found : null
      if (known !== null && known.claims.deref() === who.claims) return known.jwt
      const content = contentOf(origin, who)
      const digest = createHash('sha256').update(content).digest('base64url')
      const claims = new WeakRef(who.claims)
      if (known?.digest === digest) {
        known.claims = claims
        return known.jwt
      }
      const jwt = signed(content, now)
      sweep(now)
      const others = [...(ofUser ?? [])].filter(([other, one]) => other !== place && isFresh(one, now))
      // Another map, because the cache asks for the size of a new value only.
      if (user !== '')
        made.set(user, new Map([...others.slice(1 - MAX_PER_USER), [place, { claims, digest, madeAt: now, jwt }]]))
      return jwt
    },
  }
}

function sizeOf(assertions: ReadonlyMap<string, Made>): number {
  let size = 0
  for (const [place, { jwt }] of assertions) size += place.length + jwt.length + ENTRY_OVERHEAD
  return Math.max(1, size)
}

/** Signs synchronously, so that no request waits for a promise. */
function signatureOf(key: KeyObject, input: string): Buffer {
  const hash = key.asymmetricKeyType === 'ec' ? 'sha256' : null
  return sign(hash, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
}

function encoded(text: string): string {
  return Buffer.from(text).toString('base64url')
}
