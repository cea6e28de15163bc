import { createHash } from 'node:crypto'
import { decodeJwt, errors, type JWTPayload } from 'jose'
import { LRUCache } from 'lru-cache'
import { Fault, causes, quote } from '../errors.ts'
import { accessTokenIssuers, mayHaveIssued } from './issuer.ts'
import { jwtType } from './jwks.ts'
import type { Provider } from './provider.ts'
import type { Providers } from './providers.ts'
import { isUnreachable } from './oauth-errors.ts'
import { isIdentifier, type Claims } from './token-set.ts'

export interface VerifiedToken {
  readonly claims: Claims
  /** The name of the provider in `providers`. Missing with the key `provider`. */
  readonly provider?: string
}

export interface AccessTokens {
  /**
   * Returns the claims of a JWT access token that a provider named in `names` (`null`: any provider) issued for one of
   * `audiences`. For any other token, calls `refuse` with the reason for the log and returns `null`. Rejects with
   * `provider_unavailable` if the provider's keys cannot be read.
   * @see https://www.rfc-editor.org/rfc/rfc9068#section-4
   */
  verify(
    token: string,
    audiences: readonly string[],
    now: number,
    names: readonly string[] | null,
    refuse: (why: string) => void,
  ): Promise<VerifiedToken | null>
}

const TYPES = new Set(['at+jwt', 'application/at+jwt', 'jwt'])
const MAX_REMEMBERED = 5_000

interface Remembered {
  readonly token: VerifiedToken
  readonly expiresAt: number
}

/** Creates a verifier that caches each verified token until the token expires. */
export function createAccessTokens(providers: Providers): AccessTokens {
  const verified = new LRUCache<string, Remembered>({ max: MAX_REMEMBERED })

  async function verifyFor(
    provider: Provider,
    { token, audiences, type }: { token: string; audiences: readonly string[]; type: string },
    now: number,
  ): Promise<Remembered | string> {
    const { configuration, preset, keys } = await provider.discovered()
    const server = configuration.serverMetadata()
    let issuer = server.issuer
    try {
      const { iss, aud } = decodeJwt(token)
      issuer = accessTokenIssuers(server, preset).find((one) => mayHaveIssued(one, iss ?? '')) ?? issuer
      const audienceClaim = aud === undefined ? preset?.audienceClaim : undefined
      const audience = audienceClaim === undefined ? { audience: [...audiences] } : {}
      const claims = await keys.verify(token, { issuer, ...audience, requiredClaims: ['exp', 'sub'] }, now)
      if (audienceClaim !== undefined && !audiences.includes(String(claims[audienceClaim])))
        return `its ${audienceClaim} is ${quote(claims[audienceClaim])}, not ${audiences.map(quote).join(' or ')}`
      if (!isIdentifier(claims.sub)) return 'its sub is empty or too long'
      if (typeof claims.exp !== 'number') return 'its exp is not a number'
      // Several providers may be clients at the same issuer.
      const clientIds = providers.all.map(({ settings }) => settings.clientId)
      if (isForOtherUse(claims, type, clientIds)) return 'it is an ID token or of another kind'
      return {
        token: { claims, ...(provider.name === undefined ? {} : { provider: provider.name }) },
        expiresAt: claims.exp * 1000,
      }
    } catch (error) {
      if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
      return whyRefused(error, issuer, audiences)
    }
  }

  return {
    async verify(token, audiences, now, names, refuse) {
      const key = createHash('sha256')
        .update(JSON.stringify([token, audiences, names]))
        .digest('base64url')
      const known = verified.get(key)
      if (known !== undefined && now < known.expiresAt) return known.token
      let why = 'no provider of this route has its iss'
      const type = jwtType(token)
      if (type === null) why = 'it is not a JWT'
      else if (!TYPES.has(type)) why = `its typ is ${quote(type)}, not at+jwt`
      else {
        const allowed = providers.all.filter(({ name }) => names?.includes(name ?? '') ?? true)
        for (const provider of providers.mayHaveIssued(token, allowed, issuersOf)) {
          const result = await verifyFor(provider, { token, audiences, type }, now)
          if (typeof result !== 'string') {
            verified.set(key, result)
            return result.token
          }
          why = result
        }
      }
      refuse(why)
      return null
    },
  }
}

function issuersOf(provider: Provider): readonly string[] {
  const found = provider.peek()
  if (found === null) return [provider.settings.issuer]
  return accessTokenIssuers(found.configuration.serverMetadata(), found.preset)
}

/** Returns the reason why a token is refused. Quotes the token's claims only if its signature is valid. */
function whyRefused(error: unknown, issuer: string, audiences: readonly string[]): string {
  if (error instanceof errors.JWTExpired) return `it has expired (exp ${quote(error.payload.exp)})`
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { iss, aud } = error.payload
    if (error.claim === 'iss') return `its iss is ${quote(iss)}, not ${quote(issuer)}`
    if (error.claim === 'aud') return `its aud is ${quote(aud)}, not ${audiences.map(quote).join(' or ')}`
  }
  return causes(error)
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
function isForOtherUse(claims: JWTPayload, type: string, clientIds: readonly string[]): boolean {
  if (type !== 'jwt') return false
  if (OTHER_USE.some((name) => name in claims) || OTHER_TYPES.has(String(claims['typ']))) return true
  return (
    [claims.aud].flat().some((aud) => clientIds.some((own) => own === aud)) && !ACCESS.some((name) => name in claims)
  )
}
