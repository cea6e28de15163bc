import { fetchUserInfo, type IDToken } from 'openid-client'
import type { Discovered, Provider } from './provider.ts'
import type { Claims } from './token-set.ts'

interface Evidence {
  readonly idToken: string
  readonly idTokenClaims: IDToken
  readonly accessToken: string
}

/**
 * The claims of an ID token whose signature has been verified, with the userinfo endpoint's beside them where that is
 * configured; where both name one, the signed one counts. Rejects when a signature, an issuer or a `sub` does not fit.
 */
export async function verifiedClaims(provider: Provider, found: Discovered, evidence: Evidence): Promise<Claims> {
  await found.keys.verify(evidence.idToken, { clockTolerance: 30 })
  if (!provider.settings.userinfo) return evidence.idTokenClaims
  const userinfo = await fetchUserInfo(found.configuration, evidence.accessToken, evidence.idTokenClaims.sub)
  return { ...userinfo, ...evidence.idTokenClaims }
}
