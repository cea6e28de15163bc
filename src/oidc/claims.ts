import { ClientError, fetchProtectedResource, refreshTokenGrant } from 'openid-client'
import { groupTokenScope } from '../config/presets/apply.ts'
import type { Identity } from './id-token.ts'
import { issuerOf } from './issuer.ts'
import { idTokenAlgorithms } from './metadata.ts'
import type { Discovered, Provider } from './provider.ts'
import { refreshTokenFromError } from './oauth-responses.ts'
import { isTooDeep, proofKeyOf, TOO_DEEP, type Claims, type TokenSet } from './token-set.ts'
import { ApiFailure, readGroups } from './user-api.ts'

interface Evidence extends Identity {
  readonly tokens: TokenSet
}

/**
 * Verifies an ID token and returns its claims. If configured, adds the claims from the userinfo endpoint; those of the ID
 * token take precedence. Rejects if a signature, an issuer or a `sub` is wrong.
 */
export async function verifiedClaims(provider: Provider, found: Discovered, evidence: Evidence): Promise<Claims> {
  const { idToken, idTokenClaims, tokens } = evidence
  const { issuer } = found.configuration.serverMetadata()
  await found.keys.verify(idToken, { issuer, audience: provider.settings.clientId })
  found.warnings.checkIssuedAt(idTokenClaims.iat)
  if (!provider.settings.userinfo) return idTokenClaims
  return { ...(await userinfo(provider, found, tokens, idTokenClaims.sub)), ...idTokenClaims }
}

/** The groups of a user, or why they cannot be read. `refreshToken` is the newest one in both cases. */
export type GroupsRead = { readonly refreshToken: string | null } & (
  { readonly groups: readonly string[] } | { readonly failure: unknown }
)

/**
 * Reads the user's groups from the API that `groupsFrom` names. Redeems the refresh token if the API needs an access token
 * of its own, and calls `saveRefreshToken` with a rotated refresh token before it reads the groups. Rejects only if
 * `saveRefreshToken` does.
 */
export async function groupsOf(
  { settings }: Provider,
  { configuration, fetchApi }: Discovered,
  groupsFrom: GroupSource,
  claims: Claims,
  tokens: TokenSet,
  saveRefreshToken: (refreshToken: string) => Promise<void>,
): Promise<GroupsRead> {
  const scope = groupTokenScope(settings)
  const own = scope === null ? tokens : await tokensFor(configuration, scope, tokens)
  const { refreshToken } = own
  if (refreshToken !== null && refreshToken !== tokens.refreshToken) await saveRefreshToken(refreshToken)
  if ('failure' in own) return own
  const caller = { settings, fetch: fetchApi, accessToken: own.accessToken }
  return readGroups(caller, groupsFrom, claims).then(
    (groups) => ({ refreshToken, groups }),
    (failure: unknown) => ({ refreshToken, failure }),
  )
}

type GroupSource = NonNullable<Provider['settings']['groupsFrom']>

/** @see https://www.rfc-editor.org/rfc/rfc6749#section-6 */
async function tokensFor(
  configuration: Discovered['configuration'],
  scope: string,
  { refreshToken }: TokenSet,
): Promise<
  { readonly refreshToken: string | null } & ({ readonly accessToken: string } | { readonly failure: ApiFailure })
> {
  if (refreshToken === null) {
    const failure = new ApiFailure('groups', `a token for ${scope} needs a refresh token: request offline_access`)
    return { refreshToken, failure }
  }
  return refreshTokenGrant(configuration, refreshToken, { scope }).then(
    (response) => ({ accessToken: response.access_token, refreshToken: response.refresh_token ?? refreshToken }),
    (cause: unknown) => ({
      failure: new ApiFailure('groups', `the provider issues no token for ${scope}`, { cause }),
      refreshToken: refreshTokenFromError(cause) ?? refreshToken,
    }),
  )
}

/**
 * Returns the claims about `subject` from the userinfo endpoint. Decrypts an encrypted response, which must be signed, and
 * verifies the signature of a signed one. Rejects if a signature, an issuer or the `sub` is wrong.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#UserInfo
 */
export async function userinfo(
  { settings }: Provider,
  { configuration, keys, proofs, decrypt }: Discovered,
  tokens: TokenSet,
  subject: string,
): Promise<Claims> {
  const server = configuration.serverMetadata()
  if (server.userinfo_endpoint === undefined) throw new Error('the provider’s metadata has no userinfo_endpoint')
  const headers = new Headers({ accept: 'application/json, application/jwt' })
  const url = new URL(server.userinfo_endpoint)
  const proof = await proofs.optionsFor(configuration, proofKeyOf(tokens))
  const response = await fetchProtectedResource(configuration, tokens.accessToken, url, 'GET', null, headers, proof)
  if (response.status !== 200)
    throw new ClientError(`the userinfo endpoint answers ${response.status}`, { cause: response })
  const type = (response.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase()
  const text = await response.text()
  const claims: unknown =
    type === 'application/jwt'
      ? await keys.verify(await decrypt(text), {
          algorithms: server.userinfo_signing_alg_values_supported ?? idTokenAlgorithms(server),
        })
      : JSON.parse(text)
  if (isClaims(claims) && isTooDeep(claims)) throw new Error(`the userinfo response is unusable: ${TOO_DEEP}`)
  if (!isClaims(claims) || claims['sub'] !== subject) throw new Error('the userinfo response has another sub')
  const [iss, aud] = [claims['iss'], claims['aud']]
  if (type === 'application/jwt') {
    if (iss !== undefined && iss !== issuerOf(server.issuer, claims))
      throw new Error(`the signed userinfo has iss ${JSON.stringify(iss)}, expected ${issuerOf(server.issuer, claims)}`)
    if (aud !== undefined && ![aud].flat().includes(settings.clientId))
      throw new Error('signed userinfo has another aud')
  }
  return claims
}

function isClaims(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
