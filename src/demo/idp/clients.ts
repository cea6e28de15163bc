import type { JWK } from 'jose'
import type { AdapterPayload } from 'oidc-provider'
import { exchangeGrants } from './exchange-grants.ts'

/** How a relying party proves itself at the token endpoint; the provider accepts this one way only. */
export type ClientAuthentication = 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'none'

/**
 * A relying party. Where `clientAuthentication` is not said it follows from what there is: `private_key_jwt` with
 * keys, `client_secret_post` with a secret, else `none`.
 */
export type IdpClient = {
  clientId: string
  clientSecret?: string
  jwks?: { keys: JWK[] }
  redirectUris: readonly string[]
  postLogoutRedirectUris?: readonly string[]
  backchannelLogoutUri?: string
  frontchannelLogoutUri?: string
  clientAuthentication?: ClientAuthentication
  idTokenSigningAlgorithm?: 'RS256' | 'ES256'
}

const usualAuthentication = (client: IdpClient): ClientAuthentication => {
  if (client.jwks !== undefined) return 'private_key_jwt'
  return client.clientSecret === undefined ? 'none' : 'client_secret_post'
}

/** A relying party in the words of OpenID Connect Dynamic Client Registration 1.0, as the provider stores it. */
export const clientMetadata = (client: IdpClient): AdapterPayload => ({
  client_id: client.clientId,
  client_name: client.clientId,
  redirect_uris: client.redirectUris,
  post_logout_redirect_uris: client.postLogoutRedirectUris ?? [],
  grant_types: [
    'authorization_code',
    'refresh_token',
    // Nobody else can prove that it is itself.
    ...(client.clientSecret === undefined && client.jwks === undefined
      ? []
      : ['client_credentials', ...Object.values(exchangeGrants)]),
  ],
  response_types: ['code'],
  token_endpoint_auth_method: client.clientAuthentication ?? usualAuthentication(client),
  id_token_signed_response_alg: client.idTokenSigningAlgorithm ?? 'RS256',
  require_auth_time: true,
  ...(client.clientSecret === undefined ? {} : { client_secret: client.clientSecret }),
  ...(client.jwks === undefined ? {} : { jwks: client.jwks }),
  ...(client.backchannelLogoutUri === undefined
    ? {}
    : {
        backchannel_logout_uri: client.backchannelLogoutUri,
        backchannel_logout_session_required: true,
      }),
  ...(client.frontchannelLogoutUri === undefined ? {} : { frontchannel_logout_uri: client.frontchannelLogoutUri }),
})
