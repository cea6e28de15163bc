import { errors } from 'jose'
import { ClientError, ResponseBodyError, WWWAuthenticateChallengeError } from 'openid-client'
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

/**
 * Turns whatever a call to the provider threw into the fault that a login ends with: 400 for a code that the browser
 * brought and the provider does not take, 503 when the provider can't be reached, 502 when what it says is wrong.
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

/** What a user reads where the provider's answer is wrong. */
export const UNUSABLE = 'The sign-in service gave an answer that can’t be used.'

/** Where it does not take what a login asks it for. */
export const NOT_ACCEPTED = 'The sign-in service did not accept what this sign-in asks for.'

/** Where it was asked for a stronger or more recent sign-in, and none came. */
export const NOT_DELIVERED =
  'This page asks for a stronger or more recent sign-in, and the sign-in service did not provide it.'

/** Of a server, or of a firewall in front of it, that does not take what it is sent. */
const NOT_TAKEN = new Set([400, 403, 406, 413, 414, 422, 431])

const CLIENTS_FAULT = new Set(['invalid_client', 'unauthorized_client'])

/** Whether the provider refuses what a request asks for (RFC 9126, section 2.3), as opposed to who makes it, or for now. */
export function refusesRequest(error: unknown): boolean {
  if (error instanceof ResponseBodyError) return NOT_TAKEN.has(error.status) && !CLIENTS_FAULT.has(error.error)
  return error instanceof ClientError && error.cause instanceof Response && NOT_TAKEN.has(error.cause.status)
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
