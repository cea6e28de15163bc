import { authorizationCodeGrant, type IDToken } from 'openid-client'
import { Fault } from '../errors.ts'
import type { CodeOrError } from './authorization-response.ts'
import { verifiedClaims } from './claims.ts'
import { isTemplate, mayHaveIssued } from './issuer.ts'
import { announcedIssuer, type Provider } from './provider.ts'
import { NOT_DELIVERED, toLoginFault } from './oauth-errors.ts'
import { isIdentifier, toTokenSet, type Claims, type TokenSet } from './token-set.ts'

/**
 * The sign-in may be this much older than `maxAge`, because the user may need time between the sign-in and the
 * callback, for example to give consent.
 */
const LOGIN_MARGIN_S = 30

export interface LoginResult {
  /** The name of the provider in `providers`. Missing with the key `provider`. */
  readonly provider?: string
  /** The `client` of that provider. */
  readonly client?: string
  readonly issuer: string
  /** The provider's issuer if it is a template (`isTemplate`). */
  readonly issuerTemplate?: string
  readonly idToken: string
  readonly idTokenClaims: IDToken
  readonly claims: Claims
  readonly tokens: TokenSet
}

export interface LoginChecks {
  readonly redirectUri: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** The requested maximum age in seconds, or `null`. */
  readonly maxAge: number | null
  /** The requested `acr` values, one of which the ID token must have, or `null`. */
  readonly acrValues: readonly string[] | null
}

/**
 * Throws `login_failed` for an authorization response from another issuer, and for a code without `iss` if the provider
 * announces that it sends `iss`. An error without `iss` is accepted, because many providers omit `iss` from errors, and
 * a browser can forge an error anyway.
 * @see https://www.rfc-editor.org/rfc/rfc9207#section-2.4
 */
export function requireIssuer(provider: Provider, { type, iss }: CodeOrError): void {
  const announced = provider.peek()?.configuration.serverMetadata().authorization_response_iss_parameter_supported
  const missing = iss === null && type === 'code' && announced === true
  if (!missing && (iss === null || mayHaveIssued(announcedIssuer(provider), iss))) return
  const what = missing
    ? 'the callback has no iss, although the provider announces one'
    : 'the callback’s iss is not the provider’s'
  throw new Fault('login_failed', { cause: new Error(what) })
}

/**
 * Redeems a code and verifies the ID token and its signature. Rejects with `login_failed` or `provider_unavailable`.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3
 * @see https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
 */
export async function redeemCode(
  provider: Provider,
  answer: Extract<CodeOrError, { type: 'code' }>,
  checks: LoginChecks,
  now: number,
): Promise<LoginResult> {
  const found = await provider.discovered()
  requireIssuer(provider, answer)
  const url = new URL(checks.redirectUri)
  url.search = new URLSearchParams({
    code: answer.code,
    state: checks.state,
    // `requireIssuer` has already checked the response's own `iss`.
    iss: found.configuration.serverMetadata().issuer,
  }).toString()
  try {
    const response = await authorizationCodeGrant(found.configuration, url, {
      expectedState: checks.state,
      expectedNonce: checks.nonce,
      pkceCodeVerifier: checks.codeVerifier,
      idTokenExpected: true,
    })
    found.warnings.checkOfflineToken(response)
    const idTokenClaims = response.claims()
    const idToken = response.id_token
    if (idTokenClaims === undefined || idToken === undefined) throw new Error('the token response has no ID token')
    if (!isIdentifier(idTokenClaims.sub)) throw new Error('the ID token’s sub is empty or too long')
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
    `asked for acr ${wanted.join(' or ')}, the ID token says ${typeof got === 'string' ? got : 'none'}`,
  )
}

/** @see https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation */
function requireAge(maxAge: number | null, authTime: unknown, now: number): void {
  if (maxAge === null || (typeof authTime === 'number' && authTime + maxAge + LOGIN_MARGIN_S >= now / 1000)) return
  throw notDelivered(`asked for max_age ${maxAge}, the login is older or has no auth_time`)
}

function notDelivered(what: string): Fault {
  return new Fault('login_failed', { cause: new Error(what), detail: NOT_DELIVERED })
}
