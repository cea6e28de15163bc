import { createHash } from 'node:crypto'
import type { JWTPayload } from 'jose'
import { LRUCache } from 'lru-cache'
import { Fault } from '../errors.ts'
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
const TOLERANCE = 30

interface Verified {
  readonly claims: Claims
  readonly expiresAt: number
}

/** Makes the verifier; a token is verified once, then remembered until it expires. */
export function createAccessTokens(provider: Provider): AccessTokens {
  const verified = new LRUCache<string, Verified>({ max: MAX_KEPT })

  return {
    async verify(token, audiences, now) {
      const name = createHash('sha256')
        .update(JSON.stringify([token, audiences]))
        .digest('base64url')
      const known = verified.get(name)
      if (known !== undefined && now < known.expiresAt) return known.claims
      const type = jwtType(token)
      if (type === null || !TYPES.has(type)) return null
      const { configuration, keys } = await provider.discovered()
      try {
        const claims = await keys.verify(token, {
          issuer: configuration.serverMetadata().issuer,
          audience: [...audiences],
          clockTolerance: TOLERANCE,
          requiredClaims: ['exp', 'sub'],
          currentDate: new Date(now),
        })
        // Bound to a key that only its client can show (RFC 7800): whoever just brings it may have stolen it.
        if ('cnf' in claims) return null
        if (typeof claims.exp !== 'number' || isForOtherUse(claims, type, provider.settings.clientId)) return null
        verified.set(name, { claims, expiresAt: claims.exp * 1000 })
        return claims
      } catch (error) {
        if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
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
