import { decodeProtectedHeader } from 'jose'
import type { Configuration } from 'openid-client'
import { userApiOf } from '../config/presets/apply.ts'
import { Fault } from '../errors.ts'
import { jwtType } from './jwks.ts'
import { idTokenAlgorithms } from './metadata.ts'
import type { Provider } from './provider.ts'
import { isUnreachable } from './oauth-errors.ts'
import { isIdentifier } from './token-set.ts'

/** A provider's request to end the sessions with this `subject`, `sid`, or both. */
export interface LogoutRequest {
  readonly issuer: string
  readonly jti: string
  readonly subject: string | null
  readonly sid: string | null
}

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'
const TYPES = new Set(['logout+jwt', 'application/logout+jwt', 'jwt'])

/** How old a logout token may be, in addition to the clock tolerance. */
const MAX_AGE_S = 180

/**
 * Validates a logout token, which may be encrypted, but does not check its `jti` for a replay. Rejects with
 * `logout_refused`, or with `provider_unavailable` if the provider's keys cannot be read.
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation
 */
export async function readLogoutToken(provider: Provider, received: string): Promise<LogoutRequest> {
  const { configuration, keys, decrypt } = await provider.discovered()
  if (userApiOf(provider.settings) !== null)
    throw new Fault('logout_refused', { cause: new Error('the provider has no OpenID Connect, and no logout tokens') })
  const { issuer } = configuration.serverMetadata()
  try {
    const token = await decrypt(received)
    requireAlgorithm(token, configuration)
    const claims = await keys.verify(token, {
      issuer,
      audience: provider.settings.clientId,
      maxTokenAge: MAX_AGE_S,
      requiredClaims: ['iat', 'jti', 'events'],
    })
    const { jti, sub, sid, events } = claims
    const type = jwtType(token)
    if (type === null || !TYPES.has(type)) throw new Error(`typ is ${type}`)
    if ('nonce' in claims) throw new Error('it has a nonce')
    if (
      typeof events !== 'object' ||
      events === null ||
      !isObject(Object.entries(events).find(([name]) => name === EVENT)?.[1])
    ) {
      throw new Error('its events has no back-channel logout')
    }
    if (!isIdentifier(jti)) throw new Error('jti is not a string, empty or too long')
    if ([sub, sid].some((name) => name !== undefined && !isIdentifier(name)))
      throw new Error('sub or sid is not a string, empty or too long')
    if (sub === undefined && sid === undefined) throw new Error('it has neither sub nor sid')
    return { issuer: claims.iss ?? issuer, jti, subject: sub ?? null, sid: isIdentifier(sid) ? sid : null }
  } catch (error) {
    if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
    throw new Fault('logout_refused', { cause: error })
  }
}

/**
 * Throws unless the token is signed with an algorithm that is allowed for this client's ID tokens.
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation
 */
function requireAlgorithm(token: string, configuration: Configuration): void {
  const { alg = 'none' } = decodeProtectedHeader(token)
  const own = configuration.clientMetadata().id_token_signed_response_alg
  const announced = idTokenAlgorithms(configuration.serverMetadata())
  if (own === undefined ? announced.includes(alg) : alg === own) return
  throw new Error(`it is signed with ${alg}, not with ${own ?? announced.join(' or ')} like ID tokens`)
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
