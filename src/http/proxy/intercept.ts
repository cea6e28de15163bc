import { isRepeatedStepUp, withRequirements } from '../../gate/admit.ts'
import type { CompiledRoute, Denial, RequestKind } from '../../gate/verdict.ts'
import type { Provider } from '../../oidc/provider.ts'
import type { Providers } from '../../oidc/providers.ts'
import type { Session } from '../../session/session.ts'
import type { StepUp } from '../../token/denial.ts'
import type { ClientToken } from '../../token/route-tokens.ts'

export interface UpstreamAnswer {
  readonly status: number
  readonly location: string | null
  /** The values of WWW-Authenticate. */
  readonly authenticate: readonly string[]
}

export type Interception =
  | { readonly type: 'pass' }
  | { readonly type: 'deny'; readonly denial: Denial }
  /** The upstream rejects the session's access token, and a new one may help. */
  | { readonly type: 'renew'; readonly session: Session }
  /** The same for the token for which a client's own token was exchanged. */
  | { readonly type: 'renew-exchanged'; readonly exchanged: ClientToken }
  /** The upstream asks for the nonce of its response. @see https://www.rfc-editor.org/rfc/rfc9449#section-9 */
  | { readonly type: 'use-nonce' }

interface Answered {
  readonly kind: RequestKind
  readonly route: CompiledRoute
  readonly session: Session | null
  readonly exchanged?: ClientToken | undefined
}

const PASS: Interception = { type: 'pass' }

/**
 * Returns what an upstream's response requires. Only a redirect to a login, a challenge or a rejected token matters.
 */
export function intercept(
  { status, location, authenticate }: UpstreamAnswer,
  { kind, route, session, exchanged }: Answered,
  redirects: LoginRedirects,
  now: number,
): Interception {
  if (redirects.matches(route, status, location))
    return kind === 'script' ? { type: 'deny', denial: { reason: 'upstream-login' } } : PASS
  // Without a session, the upstream has checked the client's own token, unless the gateway has exchanged that token.
  if ((session === null && exchanged === undefined) || authenticate.length === 0) return PASS
  const wish = readUpstreamChallenge(status, authenticate)
  if (wish === null) return PASS
  if (wish.type === 'use-nonce') return wish
  if (wish.type === 'invalid-token' && exchanged !== undefined) return { type: 'renew-exchanged', exchanged }
  if (session === null) return PASS
  if (wish.type === 'invalid-token') return { type: 'renew', session }
  const stepUp = withRequirements(route, wish.stepUp)
  const denial: Denial = isRepeatedStepUp(session, stepUp, now)
    ? { reason: 'step-up-refused' }
    : { reason: 'step-up', stepUp }
  return { type: 'deny', denial }
}

export interface LoginRedirects {
  matches(route: CompiledRoute, status: number, location: string | null): boolean
}

/** Compiles the routes' `loginRedirects`. A provider's authorization endpoint always counts as a login. */
export function compileLoginRedirects(routes: readonly CompiledRoute[], { all }: Providers): LoginRedirects {
  const patterns = routes.map((route) => route.loginRedirects.map(toPattern))
  return {
    matches(route, status, location) {
      if (location === null || status < 300 || status > 399) return false
      // Tries the raw URL and the URL that a browser parses, in which upper case and the default port are normalized.
      const written = URL.canParse(location) ? [location, new URL(location).href] : [location]
      return (
        (patterns[route.index] ?? []).some((pattern) => written.some((one) => pattern.test(one))) ||
        all.some((provider) => isAuthorizationEndpoint(provider, location))
      )
    },
  }
}

function isAuthorizationEndpoint(provider: Provider, location: string): boolean {
  const endpoints = provider.peek()?.authorizationEndpoints ?? []
  if (endpoints.length === 0 || !URL.canParse(location)) return false
  const { origin, pathname } = new URL(location)
  return endpoints.some((endpoint) => {
    const known = new URL(endpoint)
    return origin === known.origin && pathname === known.pathname
  })
}

/**
 * Compiles a pattern: `**` matches anything, `*` one segment, and a final `/**` may match nothing. Ignores the query.
 */
function toPattern(pattern: string): RegExp {
  const source = pattern.split(/(\/?\*\*$|\*\*|\*)/).map((part) => {
    if (part === '/**') return '(?:[/?#].*)?'
    if (part === '**') return '.*'
    if (part === '*') return '[^/?#]*'
    return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^${source.join('')}(?:[?#].*)?$`, 's')
}

/**
 * What an upstream's challenge requires, including Entra's claims challenge.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-3
 * @see https://www.rfc-editor.org/rfc/rfc9470#section-3
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-7.1
 */
export type UpstreamChallenge =
  | { readonly type: 'invalid-token' }
  | { readonly type: 'use-nonce' }
  | { readonly type: 'step-up'; readonly stepUp: StepUp }

/** Parses the WWW-Authenticate values of a 401 or 403. Returns `null` for challenges that a login would not resolve. */
function readUpstreamChallenge(status: number, values: readonly string[]): UpstreamChallenge | null {
  if (status !== 401 && status !== 403) return null
  for (const value of values) {
    const parameters = tokenParameters(value)
    if (parameters === null) continue
    const error = parameters.get('error')
    const scope = parameters.get('scope')
    const claims = parameters.get('claims')
    if (error === 'invalid_token' && status === 401) return { type: 'invalid-token' }
    if (error === 'use_dpop_nonce' && status === 401) return { type: 'use-nonce' }
    if (error === 'insufficient_scope' && scope !== undefined)
      return { type: 'step-up', stepUp: { acrValues: null, maxAge: null, scope } }
    if (error === 'insufficient_user_authentication') {
      const acr =
        parameters
          .get('acr_values')
          ?.split(' ')
          .filter((value) => value !== '') ?? []
      const maxAge = Number(parameters.get('max_age') ?? Number.NaN)
      return {
        type: 'step-up',
        stepUp: {
          acrValues: acr.length === 0 ? null : acr,
          maxAge: Number.isInteger(maxAge) && maxAge >= 0 ? maxAge : null,
        },
      }
    }
    const wanted = error === 'insufficient_claims' && claims !== undefined ? readClaims(claims) : null
    if (wanted !== null) return { type: 'step-up', stepUp: { acrValues: null, maxAge: null, claims: wanted } }
  }
  return null
}

/** Returns a challenge's `claims` as JSON; Entra encodes them in base64. Returns `null` unless they are an object. */
function readClaims(value: string): string | null {
  for (const text of [Buffer.from(value, 'base64').toString('utf8'), value]) {
    try {
      const claims: unknown = JSON.parse(text)
      if (typeof claims === 'object' && claims !== null && !Array.isArray(claims)) return text
    } catch {
      // The value may be in the other encoding.
    }
  }
  return null
}

/** A match can begin only at the start of a name. Otherwise, the regex would begin at every letter of a name. */
const PARAMETER = /(?<![\w-])([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g

/**
 * Returns the auth-params of the Bearer or DPoP challenge in a value, or `null` if the value has no such challenge.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
 */
function tokenParameters(value: string): Map<string, string> | null {
  const [, rest] = /(?:^|,\s*)(?:Bearer|DPoP)\s+(.*)$/is.exec(value) ?? []
  if (rest === undefined) return null
  const parameters = new Map<string, string>()
  for (const [, name = '', quoted, plain] of rest.matchAll(PARAMETER)) {
    parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '')
  }
  return parameters
}
