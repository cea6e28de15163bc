import type { ServerMetadata } from 'openid-client'
import { knownProvider } from '../config/known-providers.ts'

const USUAL = ['openid', 'profile', 'email']
const OFFLINE = 'offline_access'

/**
 * The scopes of a login: the configured ones as they are; where none are, the usual ones, with `offline_access` where
 * the provider announces it and gives no refresh token without.
 */
export function loginScopes(configured: readonly string[] | null, server: ServerMetadata): readonly string[] {
  if (configured !== null) return configured
  const isWanted = knownProvider(server.issuer, server.token_endpoint)?.needsOfflineAccess ?? true
  return isWanted && server.scopes_supported?.includes(OFFLINE) === true ? [...USUAL, OFFLINE] : USUAL
}
