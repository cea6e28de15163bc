import { ClientError, fetchProtectedResource, type IDToken } from 'openid-client'
import { issuerOf } from './issuer.ts'
import type { Discovered, Provider } from './provider.ts'
import type { Claims } from './token-set.ts'

interface Evidence {
  readonly idToken: string
  readonly idTokenClaims: IDToken
  readonly accessToken: string
}

/**
 * The claims of an ID token whose signature has been verified, with the userinfo endpoint's beside them where that is
 * configured; where both name one, the ID token's counts. Rejects when a signature, an issuer or a `sub` does not fit.
 */
export async function verifiedClaims(provider: Provider, found: Discovered, evidence: Evidence): Promise<Claims> {
  const { idToken, idTokenClaims, accessToken } = evidence
  const { issuer } = found.configuration.serverMetadata()
  await found.keys.verify(idToken, { issuer, audience: provider.settings.clientId })
  found.warnings.issued(idTokenClaims.iat)
  if (!provider.settings.userinfo) return idTokenClaims
  return { ...(await userinfo(provider, found, accessToken, idTokenClaims.sub)), ...idTokenClaims }
}

/**
 * The userinfo endpoint's claims about `subject` (OpenID Connect Core 1.0, section 5.3); signed ones are verified like
 * an ID token. Rejects when a signature, an issuer or the `sub` does not fit.
 */
export async function userinfo(
  { settings }: Provider,
  { configuration, keys }: Discovered,
  accessToken: string,
  subject: string,
): Promise<Claims> {
  const server = configuration.serverMetadata()
  if (server.userinfo_endpoint === undefined) throw new Error('the provider’s metadata has no userinfo_endpoint')
  const headers = new Headers({ accept: 'application/json, application/jwt' })
  const url = new URL(server.userinfo_endpoint)
  const answer = await fetchProtectedResource(configuration, accessToken, url, 'GET', null, headers)
  if (answer.status !== 200) throw new ClientError(`the userinfo endpoint answers ${answer.status}`, { cause: answer })
  const type = (answer.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  const text = await answer.text()
  const claims: unknown =
    type === 'application/jwt'
      ? await keys.verify(text, {
          algorithms: server.userinfo_signing_alg_values_supported ??
            server.id_token_signing_alg_values_supported ?? ['RS256'],
        })
      : JSON.parse(text)
  if (!isClaims(claims) || claims['sub'] !== subject) throw new Error('the userinfo endpoint speaks of another sub')
  const [iss, aud] = [claims['iss'], claims['aud']]
  if (type === 'application/jwt') {
    if (iss !== undefined && iss !== issuerOf(server.issuer, claims)) throw new Error('signed userinfo has another iss')
    if (aud !== undefined && ![aud].flat().includes(settings.clientId))
      throw new Error('signed userinfo has another aud')
  }
  return claims
}

function isClaims(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
