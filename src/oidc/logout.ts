import { buildEndSessionUrl, tokenRevocation } from 'openid-client'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Provider } from './provider.ts'
import type { TokenSet } from './token-set.ts'

interface EndSessionRequest {
  /** Without a hint, the provider may ask the user for confirmation. */
  readonly idTokenHint: string | null
  readonly postLogoutRedirectUri: string
  readonly state: string
}

/**
 * Returns the URL at which the browser ends its session at the provider. Returns `null` if the provider has not been
 * discovered or has no `end_session_endpoint`.
 * @see https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout
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

/**
 * Revokes a refresh token if the provider supports revocation. Never rejects, but logs a failure.
 * @see https://www.rfc-editor.org/rfc/rfc7009#section-2.1
 */
export async function revokeRefreshToken(
  provider: Provider,
  { refreshToken, dpopKey }: Pick<TokenSet, 'refreshToken' | 'dpopKey'>,
  log: Log,
): Promise<void> {
  const found = provider.peek()
  if (refreshToken === null || found?.configuration.serverMetadata().revocation_endpoint === undefined) return
  const { configuration, proofs } = found
  try {
    await proofs.revoking(refreshToken, dpopKey ?? null, () =>
      tokenRevocation(configuration, refreshToken, { token_type_hint: 'refresh_token' }),
    )
  } catch (error) {
    log.warn({ event: 'revocation_failed', cause: causes(error) }, 'a refresh token could not be revoked')
  }
}
