import { Fault } from '../errors.ts'
import { NOT_ACCEPTED, NOT_DELIVERED, UNUSABLE } from './refusal.ts'

/** What the provider sent with the browser (RFC 6749, section 4.1.2): a code, or an error. */
export type AuthorizationResponse =
  | { readonly type: 'code'; readonly code: string; readonly iss: string | null }
  | AuthorizationError
  /** It is neither; `problem` says why, for the log. */
  | { readonly type: 'malformed'; readonly problem: string }

/** The provider, or a browser in its name, says no (RFC 6749, section 4.1.2.1). */
export interface AuthorizationError {
  readonly type: 'error'
  readonly error: string
  readonly description: string
  readonly iss: string | null
}

/** RFC 6749, section 3.1: response parameters must not be included more than once. */
const ONCE = ['state', 'code', 'iss', 'error', 'error_description'] as const

/** Of response types and modes that the gateway never asks for. */
const NOT_ASKED_FOR = ['id_token', 'token', 'access_token', 'response'] as const

/** Visible characters and spaces (RFC 6749, appendix A.11); a longer one is none that a provider would give out. */
const CODE = /^[\x20-\x7e]{1,8192}$/

/**
 * Reads the parameters of a callback. The browser brings them, so all of them may be forged: what does not fit together
 * is found here, before anything is sent to the provider.
 */
export function readAuthorizationResponse(parameters: URLSearchParams): AuthorizationResponse {
  for (const name of ONCE) {
    if (parameters.getAll(name).length > 1) return malformed(`the callback has more than one ${name}`)
  }
  for (const name of NOT_ASKED_FOR) {
    if (parameters.has(name)) return malformed(`the callback has ${name}, which was not asked for`)
  }
  const code = parameters.get('code') ?? ''
  const error = parameters.get('error') ?? ''
  const iss = parameters.get('iss')
  if (code !== '' && error !== '') return malformed('the callback has a code and an error')
  if (error !== '') return { type: 'error', error, description: parameters.get('error_description') ?? '', iss }
  if (code === '') return malformed('the callback has neither a code nor an error')
  return CODE.test(code)
    ? { type: 'code', code, iss }
    : malformed('the code has characters that no code has, or is too long')
}

function malformed(problem: string): AuthorizationResponse {
  return { type: 'malformed', problem }
}

/** What an error says, as far as it makes a difference. */
export type ErrorKind =
  /** The user did not want to. */
  | 'cancelled'
  /** A new login is likely to succeed. */
  | 'passing'
  /** The stronger sign-in that was asked for can't be had. */
  | 'unmet'
  /** It takes the user, and the request gave the provider no chance to ask. */
  | 'needs-user'
  /** The provider's own mistake. */
  | 'server'
  | 'refused'

const NEEDS_USER = new Set(['login_required', 'interaction_required', 'consent_required', 'account_selection_required'])

/**
 * Sorts the errors of RFC 6749, section 4.1.2.1, of OpenID Connect Core 1.0, section 3.1.2.6, and what providers say in
 * their place. `promptNone`: the request asked for a login without the user.
 */
export function kindOfError({ error, description }: AuthorizationError, promptNone: boolean): ErrorKind {
  // Apple says user_cancelled_authorize, LinkedIn user_cancelled_login.
  if (/cancel|denied/i.test(error)) return 'cancelled'
  // Keycloak says temporarily_unavailable with that description when its own login page has become too old.
  if (PASSING.has(error) || description === 'authentication_expired') return 'passing'
  if (error === 'login_required' && !promptNone) return 'passing'
  if (error === 'unmet_authentication_requirements') return 'unmet'
  if (NEEDS_USER.has(error)) return 'needs-user'
  return error === 'server_error' ? 'server' : 'refused'
}

const PASSING = new Set(['temporarily_unavailable', 'authentication_expired'])

const SENTENCES: Readonly<Record<ErrorKind, string>> = {
  'cancelled': 'The sign-in was cancelled, or the sign-in service did not allow it.',
  'passing': 'The sign-in service did not finish this sign-in, twice in a row. Wait a moment, then sign in again.',
  'unmet': NOT_DELIVERED,
  'needs-user':
    'The sign-in service needs something from you that this sign-in gave it no chance to ask for. Sign in again.',
  'server': UNUSABLE,
  'refused': NOT_ACCEPTED,
}

/** What a login ends with that the provider has refused; the user reads that a session that there is lives on. */
export function refusedLogin(answer: AuthorizationError, kind: ErrorKind, signedIn: boolean): Fault {
  const { error, description } = answer
  return new Fault('login_failed', {
    cause: Object.assign(new Error('the authorization response is an error'), {
      error,
      error_description: description,
    }),
    ...(kind === 'server' ? { status: 502 } : {}),
    detail: signedIn ? `${SENTENCES[kind]} You are still signed in.` : SENTENCES[kind],
  })
}
