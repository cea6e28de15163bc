import { authorizationCodeGrant, type IDToken } from 'openid-client'
import { Fault } from '../errors.ts'
import type { AuthorizationResponse } from './authorization-response.ts'
import { verifiedClaims } from './claims.ts'
import { announcedIssuer } from './announced-issuer.ts'
import { isTemplate, mayHaveIssued } from './issuer.ts'
import { isName } from './names.ts'
import type { Provider } from './provider.ts'
import { NOT_DELIVERED, toLoginFault } from './refusal.ts'
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
  readonly redirectUri: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** Seconds, where a maximum age was asked for. */
  readonly maxAge: number | null
  /** The values of which one must come back as `acr`, where some were asked for. */
  readonly acrValues: readonly string[] | null
}

type Answered = Exclude<AuthorizationResponse, { type: 'malformed' }>

/**
 * Throws `login_failed` for an authorization response of another issuer (RFC 9207), or a code that does not say whose it
 * is where the provider announces that. Errors may come without: many providers leave `iss` out there, and a browser
 * can forge the one as well as the other.
 */
export function requireIssuer(provider: Provider, { type, iss }: Answered): void {
  const announced = provider.peek()?.configuration.serverMetadata().authorization_response_iss_parameter_supported
  const missing = iss === null && type === 'code' && announced === true
  if (!missing && (iss === null || mayHaveIssued(announcedIssuer(provider), iss))) return
  const what = missing
    ? 'the callback has no iss, which the provider announces'
    : 'the callback’s iss is not the provider’s'
  throw new Fault('login_failed', { cause: new Error(what) })
}

/**
 * Redeems a code (RFC 6749, section 4.1.3) and verifies the ID token (OpenID Connect Core 1.0, section 3.1.3.7) with
 * its signature. Rejects with `login_failed` or `provider_unavailable`.
 */
export async function redeemCode(
  provider: Provider,
  answer: Extract<Answered, { type: 'code' }>,
  checks: LoginChecks,
  now: number,
): Promise<LoginResult> {
  const found = await provider.discovered()
  requireIssuer(provider, answer)
  const url = new URL(checks.redirectUri)
  url.search = new URLSearchParams({
    code: answer.code,
    state: checks.state,
    // It has been compared.
    iss: found.configuration.serverMetadata().issuer,
  }).toString()
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
    if (!isName(idTokenClaims.sub)) throw new Error('the ID token’s sub is empty or too long')
    const claims = await verifiedClaims(provider, found, { idToken, idTokenClaims, accessToken: response.access_token })
    if (answer.iss !== null && answer.iss !== idTokenClaims.iss)
      throw new Fault('login_failed', { cause: new Error('the callback’s iss is not that of the ID token') })
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
  return new Fault('login_failed', { cause: new Error(what), detail: NOT_DELIVERED })
}
