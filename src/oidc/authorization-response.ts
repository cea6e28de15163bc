import { Fault } from '../errors.ts'
import { NOT_ACCEPTED, NOT_DELIVERED, UNUSABLE, pkceAdvice } from './oauth-errors.ts'

/**
 * The authorization response, which the browser carries from the provider to the callback.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2
 */
export type AuthorizationResponse =
  | CodeOrError
  /** `problem` says what is wrong, for the log. */
  | { readonly type: 'malformed'; readonly problem: string }

export type CodeOrError =
  { readonly type: 'code'; readonly code: string; readonly iss: string | null } | AuthorizationError

/**
 * An error that the provider sent or that a browser forged.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
 */
export interface AuthorizationError {
  readonly type: 'error'
  readonly error: string
  readonly description: string
  readonly iss: string | null
}

/**
 * Parameters that a response must not include more than once.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-3.1
 */
const ONCE = ['state', 'code', 'iss', 'error', 'error_description'] as const

/** Parameters of response types and modes that the gateway never requests. */
const UNREQUESTED = ['id_token', 'token', 'access_token', 'response'] as const

/**
 * Printable ASCII, limited to a length that providers use.
 * @see https://www.rfc-editor.org/rfc/rfc6749#appendix-A.11
 */
const CODE = /^[\x20-\x7e]{1,8192}$/

/**
 * Parses the parameters of a callback. A browser may have forged any of them, so contradictions are detected before the
 * gateway calls the provider.
 */
export function readAuthorizationResponse(parameters: URLSearchParams): AuthorizationResponse {
  for (const name of ONCE) {
    if (parameters.getAll(name).length > 1) return malformed(`the callback has more than one ${name}`)
  }
  for (const name of UNREQUESTED) {
    if (parameters.has(name)) return malformed(`the callback has ${name}, which was not requested`)
  }
  const code = parameters.get('code') ?? ''
  const error = parameters.get('error') ?? ''
  const iss = parameters.get('iss')
  if (code !== '' && error !== '') return malformed('the callback has a code and an error')
  if (error !== '') return { type: 'error', error, description: parameters.get('error_description') ?? '', iss }
  if (code === '') return malformed('the callback has neither a code nor an error')
  return CODE.test(code) ? { type: 'code', code, iss } : malformed('the code is too long or has invalid characters')
}

function malformed(problem: string): AuthorizationResponse {
  return { type: 'malformed', problem }
}

export type ErrorKind =
  | 'canceled'
  /** A new login is likely to succeed. */
  | 'passing'
  /** The provider cannot deliver the requested stronger sign-in. */
  | 'unmet'
  /** The provider needs the user, but the request did not allow an interaction. */
  | 'needs-user'
  | 'server'
  | 'refused'

const NEEDS_USER = new Set(['login_required', 'interaction_required', 'consent_required', 'account_selection_required'])

/**
 * Classifies an error of OAuth or OpenID Connect, or a provider's own error. `promptNone`: the request did not allow an
 * interaction with the user.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AuthError
 */
export function kindOfError({ error, description }: AuthorizationError, promptNone: boolean): ErrorKind {
  // Apple sends user_cancelled_authorize, LinkedIn sends user_cancelled_login.
  if (/cancel|denied/i.test(error)) return 'canceled'
  // Keycloak sends temporarily_unavailable with this description if its login page has expired.
  if (PASSING.has(error) || description === 'authentication_expired') return 'passing'
  if (error === 'login_required' && !promptNone) return 'passing'
  if (error === 'unmet_authentication_requirements') return 'unmet'
  if (NEEDS_USER.has(error)) return 'needs-user'
  return error === 'server_error' ? 'server' : 'refused'
}

const PASSING = new Set(['temporarily_unavailable', 'authentication_expired'])

const SENTENCES: Readonly<Record<ErrorKind, string>> = {
  'canceled': 'The sign-in was canceled, or the sign-in service did not allow it.',
  'passing': 'The sign-in service failed to finish this sign-in twice in a row. Wait a moment, then sign in again.',
  'unmet': NOT_DELIVERED,
  'needs-user': 'The sign-in service needs your input. Sign in again.',
  'server': UNUSABLE,
  'refused': NOT_ACCEPTED,
}

/**
 * Returns the fault for a login that the provider refused. With `signedIn`, the fault's detail says that the user is
 * still signed in.
 */
export function refusedLogin({ error, description }: AuthorizationError, kind: ErrorKind, signedIn: boolean): Fault {
  return new Fault('login_failed', {
    cause: Object.assign(new Error(`the authorization response is an error${pkceAdvice(description)}`), {
      error,
      error_description: description,
    }),
    ...(kind === 'server' ? { status: 502 } : {}),
    detail: signedIn ? `${SENTENCES[kind]} You are still signed in.` : SENTENCES[kind],
  })
}
