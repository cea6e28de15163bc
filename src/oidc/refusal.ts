import { errors } from 'jose'
import { ClientError, ResponseBodyError, WWWAuthenticateChallengeError } from 'openid-client'
import { numberFrom } from '../config/numbers.ts'
import { Fault } from '../errors.ts'
import { KeysUnavailable } from './keys.ts'

/** What a failed token request says about the grant. */
export type Refusal =
  /**
   * `invalid_grant`: the grant is over.
   * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
   */
  | 'invalid-grant'
  /** Another OAuth error, or another 400 from the token endpoint: a refusal in other words, or a temporary mistake. */
  | 'rejected'
  /** Timeout, 5xx, 429, wrong client credentials, or no OAuth response: says nothing about the grant. */
  | 'unclear'

/** Returns what an error of a token request says about the grant. Without an OAuth `error`, the status counts. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof ResponseBodyError) {
    if (error.error === 'invalid_grant') return 'invalid-grant'
    return error.error === 'invalid_client' || isTrouble(error) ? 'unclear' : 'rejected'
  }
  const answer = answerOf(error)
  const html = answer?.headers.get('content-type')?.includes('html') ?? false
  return answer?.status === 400 && !html ? 'rejected' : 'unclear'
}

/** Errors about the request, the client or the grant. With a 5xx, any other error is about the server. */
const JUDGEMENT = /^(?:invalid_|unauthorized_|unsupported_|access_denied|token_)|_required$/

function isTrouble({ status, error }: ResponseBodyError): boolean {
  return status === 429 || (status >= 500 && !JUDGEMENT.test(error))
}

/** Returns the status of the provider's response, or 0 without one. */
export function statusOf(error: unknown): number {
  return answerOf(error)?.status ?? 0
}

/** Returns the response that an error of openid-client is about, or `null`. */
function answerOf(error: unknown): Response | null {
  if (error instanceof ResponseBodyError || error instanceof WWWAuthenticateChallengeError) return error.response
  return error instanceof Error && error.cause instanceof Response ? error.cause : null
}

/**
 * Returns the seconds from `now` (ms since the epoch) that the provider's Retry-After asks to wait, or `null`.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
 */
export function retryAfterOf(error: unknown, now = Date.now()): number | null {
  const value = answerOf(error)?.headers.get('retry-after')
  if (value === null || value === undefined) return null
  const wait = numberFrom(value) ?? (Date.parse(value) - now) / 1000
  return wait >= 0 ? Math.ceil(wait) : null
}

/**
 * Returns the fault that a login ends with after this error: 400 for a code that the provider refuses, 503 if the
 * provider can't be reached, and 502 for a wrong response.
 */
export function toLoginFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  if (error instanceof ResponseBodyError && error.error === 'invalid_grant')
    return new Fault('login_failed', { cause: error, detail: SPENT })
  return isUnreachable(error)
    ? new Fault('provider_unavailable', { cause: error })
    : new Fault('login_failed', { cause: error, status: 502, detail: UNUSABLE })
}

const SPENT =
  'The sign-in service did not accept this sign-in any more: it took too long, was finished before, or is not allowed. ' +
  'Sign in again.'

/** What the user reads after a wrong response of the provider. */
export const UNUSABLE = 'The sign-in service gave an answer that can’t be used.'

/** What the user reads if the provider refuses the parameters of a login. */
export const NOT_ACCEPTED = 'The sign-in service did not accept what this sign-in asks for.'

/** What the user reads if the provider did not deliver the requested stronger or more recent sign-in. */
export const NOT_DELIVERED =
  'This page asks for a stronger or more recent sign-in, and the sign-in service did not provide it.'

/** Statuses of a server, or of a firewall in front of it, that refuses the request. */
const REFUSES_REQUEST = new Set([400, 403, 406, 413, 414, 422, 431])

const CLIENTS_FAULT = new Set(['invalid_client', 'unauthorized_client'])

/**
 * Returns whether the provider refuses the request itself, rather than the client or every request at the moment.
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2.3
 */
export function refusesRequest(error: unknown): boolean {
  if (error instanceof ResponseBodyError) return REFUSES_REQUEST.has(error.status) && !CLIENTS_FAULT.has(error.error)
  return error instanceof ClientError && error.cause instanceof Response && REFUSES_REQUEST.has(error.cause.status)
}

/** Returns whether the provider could not be reached or could not answer, rather than answered wrongly. */
export function isUnreachable(error: unknown): boolean {
  if (error instanceof Fault) return error.status === 503
  if (error instanceof ResponseBodyError) return isTrouble(error)
  const answer = answerOf(error)
  if (answer !== null) return answer.status >= 500 || answer.status === 429
  if (error instanceof KeysUnavailable || error instanceof errors.JWKSTimeout) return true
  if (error instanceof ClientError) {
    if (error.code === 'OAUTH_TIMEOUT' || error.code === 'OAUTH_ABORT') return true
    return error.code === undefined && error.cause instanceof Error && isUnreachable(error.cause)
  }
  if (!(error instanceof Error)) return false
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  // undici's errors for a connection that failed, or broke within the response.
  return error instanceof TypeError && (error.message === 'fetch failed' || error.message === 'terminated')
}

const NEEDS_USER = new Set([
  'interaction_required',
  'login_required',
  'consent_required',
  'insufficient_user_authentication',
])

/**
 * Returns the `claims` with which another login would make a refused grant succeed, or `null` if no login would help.
 * Entra names the claims, also with `invalid_grant`, and gives the reason in `suberror`.
 */
export function loginThatHelps(error: unknown): { readonly claims: string | null } | null {
  if (!(error instanceof ResponseBodyError)) return null
  const { claims, suberror } = error.cause
  if (typeof claims === 'string' && claims !== '') return { claims }
  return NEEDS_USER.has(error.error) || (typeof suberror === 'string' && NEEDS_USER.has(suberror))
    ? { claims: null }
    : null
}
