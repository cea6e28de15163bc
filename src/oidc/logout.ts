import { buildEndSessionUrl, tokenRevocation } from 'openid-client'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Provider } from './provider.ts'

interface EndSessionRequest {
  /** Without one the provider may ask the user. */
  readonly idTokenHint: string | null
  readonly postLogoutRedirectUri: string
  readonly state: string
}

/**
 * Where the browser goes to end its session at the provider (OpenID Connect RP-Initiated Logout 1.0), or `null` when
 * the provider is not known yet or has no such endpoint.
 */
export function endSessionUrl(provider: Provider, request: EndSessionRequest): URL | null {
  const found = provider.peek()
  if (found === null || found.configuration.serverMetadata().end_session_endpoint === undefined) return null
  return buildEndSessionUrl(found.configuration, {
    post_logout_redirect_uri: request.postLogoutRedirectUri,
    state: request.state,
    ...(request.idTokenHint === null ? {} : { id_token_hint: request.idTokenHint }),
  })
}

/** Revokes a refresh token where the provider offers that (RFC 7009); failures are logged and forgotten. */
export async function revokeRefreshToken(provider: Provider, refreshToken: string | null, log: Log): Promise<void> {
  const found = provider.peek()
  if (refreshToken === null || found?.configuration.serverMetadata().revocation_endpoint === undefined) return
  try {
    await tokenRevocation(found.configuration, refreshToken, { token_type_hint: 'refresh_token' })
  } catch (error) {
    log.warn({ event: 'revocation_failed', cause: causes(error) }, 'a refresh token could not be revoked')
  }
}
