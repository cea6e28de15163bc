import {
  createLocalJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyOptions,
} from 'jose'
import type { CustomFetch } from 'openid-client'
import { createLimiter } from '../resilience/limiter.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import { issuerOf } from './issuer.ts'

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/** How far the provider's clock and the gateway's may be apart for `exp`, `nbf` and `iat`. */
export const CLOCK_TOLERANCE_S = 120

/** The shortest time between two readings of the key set that failed verifications of one kind cause. */
const SEARCH_PAUSE_MS = 10_000
/** The age at which the key set is read again, because the provider may have removed a key. */
const MAX_AGE_MS = 600_000

/** The provider can't deliver its keys at the moment. */
export class KeysUnavailable extends Error {}

/** The provider's signing keys. */
export interface SigningKeys {
  /**
   * Verifies a JWT's signature, its times within `CLOCK_TOLERANCE_S` of `now` (ms since the epoch), and the given
   * claims; an `issuer` that is a template is filled in with the token's `tid`. Reads the key set again for an unknown
   * key, at most every 10 s. Rejects with jose's errors, or with the network's if the keys can't be read.
   * @see https://www.rfc-editor.org/rfc/rfc7519#section-7.2
   */
  verify(jwt: string, checks: Checks, now?: number): Promise<JWTPayload>
}

interface Checks extends Pick<JWTVerifyOptions, 'audience' | 'maxTokenAge' | 'requiredClaims' | 'algorithms'> {
  readonly issuer?: string
}

interface KeySource {
  /** Returns the address of the key set in the current metadata. */
  readonly address: () => string
  readonly fetch: CustomFetch
  /** Reads the metadata again, unless that has just been done, because the keys may have moved. Never rejects. */
  readonly readAgain: () => Promise<void>
  /** Returns ms of a clock that never jumps. */
  readonly clock?: () => number
}

interface KeySet {
  readonly find: ReturnType<typeof createLocalJWKSet>
  readonly at: number
  readonly from: string
}

/** Creates the verifier. It reads the key set for the first token. */
export function createSigningKeys({
  address,
  fetch,
  readAgain,
  clock = () => performance.now(),
}: KeySource): SigningKeys {
  let known: KeySet | null = null
  const loads = singleFlight<'keys', KeySet>()
  // Any client can send a token that names a known key and has a bad signature: such tokens must not use up the
  // search for unknown keys.
  const searches = {
    unknownKey: createLimiter(1, SEARCH_PAUSE_MS, clock),
    badSignature: createLimiter(1, SEARCH_PAUSE_MS, clock),
  }

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

  async function readFromCurrentAddress(): Promise<KeySet> {
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
    return loads.run('keys', async () => {
      known = await readFromCurrentAddress()
      return known
    })
  }

  async function present(): Promise<KeySet> {
    return known !== null && clock() - known.at < MAX_AGE_MS ? known : load()
  }

  /** Returns a key set newer than `before`, or `null` if it is too early for another search. */
  async function newerThan(before: KeySet, maySearch: () => boolean): Promise<KeySet | null> {
    if (known !== null && known !== before) return known
    return loads.current('keys') ?? (maySearch() ? load() : null)
  }

  return {
    async verify(jwt, checks, now = Date.now()) {
      const before = await present()
      try {
        return await verifyWith(before, jwt, checks, now)
      } catch (error) {
        const search = searchAfter(error)
        const fresh = search === null ? null : await newerThan(before, searches[search])
        if (fresh === null) throw error
        try {
          return await verifyWith(fresh, jwt, checks, now)
        } catch (again) {
          // The old address may still serve the old keys.
          if (searchAfter(again) === null) throw again
          await readAgain()
          if (address() === fresh.from) throw again
          return verifyWith(await load(), jwt, checks, now)
        }
      }
    },
  }
}

/** Returns which search for new keys an error justifies, or `null`. */
function searchAfter(error: unknown): 'unknownKey' | 'badSignature' | null {
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknownKey'
  return error instanceof errors.JWSSignatureVerificationFailed ? 'badSignature' : null
}

async function verifyWith({ find }: KeySet, jwt: string, checks: Checks, now: number): Promise<JWTPayload> {
  const options: JWTVerifyOptions = {
    ...checks,
    ...(checks.issuer === undefined ? {} : { issuer: issuerOf(checks.issuer, decodeJwt(jwt)) }),
    algorithms: checks.algorithms?.filter((name) => ALGORITHMS.includes(name)) ?? ALGORITHMS,
    clockTolerance: CLOCK_TOLERANCE_S,
    currentDate: new Date(now),
  }
  const claims = await withOneOf(find, jwt, options)
  if (claims.iat !== undefined && claims.iat > now / 1000 + CLOCK_TOLERANCE_S)
    throw new errors.JWTClaimValidationFailed('"iat" claim timestamp is in the future', claims, 'iat', 'check_failed')
  return claims
}

/**
 * Tries every key that fits, because a token that names no key may be signed with any of them.
 * @see https://www.rfc-editor.org/rfc/rfc7515#section-4.1.4
 */
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

/**
 * Returns the `typ` of a JWT in lower case, `jwt` if it has none, and `null` for a token that is not a JWT.
 * @see https://www.rfc-editor.org/rfc/rfc7519#section-5.1
 */
export function jwtType(token: string): string | null {
  try {
    const { typ = 'jwt' } = decodeProtectedHeader(token)
    return typ.toLowerCase()
  } catch {
    return null
  }
}
