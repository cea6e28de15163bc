import { createHash } from 'node:crypto'
import type { JWTPayload } from 'jose'
import { LRUCache } from 'lru-cache'
import { Fault, causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { jwtType } from './jwt-type.ts'
import type { Provider } from './provider.ts'
import { isUnreachable } from './refusal.ts'
import type { Claims } from './token-set.ts'

/** Verifies access tokens that clients bring themselves. */
export interface AccessTokens {
  /**
   * The claims of a JWT access token (RFC 9068) of this provider for one of `audiences`, or `null` for any other token.
   * Rejects with `provider_unavailable` when the provider's keys can't be had.
   */
  verify(token: string, audiences: readonly string[], now: number): Promise<Claims | null>
}

const TYPES = new Set(['at+jwt', 'application/at+jwt', 'jwt'])
const MAX_KEPT = 5_000

interface Verified {
  readonly claims: Claims
  readonly expiresAt: number
}

/** Makes the verifier; a token is verified once, then remembered until it expires. */
export function createAccessTokens(provider: Provider, log: Log): AccessTokens {
  const verified = new LRUCache<string, Verified>({ max: MAX_KEPT })

  return {
    async verify(token, audiences, now) {
      const name = createHash('sha256')
        .update(JSON.stringify([token, audiences]))
        .digest('base64url')
      const known = verified.get(name)
      if (known !== undefined && now < known.expiresAt) return known.claims
      const type = jwtType(token)
      try {
        if (type === null || !TYPES.has(type))
          throw new Error(type === null ? 'it is no JWT' : 'its typ is another one')
        const { configuration, keys } = await provider.discovered()
        const claims = await keys.verify(
          token,
          {
            issuer: configuration.serverMetadata().issuer,
            audience: [...audiences],
            requiredClaims: ['exp', 'sub'],
          },
          now,
        )
        // Bound to a key that only its client can show (RFC 7800): whoever just brings it may have stolen it.
        if ('cnf' in claims) throw new Error('it is bound to a key (cnf)')
        if (typeof claims.exp !== 'number') throw new Error('its exp is not a number')
        if (isForOtherUse(claims, type, provider.settings.clientId)) throw new Error('it is no access token')
        verified.set(name, { claims, expiresAt: claims.exp * 1000 })
        return claims
      } catch (error) {
        if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
        log.info({ event: 'bearer_refused', cause: causes(error) }, 'a client’s own access token was refused')
        return null
      }
    },
  }
}

/**
 * What only tokens of another kind say: ID tokens, logout tokens, and by `typ` those of providers that put it there.
 */
const OTHER_USE = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events'] as const
const OTHER_TYPES = new Set(['ID', 'Refresh', 'Offline', 'Logout'])
/** What an access token says and an ID token has no use for. */
const ACCESS = ['scope', 'scp', 'client_id'] as const

/**
 * An ID token is for the client that asked for it, whatever its audience is called; only RFC 9068 tells it by its type.
 */
function isForOtherUse(claims: JWTPayload, type: string, clientId: string): boolean {
  if (type !== 'jwt') return false
  if (OTHER_USE.some((name) => name in claims) || OTHER_TYPES.has(String(claims['typ']))) return true
  return [claims.aud].flat().includes(clientId) && !ACCESS.some((name) => name in claims)
}
