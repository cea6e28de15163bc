import { errors } from 'jose'
import { AuthorizationResponseError, ClientError, ResponseBodyError } from 'openid-client'
import { Fault } from '../errors.ts'
import { KeysUnavailable } from './keys.ts'

/** What a failed call to the provider means for what the gateway holds. */
export type Refusal =
  /** `invalid_grant`: the provider's clear no (RFC 6749, section 5.2). */
  | 'invalid-grant'
  /** Another 400 from the token endpoint: a no in other words, or a passing mistake. */
  | 'rejected'
  /** Time-out, 5xx, 429, wrong client credentials, not OAuth at all: says nothing about the grant. */
  | 'unclear'

/** Reads what an error of a token request says about the grant itself. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof ResponseBodyError) {
    if (error.error === 'invalid_grant') return 'invalid-grant'
    return error.status === 400 && error.error !== 'invalid_client' ? 'rejected' : 'unclear'
  }
  const answer = error instanceof Error && error.cause instanceof Response ? error.cause : null
  const html = answer?.headers.get('content-type')?.includes('html') ?? false
  return answer?.status === 400 && !html ? 'rejected' : 'unclear'
}

/** Seconds that the provider asked to wait (RFC 9110, section 10.2.3), or `null`. */
export function retryAfterOf(error: unknown): number | null {
  const answer =
    error instanceof ResponseBodyError
      ? error.response
      : error instanceof Error && error.cause instanceof Response
        ? error.cause
        : null
  const seconds = Number(answer?.headers.get('retry-after') ?? Number.NaN)
  return Number.isFinite(seconds) && seconds >= 0 ? seconds : null
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
  if (error instanceof ResponseBodyError) return error.status >= 500 || error.status === 429
  if (error instanceof KeysUnavailable || error instanceof errors.JWKSTimeout) return true
  if (error instanceof ClientError) {
    if (error.code === 'OAUTH_TIMEOUT' || error.code === 'OAUTH_ABORT') return true
    if (error.cause instanceof Response) return error.cause.status >= 500 || error.cause.status === 429
    return error.code === undefined && error.cause instanceof Error && isUnreachable(error.cause)
  }
  if (!(error instanceof Error)) return false
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  return error instanceof TypeError && error.message === 'fetch failed'
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
