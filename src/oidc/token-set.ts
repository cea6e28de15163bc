import { decodeJwt } from 'jose'
import type { IDToken, TokenEndpointResponse } from 'openid-client'
import { numberFrom, timeFrom } from '../config/numbers.ts'

/** The claims about a user, as the provider spelled them. */
export type Claims = Readonly<Record<string, unknown>>

/** The tokens of one token response, as plain data; times in ms since the epoch. */
export interface TokenSet {
  readonly accessToken: string
  /** `null` if the provider gave no usable lifetime, which the RFC only recommends. */
  readonly expiresAt: number | null
  readonly issuedAt: number
  readonly refreshToken: string | null
  readonly scope: string | null
}

/**
 * Reads a token response received at `now`, in ms since the epoch. Members that the response omits keep their values
 * from `previous`.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.1
 */
export function toTokenSet(response: TokenEndpointResponse, now: number, previous: TokenSet | null = null): TokenSet {
  const seconds = numberFrom(response.expires_in)
  return {
    accessToken: response.access_token,
    // With a lifetime of less than a second, every request would renew the token.
    expiresAt: seconds === null || seconds < 1 ? null : timeFrom(now + seconds * 1000),
    issuedAt: now,
    refreshToken: textOf(response.refresh_token) ?? previous?.refreshToken ?? null,
    scope: textOf(response.scope) ?? previous?.scope ?? null,
  }
}

function textOf(value: string | undefined): string | null {
  return value === undefined || value === '' ? null : value
}

/** Returns the provider's session id (`sid`) in an ID token, or `null`. */
export function sidOf(claims: IDToken): string | null {
  return isIdentifier(claims['sid']) ? claims['sid'] : null
}

/** Identifiers become keys in the store and in memory, in characters. */
const MAX_IDENTIFIER_LENGTH = 1_000

/**
 * Returns whether a claim can identify one user, one provider session or one logout token: `sub`, `sid`, `jti`. The empty
 * string would be the same for all of them.
 */
export function isIdentifier(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_IDENTIFIER_LENGTH
}

/** Returns the claims of a JWT without verifying it, and none for any other token: for hints, never for decisions. */
export function unverifiedClaims(token: string): Claims {
  try {
    return decodeJwt(token)
  } catch {
    return {}
  }
}
