import { Fault } from '../errors.ts'
import { jwtType } from './jwt-type.ts'
import { CLOCK_TOLERANCE } from './keys.ts'
import { isUnreachable } from './refusal.ts'
import type { Provider } from './provider.ts'

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
/** What is kept of a logout is kept by these, characters. */
const MAX_NAME = 1_000

/**
 * Validates a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.6) but for the replay of its `jti`.
 * Rejects with `logout_refused`, or `provider_unavailable` when the provider's keys can't be had.
 */
export async function readLogoutToken(provider: Provider, token: string): Promise<LogoutRequest> {
  const { configuration, keys } = await provider.discovered()
  const { issuer } = configuration.serverMetadata()
  try {
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
    if (typeof sub !== 'string' && typeof sid !== 'string') throw new Error('it names neither sub nor sid')
    if (typeof iat !== 'number' || typeof jti !== 'string' || jti === '')
      throw new Error('iat or jti is not of its type')
    if ([jti, sub, sid].some((name) => typeof name === 'string' && name.length > MAX_NAME))
      throw new Error('jti, sub or sid is too long')
    return { issuer, jti, subject: typeof sub === 'string' ? sub : null, sid: typeof sid === 'string' ? sid : null }
  } catch (error) {
    if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
    throw new Fault('logout_refused', { cause: error })
  }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
