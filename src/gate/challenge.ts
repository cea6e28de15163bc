import { percentEncodeBytes } from '../bytes.ts'
import type { Config } from '../config/schema.ts'
import { faults, wordsFor, type Code, type FaultCode, type Words } from '../errors.ts'
import { PROOF_ALGORITHMS } from '../oidc/dpop-proof.ts'
import { english, type TextName } from '../texts/texts.ts'
import type { StepUp } from '../token/denial.ts'
import { metadataUrl } from './protected-resource.ts'
import { hostOf } from './match.ts'
import { returnTarget, targetAtLogin } from './return-target.ts'
import type { CompiledRoute, Denial, Facts, FinalDenial, ForbiddenHint, LoginDenial, RequestKind } from './verdict.ts'

/** A response. By default, a page has the texts of the code. `title` and `detail` are for problems. */
export interface Answer extends Partial<Pick<Words, 'text' | 'more' | 'values'>>, Pick<Words, 'title' | 'detail'> {
  readonly status: number
  readonly code: Code
  /** The target of a redirect; only with 302. */
  readonly location?: string
  readonly loginUrl?: string
  /** In seconds. */
  readonly retryAfter?: number
  /** The value of `WWW-Authenticate`. */
  readonly authenticate?: string
  readonly clearSession?: boolean
  /** The value of `Allow`; only with 405. */
  readonly allow?: string
  /** Whether the same request may succeed later, or after the user has done what the text says. By default, a 5xx may. */
  readonly mayRetry?: boolean
}

type Settings = Pick<Config, 'basePath'> & {
  readonly loginHost?: string | null
  readonly scripts: Pick<Config['scripts'], 'message'>
}

const LOGIN_CODES = {
  'login-required': 'login_required',
  'session-expired': 'session_expired',
  'step-up': 'step_up_required',
} as const satisfies { readonly [reason in LoginDenial['reason']]: Code }

/** The title of each problem that a login resolves. */
const LOGIN_REQUIRED = 'Login required'

export function challenge(
  denial: Denial,
  kind: RequestKind,
  facts: Facts,
  route: CompiledRoute | null,
  settings: Settings,
): Answer {
  const answer = answerTo(denial, kind, facts, route, settings)
  if (answer.status !== 401 && denial.reason !== 'insufficient-scope') return answer
  return { authenticate: authenticateOf(denial, route, facts), ...answer }
}

function answerTo(
  denial: Denial,
  kind: RequestKind,
  facts: Facts,
  route: CompiledRoute | null,
  settings: Settings,
): Answer {
  const { basePath, loginHost = null } = settings
  if (denial.reason === 'upstream-login')
    return upstreamLogin(loginUrlFor(facts, 'script', basePath, undefined, loginHost))
  if (!isLoginDenial(denial)) return finalAnswer(denial)
  const code = LOGIN_CODES[denial.reason]
  const title = LOGIN_REQUIRED
  const detail = english(code)
  const clearSession = denial.reason === 'session-expired' && denial.clearCookie
  const redirects =
    route?.challenge === 'redirect' ? kind !== 'websocket' : route?.challenge !== '401' && kind === 'navigation'
  // A script that is redirected has no page to return to, so it returns to its own URL, as a frame does.
  const returns = redirects && kind === 'script' && (facts.method === 'GET' || facts.method === 'HEAD')
  const loginUrl =
    (denial.reason === 'login-required' ? denial.loginUrl : undefined) ??
    loginUrlFor(
      facts,
      returns ? 'frame' : kind,
      basePath,
      denial.reason === 'step-up' ? denial.stepUp : undefined,
      loginHost,
    )
  if (redirects) return { status: 302, code, title, detail, location: loginUrl, clearSession }
  return {
    status: 401,
    code,
    title,
    detail: kind === 'script' ? (settings.scripts.message ?? detail) : detail,
    loginUrl,
    clearSession,
  }
}

type Parameters = readonly (readonly [name: string, value: string])[]

/**
 * Returns the challenges of a response that denies a request: `Bearer`, and on a route with `bearer` also where to find
 * the metadata, and which scopes are required. The error belongs to the scheme of the client's token, and is missing if
 * the client sent no token.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-3
 * @see https://www.rfc-editor.org/rfc/rfc9728#section-5.1
 */
export function authenticateOf(denial: Denial, route: CompiledRoute | null, { origin }: Pick<Facts, 'origin'>): string {
  const error = errorOf(denial)
  if (route === null || route.bearer === null) return challengeOf('Bearer', error)
  const { scopes, metadata, dpop } = route.bearer
  const isDpop = 'scheme' in denial && denial.scheme === 'DPoP'
  const scope: Parameters = scopes.length === 0 ? [] : [['scope', scopes.join(' ')]]
  const bearer = challengeOf('Bearer', [
    ['realm', hostOf(origin)],
    ...scope,
    ...(isDpop ? [] : error),
    ...(metadata ? [['resource_metadata', metadataUrl(route, origin)] as const] : []),
  ])
  if (dpop === 'off') return bearer
  // https://www.rfc-editor.org/rfc/rfc9449#section-7.2
  const algorithms = PROOF_ALGORITHMS.join(' ')
  const proven = challengeOf('DPoP', [['algs', algorithms], ...(isDpop ? [...error, ...scope] : [])])
  return `${bearer}, ${proven}`
}

function challengeOf(scheme: string, parameters: Parameters): string {
  // A header cannot carry control characters. Of other characters, Node.js refuses those above U+00FF.
  const written = parameters.map(([name, value]) => {
    const printable = value.replace(/\p{Surrogate}/gu, '\ufffd').replace(/[^ -~]+/g, encodeURIComponent)
    return `${name}="${printable.replace(/["\\]/g, '\\$&')}"`
  })
  return [scheme, written.join(', ')].join(' ').trimEnd()
}

function errorOf(denial: Denial): Parameters {
  if (denial.reason === 'invalid-token') return [['error', denial.error ?? 'invalid_token']]
  if (denial.reason === 'insufficient-scope') return [['error', 'insufficient_scope']]
  if (denial.reason !== 'insufficient-authentication') return []
  const { acrValues, maxAge } = denial.stepUp
  // https://www.rfc-editor.org/rfc/rfc9470#section-3
  return [
    ['error', 'insufficient_user_authentication'],
    ...(acrValues === null ? [] : [['acr_values', acrValues.join(' ')] as const]),
    ...(maxAge === null ? [] : [['max_age', String(maxAge)] as const]),
  ]
}

function upstreamLogin(loginUrl: string): Answer {
  return {
    status: 401,
    code: 'upstream_login_required',
    title: LOGIN_REQUIRED,
    detail: english('upstream_login_required'),
    loginUrl,
  }
}

function isLoginDenial(denial: Denial): denial is LoginDenial {
  return denial.reason in LOGIN_CODES
}

const MISDIRECTED = 'The admin listener does not accept this host name. The key admin.hosts can add it.'

const FORBIDDEN_TEXTS: { readonly [hint in ForbiddenHint]: TextName } = {
  group: 'forbidden.group',
  email: 'forbidden.email',
  network: 'forbidden.network',
}

export function finalAnswer(denial: FinalDenial): Answer {
  switch (denial.reason) {
    case 'no-route':
      return faultAnswer('not_found')
    case 'ambiguous-path':
      return { status: 400, code: 'ambiguous_path', ...wordsFor('ambiguous_path') }
    case 'malformed':
      return faultAnswer('bad_request')
    case 'transfer-coding':
      return {
        status: denial.unframed ? 400 : 501,
        code: 'bad_request',
        ...wordsFor('bad_request', 'bad_request.transfer_coding'),
        mayRetry: false,
      }
    case 'method-not-allowed':
      return denial.allow === null
        ? faultAnswer('method_not_allowed')
        : {
            ...faultAnswer('method_not_allowed'),
            ...wordsFor('method_not_allowed', 'method_not_allowed.others', undefined, {
              methods: denial.allow.join(', '),
            }),
            allow: denial.allow.join(', '),
          }
    case 'loop':
      return {
        ...faultAnswer('upstream_unreachable'),
        ...wordsFor('upstream_unreachable', 'upstream_unreachable.loop'),
        status: 508,
        mayRetry: false,
      }
    case 'two-sessions':
      return {
        ...faultAnswer('login_failed'),
        ...wordsFor('login_failed', 'login_failed.two_sessions'),
        mayRetry: true,
      }
    case 'forbidden': {
      const hinted = denial.hint === undefined ? 'forbidden' : FORBIDDEN_TEXTS[denial.hint]
      return forbidden(denial.overage === true ? 'forbidden.too_many_groups' : hinted)
    }
    case 'cross-origin': {
      const text = denial.logout === true ? 'cross_origin.sign_out' : 'cross_origin'
      return { status: 403, code: 'cross_origin', ...wordsFor('cross_origin', text) }
    }
    case 'token-unavailable': {
      const { retryAfter } = denial
      return { status: 503, code: 'token_unavailable', ...wordsFor('token_unavailable'), retryAfter }
    }
    case 'token-refused':
      return {
        status: 502,
        code: 'token_unavailable',
        ...wordsFor('token_unavailable', 'token_unavailable.refused'),
        mayRetry: false,
      }
    case 'invalid-token':
      return { status: 401, code: 'invalid_token', ...wordsFor('invalid_token') }
    case 'insufficient-authentication':
      return {
        status: 401,
        code: 'step_up_required',
        ...wordsFor('invalid_token', 'invalid_token.weak'),
      }
    case 'insufficient-scope':
      return forbidden('forbidden.scope')
    case 'misdirected':
      return { ...faultAnswer('bad_request'), status: 421, detail: MISDIRECTED }
    case 'not-admin':
      return NOT_ADMIN[denial.problem]
    case 'step-up-refused':
      return forbidden('forbidden.step_up')
  }
}

function faultAnswer(code: FaultCode): Answer {
  return { status: faults[code].status, code, ...wordsFor(code) }
}

function forbidden(text: TextName): Answer {
  return { status: 403, code: 'forbidden', ...wordsFor('forbidden', text) }
}

type NotAdmin = Extract<Denial, { readonly reason: 'not-admin' }>

const NOT_ADMIN: { readonly [problem in NotAdmin['problem']]: Answer } = {
  'cross-origin': {
    status: 403,
    code: 'cross_origin',
    title: 'Request from another site',
    detail: 'A web page of another origin requested session administration.',
  },
  'not-local': {
    status: 403,
    code: 'forbidden',
    title: 'Not allowed',
    detail: 'Session administration is for clients on the gateway’s own machine.',
  },
  'no-token': {
    status: 401,
    code: 'invalid_token',
    title: 'Token required',
    detail: 'Session administration asks for the token of admin.sessions in Authorization: Bearer.',
    authenticate: 'Bearer',
  },
  'wrong-token': {
    status: 401,
    code: 'invalid_token',
    title: 'Token not accepted',
    detail: 'Session administration asks for the token of admin.sessions in Authorization: Bearer.',
    authenticate: 'Bearer error="invalid_token"',
  },
}

/**
 * Returns the login URL, which is at the login host if there is one. After the login, a navigation returns to its
 * target, and any other request to the page that sent it.
 */
export function loginUrlFor(
  facts: Facts,
  kind: RequestKind,
  basePath: string,
  stepUp?: StepUp,
  loginHost: string | null = null,
): string {
  const loginOrigin = loginHost ?? facts.origin
  const parameters = new URLSearchParams()
  const own = percentEncodeBytes(facts.path + facts.query)
  const target = kind === 'navigation' ? own : (pageOf(facts) ?? (kind === 'frame' ? own : null))
  // A login at another host without a return URL would not lead back to this host.
  const redirect = returnTarget(target, facts.origin) ?? (loginOrigin === facts.origin ? null : '/')
  if (redirect !== null) parameters.set('redirect', targetAtLogin(redirect, facts.origin, loginOrigin))
  if (stepUp !== undefined && stepUp.acrValues !== null) parameters.set('acr_values', stepUp.acrValues.join(' '))
  if (stepUp !== undefined && stepUp.maxAge !== null) parameters.set('max_age', String(stepUp.maxAge))
  if (stepUp?.scope !== undefined) parameters.set('scope', stepUp.scope)
  if (stepUp?.claims !== undefined) parameters.set('claims', stepUp.claims)
  const query = decodedQuery(parameters.toString())
  return `${loginOrigin}${basePath}/login${query === '' ? '' : `?${query}`}`
}

/** All proxies and servers accept URLs of this length. */
const SHORT = 2048

/** Decodes the characters that a query may contain if the query is long, because some proxies limit a URL to 8 kB. */
function decodedQuery(query: string): string {
  return query.length <= SHORT ? query : query.replaceAll(/%(?:2[1489CF]|3[ABDF]|40|7E)/g, decodeURIComponent)
}

function pageOf({ headers, origin }: Facts): string | null {
  const current = headers['hx-current-url']
  return sameOrigin(typeof current === 'string' ? current : undefined, origin) ?? sameOrigin(headers.referer, origin)
}

/** Browsers send only absolute URLs in these headers. */
function sameOrigin(url: string | undefined, origin: string): string | null {
  return url?.startsWith(`${origin}/`) === true || url === origin ? returnTarget(percentEncodeBytes(url), origin) : null
}
