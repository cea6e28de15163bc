import type { Config } from '../config/schema.ts'
import { faults, type Code } from '../errors.ts'
import { returnTarget } from './return-target.ts'
import type { CompiledRoute, Denial, Facts, RequestKind, StepUp } from './verdict.ts'

/** An answer of the gateway's own, before it is written as a problem (RFC 9457), a page or a redirect. */
export interface Answer {
  readonly status: number
  readonly code: Code
  readonly title: string
  readonly detail: string
  /** Where a redirect goes; only with 302. */
  readonly location?: string
  /** Where the user logs in. */
  readonly loginUrl?: string
  /** Seconds. */
  readonly retryAfter?: number
  /** The value of `WWW-Authenticate` (RFC 9110, section 11.6.1). */
  readonly authenticate?: string
  readonly clearSession?: boolean
  /** For methods that are not allowed (RFC 9110, section 10.2.1). */
  readonly allow?: string
}

type Settings = Pick<Config, 'basePath'> & { readonly scripts: Pick<Config['scripts'], 'message'> }

const LOGIN_REQUIRED = 'You have to sign in to go on.'
const SESSION_EXPIRED = 'Your session has ended. Sign in again to go on.'
const STEP_UP_REQUIRED = 'This page asks for a stronger or more recent sign-in.'
const FORBIDDEN = 'You are signed in, but you are not allowed to open this.'
const LEFT_OUT =
  'You are signed in, but the sign-in service left out what decides whether you may open this: ' +
  'you are in too many groups. Ask whoever runs this site.'
const TOKEN_REFUSED = 'The sign-in service gave no access to the application behind this address.'
const INVALID_TOKEN = 'The access token that came with this request can’t be used here.'
const UPSTREAM_LOGIN = 'The application asks for a sign-in of its own.'
const STEP_UP_REFUSED = 'The application asks for a sign-in that the sign-in service did not provide.'
const CROSS_ORIGIN = 'Another site sent this request, so it was not carried out.'

/** The contract's table: what a denied request of each kind is told. */
export function challenge(
  denial: Denial,
  kind: RequestKind,
  facts: Facts,
  route: CompiledRoute | null,
  settings: Settings,
): Answer {
  switch (denial.reason) {
    case 'no-route':
      return { code: 'not_found', ...faults.not_found }
    case 'ambiguous-path':
      return { code: 'ambiguous_path', ...faults.ambiguous_path }
    case 'forbidden': {
      const detail = denial.leftOut === true ? LEFT_OUT : FORBIDDEN
      return { status: 403, code: 'forbidden', title: 'Not allowed', detail }
    }
    case 'cross-origin':
      return { status: 403, code: 'cross_origin', title: 'Request from another site', detail: CROSS_ORIGIN }
    case 'token-unavailable':
      return { code: 'token_unavailable', ...faults.token_unavailable, retryAfter: denial.retryAfter }
    case 'token-refused':
      return { ...faults.token_unavailable, status: 502, code: 'token_unavailable', detail: TOKEN_REFUSED }
    case 'invalid-token':
      return {
        status: 401,
        code: 'invalid_token',
        title: 'Token not accepted',
        detail: INVALID_TOKEN,
        authenticate: 'Bearer error="invalid_token"',
      }
    case 'upstream-login':
      return {
        status: 401,
        code: 'upstream_login_required',
        title: 'Login required',
        detail: UPSTREAM_LOGIN,
        authenticate: 'Bearer',
        loginUrl: loginUrlFor(facts, kind, settings.basePath),
      }
    case 'step-up-refused':
      return { status: 403, code: 'forbidden', title: 'Not allowed', detail: STEP_UP_REFUSED }
    case 'login-required':
      return login('login_required', LOGIN_REQUIRED, kind, facts, route, settings, {})
    case 'session-expired':
      return login('session_expired', SESSION_EXPIRED, kind, facts, route, settings, {
        clearSession: denial.clearCookie,
      })
    case 'step-up':
      if (denial.bearer === true) return insufficient(denial.stepUp)
      return login('step_up_required', STEP_UP_REQUIRED, kind, facts, route, settings, { stepUp: denial.stepUp })
  }
}

/** For a client with a token of its own: RFC 9470, section 3. */
function insufficient({ acrValues, maxAge }: StepUp): Answer {
  const wanted = [
    acrValues === null ? '' : `, acr_values="${acrValues.join(' ')}"`,
    maxAge === null ? '' : `, max_age="${maxAge}"`,
  ].join('')
  return {
    status: 401,
    code: 'step_up_required',
    title: 'Token not accepted',
    detail: 'The access token that came with this request is of too weak or too old a sign-in.',
    authenticate: `Bearer error="insufficient_user_authentication"${wanted}`,
  }
}

interface LoginDetails {
  readonly clearSession?: boolean
  readonly stepUp?: StepUp
}

function login(
  code: Code,
  sentence: string,
  kind: RequestKind,
  facts: Facts,
  route: CompiledRoute | null,
  settings: Settings,
  { clearSession = false, stepUp }: LoginDetails,
): Answer {
  const redirects =
    route?.challenge === 'redirect' ? kind !== 'websocket' : route?.challenge !== '401' && kind === 'navigation'
  // What is sent to the login without a page around it comes back to where it was going, as a frame does.
  const comesBack = redirects && kind === 'script' && (facts.method === 'GET' || facts.method === 'HEAD')
  const loginUrl = loginUrlFor(facts, comesBack ? 'frame' : kind, settings.basePath, stepUp)
  if (redirects)
    return { status: 302, code, title: 'Login required', detail: sentence, location: loginUrl, clearSession }
  const detail = kind === 'script' && settings.scripts.message !== null ? settings.scripts.message : sentence
  return { status: 401, code, title: 'Login required', detail, loginUrl, clearSession, authenticate: 'Bearer' }
}

/**
 * The login URL that brings the user back: a navigation to where it was going, anything else to the page it came from.
 */
export function loginUrlFor(facts: Facts, kind: RequestKind, basePath: string, stepUp?: StepUp): string {
  const parameters = new URLSearchParams()
  const target =
    kind === 'navigation'
      ? facts.path + facts.query
      : (pageOf(facts) ?? (kind === 'frame' ? facts.path + facts.query : null))
  const redirect = returnTarget(target, facts.origin)
  if (redirect !== null) parameters.set('redirect', redirect)
  if (stepUp !== undefined && stepUp.acrValues !== null) parameters.set('acr_values', stepUp.acrValues.join(' '))
  if (stepUp !== undefined && stepUp.maxAge !== null) parameters.set('max_age', String(stepUp.maxAge))
  if (stepUp?.scope !== undefined) parameters.set('scope', stepUp.scope)
  if (stepUp?.claims !== undefined) parameters.set('claims', stepUp.claims)
  const query = parameters.toString()
  return `${facts.origin}${basePath}/login${query === '' ? '' : `?${query}`}`
}

/** The page that a script runs in, as far as the browser tells. */
function pageOf({ headers, origin }: Facts): string | null {
  const current = headers['hx-current-url']
  return sameOrigin(typeof current === 'string' ? current : undefined, origin) ?? sameOrigin(headers.referer, origin)
}

/** A Referer is an absolute URL; a relative one is somebody's invention. */
function sameOrigin(url: string | undefined, origin: string): string | null {
  return url?.startsWith(`${origin}/`) === true || url === origin ? returnTarget(url, origin) : null
}
