import { decodeProtectedHeader } from 'jose'
import type { Configuration } from 'openid-client'
import { Fault } from '../errors.ts'
import { jwtType, CLOCK_TOLERANCE } from './keys.ts'
import { isName } from './names.ts'
import type { Provider } from './provider.ts'
import { isUnreachable } from './refusal.ts'

/** Whose sessions a provider wants ended; `subject`, `sid`, or both. */
export interface LogoutRequest {
  readonly issuer: string
  readonly jti: string
  readonly subject: string | null
  readonly sid: string | null
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const TYPES = new Set(['logout+jwt', 'application/logout+jwt', 'jwt'])

/** How old a logout token may be, seconds, however the clocks differ. */
const MAX_AGE = 300

/**
 * Validates a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6) but for the replay of its `jti`.
 * Rejects with `logout_refused`, or `provider_unavailable` when the provider's keys can't be had.
 */
export async function readLogoutToken(provider: Provider, token: string): Promise<LogoutRequest> {
  const { configuration, keys } = await provider.discovered()
  const { issuer } = configuration.serverMetadata()
  try {
    requireAlgorithm(token, configuration)
    const claims = await keys.verify(token, {
      issuer,
      audience: provider.settings.clientId,
      maxTokenAge: MAX_AGE - CLOCK_TOLERANCE,
      requiredClaims: ['iat', 'jti', 'events'],
    })
    const { iat, jti, sub, sid, events } = claims
    const type = jwtType(token)
    if (type === null || !TYPES.has(type)) throw new Error(`typ is ${type}`)
    if ('nonce' in claims) throw new Error('it has a nonce')
    if (
      typeof events !== 'object' ||
      events === null ||
      !isObject(Object.entries(events).find(([name]) => name === EVENT)?.[1])
    ) {
      throw new Error('it is not about a back-channel logout')
    }
    if (!isName(jti)) throw new Error('jti is not of its type, empty or too long')
    if ([sub, sid].some((name) => name !== undefined && !isName(name)))
      throw new Error('sub or sid is not of its type, empty or too long')
    if (sub === undefined && sid === undefined) throw new Error('it names neither sub nor sid')
    // It may be as old as it is allowed to be, and no older: nothing else says when it is over.
    if (claims.exp === undefined && Date.now() / 1000 - Number(iat) > MAX_AGE)
      throw new Error('it has no exp, and its iat is more than five minutes ago')
    return { issuer, jti, subject: sub ?? null, sid: isName(sid) ? sid : null }
  } catch (error) {
    if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
    throw new Fault('logout_refused', { cause: error })
  }
}

/**
 * Only in an algorithm that ID tokens for this client may have (OpenID Connect Back-Channel Logout 1.0, section 2.6;
 * Core 1.0, section 3.1.3.7).
 */
function requireAlgorithm(token: string, configuration: Configuration): void {
  const { alg = 'none' } = decodeProtectedHeader(token)
  const own = configuration.clientMetadata().id_token_signed_response_alg
  const announced = configuration.serverMetadata().id_token_signing_alg_values_supported ?? ['RS256']
  if (own === undefined ? announced.includes(alg) : alg === own) return
  throw new Error(`it is signed with ${alg}, ID tokens with ${own ?? announced.join(', ')}`)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
