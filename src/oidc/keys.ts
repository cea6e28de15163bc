import {
  createLocalJWKSet,
  decodeJwt,
  errors,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyOptions,
  decodeProtectedHeader,
} from 'jose'
import type { CustomFetch } from 'openid-client'
import { issuerOf } from './issuer.ts'

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/** How far the provider's clock and ours may be apart for `exp`, `nbf` and `iat` of its tokens, seconds. */
export const CLOCK_TOLERANCE = 120

/** How often, at most, each kind of miss makes the gateway ask for the key set again, ms. */
const SEARCH_PAUSE = 10_000
/** How long a key set is used without asking whether a key was taken out of it, ms. */
const MAX_AGE = 600_000

/** The provider can't give its keys just now. */
export class KeysUnavailable extends Error {}

/** The provider's signing keys. */
export interface SigningKeys {
  /**
   * Verifies a JWT's signature, its times within `CLOCK_TOLERANCE` of `now` (ms since the epoch), and the given claims
   * (RFC 7519); an `issuer` that is a template is filled from the token's `tid`. A key that is not known is looked for
   * at the provider at once, then at most every 10 s. Rejects with jose's errors, or with the network's when the keys
   * can't be had.
   */
  verify(jwt: string, checks: Checks, now?: number): Promise<JWTPayload>
}

interface Checks extends Pick<JWTVerifyOptions, 'audience' | 'maxTokenAge' | 'requiredClaims' | 'algorithms'> {
  readonly issuer?: string
}

interface Parts {
  /** Where the keys are, as the metadata says at the moment. */
  readonly address: () => string
  readonly fetch: CustomFetch
  /** Reads the metadata again unless that was done a moment ago: the keys may have moved. Never rejects. */
  readonly readAgain: () => Promise<void>
  /** ms of a clock that is never adjusted. */
  readonly clock?: () => number
}

interface KeySet {
  readonly find: ReturnType<typeof createLocalJWKSet>
  readonly at: number
  readonly from: string
}

/** The keys of the provider, fetched when they are needed first. */
export function createSigningKeys({ address, fetch, readAgain, clock = () => performance.now() }: Parts): SigningKeys {
  let known: KeySet | null = null
  let loading: Promise<KeySet> | null = null
  // A token that anybody can send, with a known key's name and a bad signature, must not use up the search for new keys.
  const unknownKey = createSearch()
  const badSignature = createSearch()

  async function read(from: string): Promise<KeySet> {
    const at = clock()
    const headers = { accept: 'application/json, application/jwk-set+json' }
    const answer = await fetch(from, { method: 'GET', headers, body: undefined, redirect: 'manual' })
    if (answer.status >= 500 || answer.status === 429)
      throw new KeysUnavailable(`the key set’s address ${from} answers ${answer.status}`)
    if (answer.status !== 200) throw new Error(`the key set’s address ${from} answers ${answer.status}`)
    const keys: JSONWebKeySet = JSON.parse(await answer.text())
    return { find: createLocalJWKSet(keys), at, from }
  }

  async function readWhereTheyAre(): Promise<KeySet> {
    const from = address()
    try {
      return await read(from)
    } catch (error) {
      if (error instanceof KeysUnavailable || (error instanceof Error && error.name === 'TimeoutError')) throw error
      await readAgain()
      if (address() === from) throw error
      return read(address())
    }
  }

  function load(): Promise<KeySet> {
    loading ??= readWhereTheyAre()
      .then((fresh) => (known = fresh))
      .finally(() => {
        loading = null
      })
    return loading
  }

  async function present(): Promise<KeySet> {
    return known !== null && clock() - known.at < MAX_AGE ? known : load()
  }

  /** The keys after a look for others, or `null` where they are `before` still and it is too early for another look. */
  async function others(before: KeySet, search: Search): Promise<KeySet | null> {
    if (known !== null && known !== before) return known
    if (loading !== null) return loading
    const now = clock()
    if (now - search.at < SEARCH_PAUSE) return null
    search.at = now
    return load()
  }

  return {
    async verify(jwt, checks, now = Date.now()) {
      const before = await present()
      try {
        return await verifyWith(before, jwt, checks, now)
      } catch (error) {
        const search = searchAfter(error, { unknownKey, badSignature })
        const fresh = search === null ? null : await others(before, search)
        if (search === null || fresh === null) throw error
        try {
          return await verifyWith(fresh, jwt, checks, now)
        } catch (again) {
          // The old address may go on serving the old keys.
          if (searchAfter(again, { unknownKey, badSignature }) === null) throw again
          await readAgain()
          if (address() === fresh.from) throw again
          return verifyWith(await load(), jwt, checks, now)
        }
      }
    },
  }
}

interface Search {
  at: number
}

function createSearch(): Search {
  return { at: Number.NEGATIVE_INFINITY }
}

function searchAfter(error: unknown, searches: Record<'unknownKey' | 'badSignature', Search>): Search | null {
  if (error instanceof errors.JWKSNoMatchingKey) return searches.unknownKey
  return error instanceof errors.JWSSignatureVerificationFailed ? searches.badSignature : null
}

async function verifyWith({ find }: KeySet, jwt: string, checks: Checks, now: number): Promise<JWTPayload> {
  const options: JWTVerifyOptions = {
    ...checks,
    ...(checks.issuer === undefined ? {} : { issuer: issuerOf(checks.issuer, decodeJwt(jwt)) }),
    algorithms: checks.algorithms?.filter((name) => ALGORITHMS.includes(name)) ?? ALGORITHMS,
    clockTolerance: CLOCK_TOLERANCE,
    currentDate: new Date(now),
  }
  const claims = await withOneOf(find, jwt, options)
  if (claims.iat !== undefined && claims.iat > now / 1000 + CLOCK_TOLERANCE)
    throw new errors.JWTClaimValidationFailed('"iat" claim timestamp is in the future', claims, 'iat', 'check_failed')
  return claims
}

/** A token that names no key may be signed with any: each that fits is tried (RFC 7515, section 4.1.4). */
async function withOneOf(find: KeySet['find'], jwt: string, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(jwt, find, options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    for await (const key of error) {
      try {
        return (await jwtVerify(jwt, key, options)).payload
      } catch (other) {
        if (!(other instanceof errors.JWSSignatureVerificationFailed)) throw other
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

/** The `typ` of a JWT in lower case, `jwt` where it says none (RFC 7519, section 5.1); `null` for what is no JWT. */
export function jwtType(token: string): string | null {
  try {
    const { typ = 'jwt' } = decodeProtectedHeader(token)
    return typ.toLowerCase()
  } catch {
    return null
  }
}
