import { errors } from 'jose'
import {
  AuthorizationResponseError,
  ClientError,
  ResponseBodyError,
  WWWAuthenticateChallengeError,
} from 'openid-client'
import { numberFrom } from '../config/numbers.ts'
import { Fault } from '../errors.ts'
import { KeysUnavailable } from './keys.ts'

/** What a failed call to the provider means for what the gateway holds. */
export type Refusal =
  /** `invalid_grant`: the provider's clear no (RFC 6749, section 5.2). */
  | 'invalid-grant'
  /** Another OAuth error, or another 400 from the token endpoint: a no in other words, or a passing mistake. */
  | 'rejected'
  /** Time-out, 5xx, 429, wrong client credentials, not OAuth at all: says nothing about the grant. */
  | 'unclear'

/** Reads what an error of a token request says about the grant itself. The status matters where no `error` is given. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof ResponseBodyError) {
    if (error.error === 'invalid_grant') return 'invalid-grant'
    return error.error === 'invalid_client' || isTrouble(error) ? 'unclear' : 'rejected'
  }
  const answer = answerOf(error)
  const html = answer?.headers.get('content-type')?.includes('html') ?? false
  return answer?.status === 400 && !html ? 'rejected' : 'unclear'
}

/** What judges the request, the client or the grant. With a 5xx any other word is about the server itself. */
const JUDGEMENT = /^(?:invalid_|unauthorized_|unsupported_|access_denied|token_)|_required$/

function isTrouble({ status, error }: ResponseBodyError): boolean {
  return status === 429 || (status >= 500 && !JUDGEMENT.test(error))
}

/** The status of the provider's answer, or 0 where there was none that could be read. */
export function statusOf(error: unknown): number {
  return answerOf(error)?.status ?? 0
}

/** The provider's answer that an error of openid-client is about, or `null`. */
function answerOf(error: unknown): Response | null {
  if (error instanceof ResponseBodyError || error instanceof WWWAuthenticateChallengeError) return error.response
  return error instanceof Error && error.cause instanceof Response ? error.cause : null
}

/** Seconds from `now` (ms) that the provider asked to wait, by number or by date (RFC 9110, section 10.2.3), or `null`. */
export function retryAfterOf(error: unknown, now = Date.now()): number | null {
  const value = answerOf(error)?.headers.get('retry-after')
  if (value === null || value === undefined) return null
  const wait = numberFrom(value) ?? (Date.parse(value) - now) / 1000
  return wait >= 0 ? Math.ceil(wait) : null
}

const BROWSERS_SIDE = new Set([
  'access_denied',
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
  'invalid_grant',
  'unmet_authentication_requirements',
])

/**
 * Turns whatever a call to the provider threw into the fault that a login ends with: 400 when the browser's side is
 * wrong, 503 when the provider can't be reached, 502 when what it says is wrong.
 */
export function toLoginFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  if (
    error instanceof AuthorizationResponseError ||
    (error instanceof ResponseBodyError && error.error === 'invalid_grant')
  ) {
    if (BROWSERS_SIDE.has(error.error))
      return new Fault('login_failed', { cause: error, detail: sentences[error.error] ?? NOT_WITHOUT_THE_USER })
    if (error.error === 'temporarily_unavailable') return new Fault('provider_unavailable', { cause: error })
    return wrong(error)
  }
  return isUnreachable(error) ? new Fault('provider_unavailable', { cause: error }) : wrong(error)
}

const NOT_WITHOUT_THE_USER =
  'The sign-in service needs something from you that this sign-in gave it no chance to ask for. Sign in again.'

const sentences: Record<string, string> = {
  access_denied: 'The sign-in was cancelled, or the sign-in service did not allow it.',
  invalid_grant:
    'The sign-in could not be completed: the sign-in service did not accept its own answer a second time, or it ' +
    'came too late.',
  unmet_authentication_requirements:
    'This page asks for a stronger sign-in, and the sign-in service did not provide it.',
}

function wrong(cause: unknown): Fault {
  return new Fault('login_failed', {
    cause,
    status: 502,
    detail: 'The sign-in service gave an answer that can’t be used.',
  })
}

/** Whether the provider could not be reached or could not answer, as opposed to answering something wrong. */
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
  // The connection could not be made, or was cut in the middle of the answer.
  return error instanceof TypeError && (error.message === 'fetch failed' || error.message === 'terminated')
}

const NEEDS_USER = new Set([
  'interaction_required',
  'login_required',
  'consent_required',
  'insufficient_user_authentication',
])

/**
 * Whether a refused grant would pass after another login, and the `claims` that it wants then (Entra names them, also
 * with `invalid_grant`, and says the rest in `suberror`); `null` where no login would help.
 */
export function loginThatHelps(error: unknown): { readonly claims: string | null } | null {
  if (!(error instanceof ResponseBodyError)) return null
  const { claims, suberror } = error.cause
  if (typeof claims === 'string' && claims !== '') return { claims }
  return NEEDS_USER.has(error.error) || (typeof suberror === 'string' && NEEDS_USER.has(suberror))
    ? { claims: null }
    : null
}
