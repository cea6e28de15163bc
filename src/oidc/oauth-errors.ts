import { errors } from 'jose'
import { ClientError, ResponseBodyError, WWWAuthenticateChallengeError } from 'openid-client'
import { numberFrom } from '../config/numbers.ts'
import { Fault } from '../errors.ts'
import type { TextName } from '../texts/texts.ts'
import { ClientAssertionMissing } from './client-assertion-file.ts'
import { KeysUnavailable } from './jwks.ts'
import { ApiFailure } from './user-api.ts'

export type Refusal =
  /**
   * `invalid_grant`: the grant has ended.
   * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
   */
  | 'invalid-grant'
  /** Another OAuth error or 400 from the token endpoint, which may mean the end of the grant or a temporary problem. */
  | 'rejected'
  /** Timeout, 5xx, 429, wrong client credentials, or no OAuth response: the grant may still be valid. */
  | 'unclear'

/** Returns what an error of a token request means for the grant. Without an OAuth `error`, the status decides. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof ResponseBodyError) {
    if (error.error === 'invalid_grant') return 'invalid-grant'
    return error.error === 'invalid_client' || isServerFailure(error) ? 'unclear' : 'rejected'
  }
  const response = responseOf(error)
  const html = response?.headers.get('content-type')?.includes('html') ?? false
  return response?.status === 400 && !html ? 'rejected' : 'unclear'
}

/** Errors about the request, the client or the grant. Any other error with a 5xx concerns the server. */
const REQUEST_ERROR = /^(?:invalid_|unauthorized_|unsupported_|access_denied|token_)|_required$/

function isServerFailure({ status, error }: ResponseBodyError): boolean {
  return status === 429 || (status >= 500 && !REQUEST_ERROR.test(error))
}

/** Returns the status of the provider's response, or 0 if there is no response. */
export function statusOf(error: unknown): number {
  return responseOf(error)?.status ?? 0
}

function responseOf(error: unknown): Response | null {
  if (error instanceof ResponseBodyError || error instanceof WWWAuthenticateChallengeError) return error.response
  return error instanceof Error && error.cause instanceof Response ? error.cause : null
}

/**
 * Returns how long the provider's Retry-After asks to wait, in seconds from `now` (ms since the epoch), or `null`.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
 */
export function retryAfterOf(error: unknown, now = Date.now()): number | null {
  const value = responseOf(error)?.headers.get('retry-after')
  if (value === null || value === undefined) return null
  const wait = numberFrom(value) ?? (Date.parse(value) - now) / 1000
  return wait >= 0 ? Math.ceil(wait) : null
}

/**
 * Returns the fault with which a login fails after an error: 400 for a code that the provider refuses, 503 if the
 * provider cannot be reached, and 502 for an unusable response.
 */
export function toLoginFault(error: unknown): Fault {
  if (error instanceof Fault) return error
  if (error instanceof ResponseBodyError && error.error === 'invalid_grant')
    return new Fault('login_failed', { cause: error, text: 'login_failed.spent' })
  const text = error instanceof ApiFailure ? UNREADABLE[error.what] : null
  return isUnreachable(error)
    ? new Fault('provider_unavailable', { cause: error, ...(text === null ? {} : { text }) })
    : new Fault('login_failed', { cause: error, status: 502, text: text ?? 'login_failed.unusable' })
}

const UNREADABLE: { readonly [what in ApiFailure['what']]: TextName } = {
  account: 'login_failed.no_user',
  groups: 'login_failed.no_groups',
}

/** Adds advice on turning PKCE off to an error that the provider attributes to PKCE. Returns the error. */
export function withPkceAdvice(error: unknown): unknown {
  if (error instanceof ResponseBodyError) error.message += pkceAdvice(error.error_description)
  return error
}

export function pkceAdvice(description: string | undefined): string {
  return description !== undefined && /pkce|code_verifier|code_challenge/i.test(description)
    ? '; if the provider does not support PKCE, set provider.tolerate: [no-pkce]'
    : ''
}

/** Statuses with which a server, or a firewall in front of it, refuses a request. */
const REFUSES_REQUEST = new Set([400, 403, 406, 413, 414, 422, 431])

const CLIENT_ERRORS = new Set(['invalid_client', 'unauthorized_client'])

/**
 * Returns whether the provider refuses this request, rather than the client or all requests.
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2.3
 */
export function refusesRequest(error: unknown): boolean {
  if (error instanceof ResponseBodyError) return REFUSES_REQUEST.has(error.status) && !CLIENT_ERRORS.has(error.error)
  return error instanceof ClientError && error.cause instanceof Response && REFUSES_REQUEST.has(error.cause.status)
}

/** Statuses of an endpoint that does not exist or is not for this client. */
const REFUSES_CLIENT = new Set([401, 403, 404, 405, 501])

/**
 * Returns whether the endpoint for pushed requests refuses this client. If the request has parameters that a link to the
 * login can set, they may be the cause of the refusal, so only an OAuth error about the client counts.
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2.3
 */
export function refusesClient(error: unknown, hasLinkParameters: boolean): boolean {
  if (error instanceof ResponseBodyError && CLIENT_ERRORS.has(error.error)) return true
  if (hasLinkParameters) return false
  return error instanceof ResponseBodyError ? error.error === 'access_denied' : REFUSES_CLIENT.has(statusOf(error))
}

/**
 * Returns whether the provider is unreachable or fails temporarily, or the gateway has no credential for it at the
 * moment. Returns `false` for an unusable response.
 */
export function isUnreachable(error: unknown): boolean {
  if (error instanceof Fault) return error.status === 503
  if (error instanceof ResponseBodyError) return isServerFailure(error)
  if (error instanceof ApiFailure && (error.isTemporary || isUnreachable(error.cause))) return true
  const response = responseOf(error)
  if (response !== null) return response.status >= 500 || response.status === 429
  if (error instanceof ClientAssertionMissing) return true
  if (error instanceof KeysUnavailable || error instanceof errors.JWKSTimeout) return true
  if (error instanceof ClientError) {
    if (error.code === 'OAUTH_TIMEOUT' || error.code === 'OAUTH_ABORT') return true
    return error.code === undefined && error.cause instanceof Error && isUnreachable(error.cause)
  }
  if (!(error instanceof Error)) return false
  if (error.name === 'TimeoutError' || error.name === 'AbortError') return true
  // undici reports a failed connection as `fetch failed`, and a connection that broke during the response as
  // `terminated`.
  return error instanceof TypeError && (error.message === 'fetch failed' || error.message === 'terminated')
}

const NEEDS_USER = new Set([
  'interaction_required',
  'login_required',
  'consent_required',
  'insufficient_user_authentication',
])

/**
 * Returns the `claims` that another login must request so that a refused grant succeeds, or `null` if no login would
 * help. Entra sends the claims, even with `invalid_grant`, and sends the reason in `suberror`.
 */
export function requiredLogin(error: unknown): { readonly claims: string | null } | null {
  if (!(error instanceof ResponseBodyError)) return null
  const { claims, suberror } = error.cause
  if (typeof claims === 'string' && claims !== '') return { claims }
  return NEEDS_USER.has(error.error) || (typeof suberror === 'string' && NEEDS_USER.has(suberror))
    ? { claims: null }
    : null
}
