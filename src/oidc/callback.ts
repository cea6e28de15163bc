import { authorizationCodeGrant } from 'openid-client'
import { userApiOf } from '../config/presets/apply.ts'
import { Fault, quote } from '../errors.ts'
import type { CodeOrError } from './authorization-response.ts'
import { groupsOf, verifiedClaims } from './claims.ts'
import { deriveDpopKey } from './dpop.ts'
import { decryptedIdToken, readIdToken, requireNonce } from './id-token.ts'
import { isTemplate, withOrigin } from './issuer.ts'
import { announcedIssuer, isIssuer, type Discovered, type Provider } from './provider.ts'
import { toLoginFault, withPkceAdvice } from './oauth-errors.ts'
import { UNVERIFIED_ID_TOKEN } from './oauth-responses.ts'
import { authTimeOf, isIdentifier, sidOf, toTokenSet, type Claims, type TokenSet } from './token-set.ts'
import { readUser } from './user-api.ts'

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
  readonly subject: string
  /** The provider's session id, or `null`. */
  readonly sid: string | null
  /** `null` from a provider without OpenID Connect. */
  readonly idToken: string | null
  /** In ms since the epoch. */
  readonly idTokenExpiresAt: number | null
  readonly claims: Claims
  readonly tokens: TokenSet
  /** Whether the login had `prompt=login`. */
  readonly reauthenticated?: true
}

export interface LoginChecks {
  readonly redirectUri: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** The secret from which the login's DPoP key is derived. */
  readonly dpopSecret: string
  /** The requested maximum age in seconds, or `null`. */
  readonly maxAge: number | null
  /** The requested `acr` values, one of which the ID token must have, or `null`. */
  readonly acrValues: readonly string[] | null
  /** Whether the login only confirms who the user is. Groups are then not read: the access token may not permit that. */
  readonly identityOnly: boolean
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
  if (!missing && (iss === null || isIssuer(provider, iss))) return
  const what = missing
    ? 'the callback has no iss, although the provider announces one'
    : `the callback has iss ${quote(iss)}, expected ${announcedIssuer(provider)}`
  throw new Fault('login_failed', { cause: new Error(what) })
}

/**
 * Redeems a code and verifies the ID token and its signature. For a provider without OpenID Connect, reads the user
 * from its API. Rejects with `login_failed` or `provider_unavailable`.
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
  const { tolerate } = provider.settings
  const url = new URL(checks.redirectUri)
  url.search = new URLSearchParams({
    code: answer.code,
    state: checks.state,
    // `requireIssuer` has already checked the response's own `iss`.
    iss: found.configuration.serverMetadata().issuer,
  }).toString()
  const dpopKey = provider.settings.dpop === 'on' ? deriveDpopKey(checks.dpopSecret) : null
  try {
    const response = await authorizationCodeGrant(
      found.configuration,
      url,
      {
        expectedState: checks.state,
        ...(tolerate.includes('no-pkce') ? {} : { pkceCodeVerifier: checks.codeVerifier }),
      },
      undefined,
      await found.proofs.optionsFor(found.configuration, dpopKey),
    )
    const tokens = toTokenSet(response, now, null, dpopKey)
    found.warnings.checkOfflineToken(response)
    const identity =
      userApiOf(provider.settings) === null
        ? await identityFromIdToken(provider, found, answer, response[UNVERIFIED_ID_TOKEN], tokens, checks, now)
        : await identityFromApi(provider, found, tokens, checks)
    const { groupsFrom } = provider.settings
    if (groupsFrom === null || checks.identityOnly) return { ...identity, tokens }
    const read = await groupsOf(provider, found, groupsFrom, identity.claims, tokens, async () => {})
    if ('failure' in read) throw read.failure
    const { groups, refreshToken } = read
    return { ...identity, claims: { ...identity.claims, groups }, tokens: { ...tokens, refreshToken } }
  } catch (error) {
    throw toLoginFault(withPkceAdvice(error))
  }
}

type UserIdentity = Omit<LoginResult, 'tokens'>

async function identityFromIdToken(
  provider: Provider,
  found: Discovered,
  answer: CodeOrError,
  unverified: unknown,
  tokens: TokenSet,
  checks: LoginChecks,
  now: number,
): Promise<UserIdentity> {
  if (unverified === undefined) throw new Error('the token response has no ID token')
  const { idToken, idTokenClaims } = readIdToken(await decryptedIdToken(unverified, found), provider, found)
  const { iss, sub, exp, acr, auth_time: authTime } = idTokenClaims
  requireNonce(idTokenClaims, checks.nonce, provider.settings.tolerate.includes('missing-nonce'))
  if (!isIdentifier(sub)) throw new Error('the ID token’s sub is empty or too long')
  const claims = await verifiedClaims(provider, found, { idToken, idTokenClaims, tokens })
  if (answer.iss !== null && !namesOf(iss, provider).includes(answer.iss))
    throw new Fault('login_failed', { cause: new Error(`the callback has iss ${answer.iss}, the ID token ${iss}`) })
  requireAcr(checks.acrValues, acr)
  requireAge(checks.maxAge, authTimeOf({ auth_time: authTime }), now)
  const { issuer: named } = found.configuration.serverMetadata()
  return {
    issuer: iss,
    ...(isTemplate(named) ? { issuerTemplate: named } : {}),
    subject: sub,
    sid: sidOf(idTokenClaims),
    idToken,
    idTokenExpiresAt: exp * 1000,
    claims,
  }
}

async function identityFromApi(
  { settings }: Provider,
  found: Discovered,
  { accessToken }: TokenSet,
  checks: LoginChecks,
): Promise<UserIdentity> {
  requireAcr(checks.acrValues, null)
  if (checks.maxAge !== null) throw notDelivered(`asked for max_age ${checks.maxAge}, there is no auth_time`)
  const claims = await readUser({ settings, fetch: found.fetchApi, accessToken })
  return { issuer: settings.issuer, subject: claims.sub, sid: null, idToken: null, idTokenExpiresAt: null, claims }
}

/** Returns the `iss` that an authorization response may have beside an ID token with this issuer. */
function namesOf(issuer: string, { settings: { browserIssuerUrl } }: Provider): readonly string[] {
  return browserIssuerUrl === null ? [issuer] : [issuer, withOrigin(issuer, browserIssuerUrl)]
}

function requireAcr(wanted: readonly string[] | null, got: unknown): void {
  if (wanted === null || (typeof got === 'string' && wanted.includes(got))) return
  throw notDelivered(
    `asked for acr ${wanted.join(' or ')}, the ID token says ${typeof got === 'string' ? got : 'none'}`,
  )
}

/**
 * Throws `login_failed` for an older login. The caller of `redeemCode` decides about one without `auth_time`.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
 */
function requireAge(maxAge: number | null, authTime: number | null, now: number): void {
  if (maxAge === null || authTime === null || authTime + (maxAge + LOGIN_MARGIN_S) * 1000 >= now) return
  throw notDelivered(`asked for max_age ${maxAge}, the login is older`)
}

function notDelivered(what: string): Fault {
  return new Fault('login_failed', { cause: new Error(what), text: 'login_failed.step_up' })
}
