import { authorizationCodeGrant, type IDToken } from 'openid-client'
import { Fault } from '../errors.ts'
import { verifiedClaims } from './claims.ts'
import { isTemplate } from './issuer.ts'
import type { Provider } from './provider.ts'
import { toLoginFault } from './refusal.ts'
import { toTokenSet, type Claims, type TokenSet } from './token-set.ts'

/** How much older the user's sign-in may be than was asked for, seconds: what comes after it takes time. */
const LOGIN_TAKES = 30

/** What a login brought. */
export interface LoginResult {
  readonly issuer: string
  /** The template that all issuers of the provider follow, where there is one (`isTemplate`). */
  readonly issuerTemplate?: string
  readonly idToken: string
  readonly idTokenClaims: IDToken
  readonly claims: Claims
  readonly tokens: TokenSet
}

/** What the answer must match. */
export interface LoginChecks {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** Seconds, where a maximum age was asked for. */
  readonly maxAge: number | null
  /** The values of which one must come back as `acr`, where some were asked for. */
  readonly acrValues: readonly string[] | null
}

/**
 * Redeems the authorization response in `url` (RFC 6749, section 4.1.3; `iss` as in RFC 9207) and verifies the ID token
 * (OpenID Connect Core 1.0, section 3.1.3.7) with its signature. Rejects with `login_failed` or `provider_unavailable`.
 */
export async function redeemCode(provider: Provider, url: URL, checks: LoginChecks, now: number): Promise<LoginResult> {
  const found = await provider.discovered()
  try {
    const response = await authorizationCodeGrant(found.configuration, url, {
      expectedState: checks.state,
      expectedNonce: checks.nonce,
      pkceCodeVerifier: checks.codeVerifier,
      idTokenExpected: true,
    })
    found.warnings.granted(response)
    const idTokenClaims = response.claims()
    const idToken = response.id_token
    if (idTokenClaims === undefined || idToken === undefined) throw new Error('the token response has no ID token')
    const claims = await verifiedClaims(provider, found, { idToken, idTokenClaims, accessToken: response.access_token })
    requireAcr(checks.acrValues, idTokenClaims.acr)
    requireAge(checks.maxAge, idTokenClaims.auth_time, now)
    const { issuer: named } = found.configuration.serverMetadata()
    return {
      issuer: idTokenClaims.iss,
      ...(isTemplate(named) ? { issuerTemplate: named } : {}),
      idToken,
      idTokenClaims,
      claims,
      tokens: toTokenSet(response, now),
    }
  } catch (error) {
    throw toLoginFault(error)
  }
}

function requireAcr(wanted: readonly string[] | null, got: unknown): void {
  if (wanted === null || (typeof got === 'string' && wanted.includes(got))) return
  throw notDelivered(
    `asked for acr ${wanted.join(' or ')}, the ID token says ${typeof got === 'string' ? got : 'nothing'}`,
  )
}

/** OpenID Connect Core 1.0, section 3.1.3.7. */
function requireAge(maxAge: number | null, authTime: unknown, now: number): void {
  if (maxAge === null || (typeof authTime === 'number' && authTime + maxAge + LOGIN_TAKES >= now / 1000)) return
  throw notDelivered(`asked for max_age ${maxAge}, the login is older or of no known age`)
}

function notDelivered(what: string): Fault {
  return new Fault('login_failed', {
    cause: new Error(what),
    detail: 'This page asks for a stronger or more recent sign-in, and the sign-in service did not provide it.',
  })
}
