import {
  createLocalJWKSet,
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type JSONWebKeySet,
  type JWK,
  type JWTPayload,
  type JWTVerifyOptions,
} from 'jose'
import type { CustomFetch } from 'openid-client'
import { createLimiter } from '../resilience/limiter.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import { issuerOf } from './issuer.ts'
import { decodeClaims } from './token-set.ts'

/** The accepted signature algorithms. None of them is symmetric. */
export const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]

/** The shortest time between two reads of the key set after failed verifications of the same kind. */
const SEARCH_PAUSE_MS = 10_000
/** The age at which the key set is read again, because the provider may have revoked a key. */
const MAX_AGE_MS = 600_000

export class KeysUnavailable extends Error {}

export interface SigningKeys {
  /**
   * Verifies a JWT's signature, the given claims, and its times at `now` (ms since the epoch) with the clock tolerance.
   * An `issuer` template is filled in with the token's `tid`. Reads the key set again for an unknown key, at most every
   * 10 s. Rejects with jose's errors, or with a network error if the keys cannot be read.
   * @see https://www.rfc-editor.org/rfc/rfc7519#section-7.2
   */
  verify(jwt: string, checks: Checks, now?: number): Promise<JWTPayload>
  /** Returns the keys in the key set. Rejects if they cannot be read. */
  published(): Promise<readonly JWK[]>
}

const ALGORITHMS_BY_TYPE: Readonly<Record<string, readonly string[]>> = {
  'RSA': ALGORITHMS.filter((name) => /^[RP]S/.test(name)),
  'P-256': ['ES256'],
  'P-384': ['ES384'],
  'P-521': ['ES512'],
  'Ed25519': ['EdDSA', 'Ed25519'],
}

/** Returns the accepted algorithms of the signatures that a published key can verify. */
export function algorithmsOf({ kty, crv, alg, use }: JWK): readonly string[] {
  if (use !== undefined && use !== 'sig') return []
  const algorithms = ALGORITHMS_BY_TYPE[crv ?? kty ?? ''] ?? []
  return alg === undefined ? algorithms : algorithms.filter((name) => name === alg)
}

interface Checks extends Pick<JWTVerifyOptions, 'audience' | 'maxTokenAge' | 'requiredClaims' | 'algorithms'> {
  readonly issuer?: string
}

interface KeySource {
  /** Returns the `jwks_uri` in the current metadata. */
  readonly address: () => string
  readonly fetch: CustomFetch
  /** The accepted difference between the clocks of the provider and the gateway for `exp`, `nbf` and `iat`, in ms. */
  readonly clockTolerance: number
  /** Reads the metadata again unless it was read a moment ago, because the key set may have moved. Never rejects. */
  readonly readAgain: () => Promise<void>
  /** Returns ms of a monotonic clock. */
  readonly clock?: () => number
}

interface KeySet {
  readonly find: ReturnType<typeof createLocalJWKSet>
  readonly at: number
  readonly from: string
}

/** Creates a verifier that reads the key set when it verifies the first token. */
export function createSigningKeys({
  address,
  fetch,
  clockTolerance,
  readAgain,
  clock = () => performance.now(),
}: KeySource): SigningKeys {
  const toleranceS = clockTolerance / 1000
  let known: KeySet | null = null
  const loads = singleFlight<'keys', KeySet>()
  // Any client can send tokens with a known key id and a bad signature. Such tokens have a limit of their own, so that
  // they cannot block the search for unknown keys.
  const searches = {
    unknownKey: createLimiter(1, SEARCH_PAUSE_MS, clock),
    badSignature: createLimiter(1, SEARCH_PAUSE_MS, clock),
  }

  async function read(from: string): Promise<KeySet> {
    const at = clock()
    const headers = { accept: 'application/json, application/jwk-set+json' }
    const response = await fetch(from, { method: 'GET', headers, body: undefined, redirect: 'manual' })
    const answer = `${from} answers ${response.status} (${response.headers.get('content-type') ?? 'no media type'})`
    if (response.status >= 500 || response.status === 429) throw new KeysUnavailable(`${answer} instead of a key set`)
    if (response.status !== 200) throw new Error(`${answer} instead of a key set`)
    const keys = parseKeySet(await response.text())
    if (keys === null) throw new Error(`${answer}, which is not a key set`)
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

  async function currentKeySet(): Promise<KeySet> {
    return known !== null && clock() - known.at < MAX_AGE_MS ? known : load()
  }

  /** Returns a key set newer than `before`. Returns `null` if the last fetch for a failed verification was too recent. */
  async function newerThan(before: KeySet, maySearch: () => boolean): Promise<KeySet | null> {
    if (known !== null && known !== before) return known
    return loads.current('keys') ?? (maySearch() ? load() : null)
  }

  return {
    published: async () => (await currentKeySet()).find.jwks().keys,
    async verify(jwt, checks, now = Date.now()) {
      const before = await currentKeySet()
      try {
        return await verifyWith(before, jwt, checks, now, toleranceS)
      } catch (error) {
        const search = searchAfter(error)
        const fresh = search === null ? null : await newerThan(before, searches[search])
        if (fresh === null) throw error
        try {
          return await verifyWith(fresh, jwt, checks, now, toleranceS)
        } catch (retryError) {
          if (searchAfter(retryError) === null) throw retryError
          // The old address may still serve the old keys after the provider has moved the key set.
          await readAgain()
          if (address() === fresh.from) throw retryError
          return verifyWith(await load(), jwt, checks, now, toleranceS)
        }
      }
    },
  }
}

function parseKeySet(text: string): JSONWebKeySet | null {
  try {
    const keys: JSONWebKeySet = JSON.parse(text)
    return keys
  } catch {
    return null
  }
}

/** Returns the kind of search for new keys that an error justifies, or `null`. */
function searchAfter(error: unknown): 'unknownKey' | 'badSignature' | null {
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknownKey'
  return error instanceof errors.JWSSignatureVerificationFailed ? 'badSignature' : null
}

async function verifyWith(
  { find }: KeySet,
  jwt: string,
  checks: Checks,
  now: number,
  toleranceS: number,
): Promise<JWTPayload> {
  const unverified = decodeClaims(jwt)
  const options: JWTVerifyOptions = {
    ...checks,
    ...(checks.issuer === undefined ? {} : { issuer: issuerOf(checks.issuer, unverified) }),
    algorithms: checks.algorithms?.filter((name) => ALGORITHMS.includes(name)) ?? ALGORITHMS,
    clockTolerance: toleranceS,
    currentDate: new Date(now),
  }
  const claims = await withOneOf(find, jwt, options).catch((error: unknown) => {
    if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'iss')
      error.message = `the token has iss ${JSON.stringify(error.payload.iss)}, expected ${String(options.issuer)}`
    throw error
  })
  if (claims.iat !== undefined && claims.iat > now / 1000 + toleranceS)
    throw new errors.JWTClaimValidationFailed('"iat" claim timestamp is in the future', claims, 'iat', 'check_failed')
  return claims
}

/**
 * Tries every matching key, because a token without a `kid` may be signed with any of them.
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
 * Returns the `typ` of a JWT in lower case, `jwt` if it has none, an empty text if it is not text, and `null` for a token
 * that is not a JWT.
 * @see https://www.rfc-editor.org/rfc/rfc7519#section-5.1
 */
export function jwtType(token: string): string | null {
  try {
    const { typ = 'jwt' }: { readonly typ?: unknown } = decodeProtectedHeader(token)
    return typeof typ === 'string' ? typ.toLowerCase() : ''
  } catch {
    return null
  }
}
