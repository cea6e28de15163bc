import type { IDToken, TokenEndpointResponse } from 'openid-client'
import { numberFrom, timeFrom } from '../config/numbers.ts'
import { isName } from './names.ts'

/** The claims about a user, as the provider spelled them. */
export type Claims = Readonly<Record<string, unknown>>

/** What the token endpoint gave, in plain data; times in milliseconds since the epoch. */
export interface TokenSet {
  readonly accessToken: string
  /** `null` where the provider named no lifetime that can be used (only recommended, RFC 6749, section 5.1). */
  readonly expiresAt: number | null
  readonly issuedAt: number
  readonly refreshToken: string | null
  readonly scope: string | null
}

/** Reads a token response received at `now`; what it leaves out is taken over from `previous` (RFC 6749, section 6). */
export function toTokenSet(response: TokenEndpointResponse, now: number, previous: TokenSet | null = null): TokenSet {
  const seconds = numberFrom(response.expires_in)
  return {
    accessToken: response.access_token,
    // A token that lives for less than a second would be renewed for every request.
    expiresAt: seconds === null || seconds < 1 ? null : timeFrom(now + seconds * 1000),
    issuedAt: now,
    refreshToken: textOf(response.refresh_token) ?? previous?.refreshToken ?? null,
    scope: textOf(response.scope) ?? previous?.scope ?? null,
  }
}

function textOf(value: string | undefined): string | null {
  return value === undefined || value === '' ? null : value
}

/** The session id that the provider put into an ID token, or `null`. */
export function sidOf(claims: IDToken): string | null {
  return isName(claims['sid']) ? claims['sid'] : null
}
