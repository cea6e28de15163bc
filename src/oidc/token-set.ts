import type { IDToken, TokenEndpointResponse } from 'openid-client'
import { isName } from './names.ts'

/** The claims about a user, as the provider spelled them. */
export type Claims = Readonly<Record<string, unknown>>

/** What the token endpoint gave, in plain data; times in milliseconds since the epoch. */
export interface TokenSet {
  readonly accessToken: string
  /** `null` where the provider named no lifetime (`expires_in` is only recommended, RFC 6749, section 5.1). */
  readonly expiresAt: number | null
  readonly issuedAt: number
  readonly refreshToken: string | null
  readonly scope: string | null
}

/** Reads a token response received at `now`; what it leaves out is taken over from `previous` (RFC 6749, section 6). */
export function toTokenSet(response: TokenEndpointResponse, now: number, previous: TokenSet | null = null): TokenSet {
  const seconds = Number(response.expires_in)
  return {
    accessToken: response.access_token,
    expiresAt: response.expires_in === undefined || !Number.isFinite(seconds) ? null : now + seconds * 1000,
    issuedAt: now,
    refreshToken: response.refresh_token ?? previous?.refreshToken ?? null,
    scope: response.scope ?? previous?.scope ?? null,
  }
}

/** The session id that the provider put into an ID token, or `null`. */
export function sidOf(claims: IDToken): string | null {
  return isName(claims['sid']) ? claims['sid'] : null
}
