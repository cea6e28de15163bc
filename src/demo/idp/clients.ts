import type { JWK } from 'jose'
import type { AdapterPayload } from 'oidc-provider'
import { EXCHANGE_GRANTS } from './exchange-grants.ts'

/** How a client authenticates at the token endpoint; the provider accepts only this method. */
export type ClientAuthentication =
  | 'client_secret_basic'
  | 'client_secret_post'
  | 'client_secret_jwt'
  | 'private_key_jwt'
  | 'tls_client_auth'
  | 'self_signed_tls_client_auth'
  | 'none'

/**
 * A client. The default of `clientAuthentication` is `private_key_jwt` with keys, `client_secret_post` with a secret,
 * otherwise `none`.
 */
export interface IdpClient {
  readonly clientId: string
  readonly clientSecret?: string
  readonly jwks?: { keys: JWK[] }
  readonly redirectUris: readonly string[]
  readonly postLogoutRedirectUris?: readonly string[]
  readonly backchannelLogoutUri?: string
  readonly frontchannelLogoutUri?: string
  readonly clientAuthentication?: ClientAuthentication
  readonly idTokenSigningAlgorithm?: 'RS256' | 'ES256'
  /** The DNS name in the client certificate, for `tls_client_auth`. */
  readonly certificateName?: string
  /** Binds access and refresh tokens to the client certificate. */
  readonly certificateBoundTokens?: boolean
  /** Whether the provider refuses a token request without a DPoP proof. */
  readonly dpopBound?: boolean
  /** Further registered metadata, such as `id_token_encrypted_response_alg`. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

function defaultAuthentication(client: IdpClient): ClientAuthentication {
  if (client.jwks !== undefined) return 'private_key_jwt'
  return client.clientSecret === undefined ? 'none' : 'client_secret_post'
}

/**
 * Returns the metadata of a client as the provider stores it.
 *
 * @see https://openid.net/specs/openid-connect-registration-1_0.html#ClientMetadata
 */
export function clientMetadata(client: IdpClient): AdapterPayload {
  return {
    client_id: client.clientId,
    client_name: client.clientId,
    redirect_uris: client.redirectUris,
    post_logout_redirect_uris: client.postLogoutRedirectUris ?? [],
    grant_types: [
      'authorization_code',
      'refresh_token',
      // Only confidential clients may use these grants.
      ...(client.clientSecret === undefined && client.jwks === undefined
        ? []
        : ['client_credentials', ...Object.values(EXCHANGE_GRANTS)]),
    ],
    response_types: ['code'],
    token_endpoint_auth_method: client.clientAuthentication ?? defaultAuthentication(client),
    id_token_signed_response_alg: client.idTokenSigningAlgorithm ?? 'RS256',
    require_auth_time: true,
    ...(client.dpopBound === true ? { dpop_bound_access_tokens: true } : {}),
    ...(client.clientSecret === undefined ? {} : { client_secret: client.clientSecret }),
    ...(client.jwks === undefined ? {} : { jwks: client.jwks }),
    ...(client.backchannelLogoutUri === undefined
      ? {}
      : {
          backchannel_logout_uri: client.backchannelLogoutUri,
          backchannel_logout_session_required: true,
        }),
    ...(client.certificateName === undefined ? {} : { tls_client_auth_san_dns: client.certificateName }),
    ...(client.certificateBoundTokens === true ? { tls_client_certificate_bound_access_tokens: true } : {}),
    ...(client.frontchannelLogoutUri === undefined ? {} : { frontchannel_logout_uri: client.frontchannelLogoutUri }),
    ...client.metadata,
  }
}
