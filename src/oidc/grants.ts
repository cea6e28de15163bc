import { refreshTokenGrant, type IDToken } from 'openid-client'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { verifiedClaims } from './claims.ts'
import type { Provider } from './provider.ts'
import { toTokenSet, type Claims, type TokenSet } from './token-set.ts'

/** What a refresh brought; `identity` is `null` when the answer had no new ID token. */
export interface RefreshResult {
  readonly tokens: TokenSet
  readonly identity: { readonly idToken: string, readonly idTokenClaims: IDToken, readonly claims: Claims } | null
}

/** The provider answered a refresh with an identity that is not the session's. */
export class ForeignIdentity extends Error {}

/**
 * Redeems a session's refresh token (RFC 6749, section 6; OpenID Connect Core 1.0, section 12). Rejects with what
 * `refusalOf` reads, or with `ForeignIdentity`.
 */
export async function refreshTokens(
  provider: Provider, previous: { tokens: TokenSet, issuer: string, subject: string, claims: Claims }, now: number, log: Log,
): Promise<RefreshResult> {
  const found = await provider.discovered()
  const { refreshToken } = previous.tokens
  if (refreshToken === null) throw new Error('the session has no refresh token')
  const response = await refreshTokenGrant(found.configuration, refreshToken)
  const tokens = toTokenSet(response, now, previous.tokens)
  const idTokenClaims = response.claims()
  if (response.id_token === undefined || idTokenClaims === undefined) return { tokens, identity: null }
  if (idTokenClaims.sub !== previous.subject || idTokenClaims.iss !== previous.issuer) {
    throw new ForeignIdentity('the refreshed ID token names another issuer or sub')
  }
  const evidence = { idToken: response.id_token, idTokenClaims, accessToken: response.access_token }
  try {
    return { tokens, identity: { ...evidence, claims: await verifiedClaims(provider, found, evidence) } }
  } catch (error) {
    // The old refresh token may be spent already: what can't be verified must not cost the new one.
    log.warn({ event: 'claims_not_renewed', cause: causes(error) }, 'tokens were renewed, claims stay as they were')
    return { tokens, identity: null }
  }
}
