import { createHash } from 'node:crypto'
import { decodeJwt, errors, type JWTPayload } from 'jose'
import { LRUCache } from 'lru-cache'
import { presetOf } from '../config/presets/apply.ts'
import { Fault, causes } from '../errors.ts'
import { accessTokenIssuers, mayHaveIssued } from './issuer.ts'
import { jwtType } from './jwks.ts'
import type { Providers } from './providers.ts'
import { isUnreachable } from './oauth-errors.ts'
import { isIdentifier, type Claims } from './token-set.ts'

export interface AccessTokens {
  /**
   * Returns the claims of a JWT access token that this provider issued for one of `audiences`. For any other token,
   * calls `refuse` with the reason for the log and returns `null`. Rejects with `provider_unavailable` if the
   * provider's keys cannot be read.
   * @see https://www.rfc-editor.org/rfc/rfc9068#section-4
   */
  verify(
    token: string,
    audiences: readonly string[],
    now: number,
    refuse: (why: string) => void,
  ): Promise<Claims | null>
}

const TYPES = new Set(['at+jwt', 'application/at+jwt', 'jwt'])
const MAX_REMEMBERED = 5_000

interface Verified {
  readonly claims: Claims
  readonly expiresAt: number
}

/** Creates a verifier that caches each verified token until the token expires. */
export function createAccessTokens(providers: Providers): AccessTokens {
  const verified = new LRUCache<string, Verified>({ max: MAX_REMEMBERED })

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
      const provider = providers.of({})
      const { configuration, keys } = await provider.discovered()
      const server = configuration.serverMetadata()
      const preset = presetOf(provider.settings, server.token_endpoint)
      let issuer = server.issuer
      try {
        const { iss, aud } = decodeJwt(token)
        issuer = accessTokenIssuers(server, preset).find((one) => mayHaveIssued(one, iss ?? '')) ?? issuer
        const audienceClaim = aud === undefined ? preset?.audienceClaim : undefined
        const audience = audienceClaim === undefined ? { audience: [...audiences] } : {}
        const claims = await keys.verify(token, { issuer, ...audience, requiredClaims: ['exp', 'sub'] }, now)
        if (audienceClaim !== undefined && !audiences.includes(String(claims[audienceClaim])))
          return refused(
            `its ${audienceClaim} is ${shown(claims[audienceClaim])}, not ${audiences.map(shown).join(' or ')}`,
          )
        // The gateway does not check that the client has the key to which the token is bound, so the token may be stolen:
        // https://www.rfc-editor.org/rfc/rfc7800#section-3
        if ('cnf' in claims) return refused('it is bound to a key of the client (cnf)')
        if (!isIdentifier(claims.sub)) return refused('its sub is empty or too long')
        if (typeof claims.exp !== 'number') return refused('its exp is not a number')
        if (isForOtherUse(claims, type, provider.settings.clientId))
          return refused('it is an ID token or of another kind')
        verified.set(name, { claims, expiresAt: claims.exp * 1000 })
        return claims
      } catch (error) {
        if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
        return refused(whyRefused(error, issuer, audiences))
      }
    },
  }
}

/** Returns the reason why a token is refused. Quotes the token's claims only if its signature is valid. */
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

/** Claims that only ID tokens and logout tokens contain. */
const OTHER_USE = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events'] as const
/** Values of the `typ` claim with which Keycloak marks tokens that are not access tokens. */
const OTHER_TYPES = new Set(['ID', 'Refresh', 'Offline', 'Logout'])
/** Claims that access tokens contain and ID tokens usually do not. */
const ACCESS = ['scope', 'scp', 'client_id'] as const

/**
 * Returns whether a token of type `jwt` is not an access token. An ID token can also have an accepted audience, and a
 * provider that does not implement RFC 9068 may give ID tokens and access tokens the same type.
 */
function isForOtherUse(claims: JWTPayload, type: string, clientId: string): boolean {
  if (type !== 'jwt') return false
  if (OTHER_USE.some((name) => name in claims) || OTHER_TYPES.has(String(claims['typ']))) return true
  return [claims.aud].flat().includes(clientId) && !ACCESS.some((name) => name in claims)
}
