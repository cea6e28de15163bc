import { createHash } from 'node:crypto'
import { errors, type JWTPayload } from 'jose'
import { LRUCache } from 'lru-cache'
import { Fault, causes } from '../errors.ts'
import { jwtType } from './keys.ts'
import { isName } from './names.ts'
import type { Provider } from './provider.ts'
import { isUnreachable } from './refusal.ts'
import type { Claims } from './token-set.ts'

/** Verifies access tokens that clients bring themselves. */
export interface AccessTokens {
  /**
   * The claims of a JWT access token (RFC 9068) of this provider for one of `audiences`, or `null` for any other token.
   * Tells `refuse` why, for the log. Rejects with `provider_unavailable` when the provider's keys can't be had.
   */
  verify(
    token: string,
    audiences: readonly string[],
    now: number,
    refuse: (why: string) => void,
  ): Promise<Claims | null>
}

const TYPES = new Set(['at+jwt', 'application/at+jwt', 'jwt'])
const MAX_KEPT = 5_000

interface Verified {
  readonly claims: Claims
  readonly expiresAt: number
}

/** Makes the verifier; a token is verified once, then remembered until it expires. */
export function createAccessTokens(provider: Provider): AccessTokens {
  const verified = new LRUCache<string, Verified>({ max: MAX_KEPT })

  return {
    async verify(token, audiences, now, refuse) {
      const refused = (why: string): null => {
        refuse(why)
        return null
      }
      const name = createHash('sha256')
        .update(JSON.stringify([token, audiences]))
        .digest('base64url')
      const known = verified.get(name)
      if (known !== undefined && now < known.expiresAt) return known.claims
      const type = jwtType(token)
      if (type === null) return refused('it is no JWT')
      if (!TYPES.has(type)) return refused(`its typ is ${shown(type)}, not at+jwt`)
      const { configuration, keys } = await provider.discovered()
      try {
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
        if ('cnf' in claims) return refused('it is bound to a key of the client (cnf)')
        if (!isName(claims.sub)) return refused('its sub is empty or too long')
        if (typeof claims.exp !== 'number') return refused('its exp is no number')
        if (isForOtherUse(claims, type, provider.settings.clientId))
          return refused('it is an ID token or of another kind')
        verified.set(name, { claims, expiresAt: claims.exp * 1000 })
        return claims
      } catch (error) {
        if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
        return refused(whyRefused(error, configuration.serverMetadata().issuer, audiences))
      }
    },
  }
}

/** What is wrong with a token that the provider has signed; of any other no more than that. */
function whyRefused(error: unknown, issuer: string, audiences: readonly string[]): string {
  if (error instanceof errors.JWTExpired) return `it has expired (exp ${shown(error.payload.exp)})`
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { iss, aud } = error.payload
    if (error.claim === 'iss') return `its iss is ${shown(iss)}, not ${shown(issuer)}`
    if (error.claim === 'aud') return `its aud is ${shown(aud)}, not ${audiences.map(shown).join(' or ')}`
  }
  return causes(error)
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, 200)
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
