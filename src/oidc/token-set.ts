import { decodeJwt, errors, type JWTPayload } from 'jose'
import type { IDToken, TokenEndpointResponse } from 'openid-client'
import { numberFrom, timeFrom } from '../config/numbers.ts'
import type { DpopKey } from './dpop.ts'

/** The claims about a user, unchanged from the provider. */
export type Claims = Readonly<Record<string, unknown>>

/** The tokens of a token response. Times are in ms since the epoch. */
export interface TokenSet {
  readonly accessToken: string
  /** `null` if the response has no usable `expires_in`. RFC 6749 recommends this member, but does not require it. */
  readonly expiresAt: number | null
  readonly issuedAt: number
  readonly refreshToken: string | null
  readonly scope: string | null
  /** The key of the proof with which the tokens were requested. */
  readonly dpopKey?: DpopKey
  /** Whether the access token is bound to `dpopKey`: https://www.rfc-editor.org/rfc/rfc9449#section-5 */
  readonly isBound?: true
}

/**
 * Reads a token response that was requested at `now` (ms since the epoch), with a proof if `dpopKey` is given. A refresh
 * token or scope that the response omits is taken from `previous`.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.1
 */
export function toTokenSet(
  response: TokenEndpointResponse,
  now: number,
  previous: TokenSet | null = null,
  dpopKey: DpopKey | null = previous?.dpopKey ?? null,
): TokenSet {
  const seconds = numberFrom(response.expires_in)
  return {
    accessToken: response.access_token,
    // With a lifetime of less than a second, every request would refresh the token.
    expiresAt: seconds === null || seconds < 1 ? null : timeFrom(now + seconds * 1000),
    issuedAt: now,
    refreshToken: textOf(response.refresh_token) ?? previous?.refreshToken ?? null,
    scope: textOf(response.scope) ?? previous?.scope ?? null,
    ...(dpopKey === null ? {} : { dpopKey, ...(response.token_type === 'dpop' ? { isBound: true } : {}) }),
  }
}

/** Returns the key that must sign a proof for each use of the access token, or `null` for a bearer token. */
export function proofKeyOf({ dpopKey, isBound }: TokenSet): DpopKey | null {
  return isBound === true && dpopKey !== undefined ? dpopKey : null
}

function textOf(value: string | undefined): string | null {
  return value === undefined || value === '' ? null : value
}

/** Returns the provider's session id (`sid`) in an ID token, or `null`. */
export function sidOf(claims: IDToken): string | null {
  return isIdentifier(claims['sid']) ? claims['sid'] : null
}

/** Returns when the user authenticated (`auth_time`), in ms since the epoch, or `null` if the claims do not say. */
export function authTimeOf(claims: Claims): number | null {
  const seconds = numberFrom(claims['auth_time'])
  return seconds === null ? null : timeFrom(seconds * 1000)
}

/** Identifiers become keys in the store and in memory, so their length is limited. */
const MAX_IDENTIFIER_LENGTH = 1_000

/**
 * Returns whether a claim (`sub`, `sid`, `jti`) can identify one user, provider session or logout token. An empty
 * string cannot.
 */
export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_IDENTIFIER_LENGTH
}

/**
 * Returns whether a text has the form of a JWT with a signature. Does not verify the signature.
 * @see https://www.rfc-editor.org/rfc/rfc7515#section-7.1
 */
export function isSignedJwt(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text)
}

/** More than any provider needs. Code that walks deeper claims recursively would overflow the stack. */
const MAX_DEPTH = 32

export const TOO_DEEP = `the claims are nested deeper than ${MAX_DEPTH} levels`

/** Returns whether lists and objects in the claims are nested deeper than 32 levels. */
export function isTooDeep(claims: object): boolean {
  let level: unknown[] = [claims]
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) return true
    level = level
      .flatMap((value): unknown[] => (typeof value === 'object' && value !== null ? Object.values(value) : []))
      .filter((value) => typeof value === 'object')
  }
  return false
}

/** Returns the claims of a JWT without verifying it. Throws if it is not a JWT, or if its claims are nested too deeply. */
export function decodeClaims(jwt: string): JWTPayload {
  const claims = decodeJwt(jwt)
  if (isTooDeep(claims)) throw new errors.JWTInvalid(TOO_DEEP)
  return claims
}

/** Returns the unverified claims of a JWT, or no claims if the token is not a JWT. Must not be used for decisions. */
export function unverifiedClaims(token: string): Claims {
  try {
    return decodeClaims(token)
  } catch {
    return {}
  }
}
