import { parseTemplate, whyNoHeader, type Values } from '../gate/header-template.ts'
import { explainRule } from '../gate/rule-explanation.ts'
import type { CompiledRoute, GateDenial, Verdict, Who } from '../gate/verdict.ts'
import { authTimeOf, type Claims } from '../oidc/token-set.ts'

/** Returns why a user meets what the route requires of sessions, or of clients with tokens of their own. */
export function requirementsMet(
  { require, bearer }: CompiledRoute,
  { claims, bearer: isBearer }: Who,
  address: string,
  now: number,
): string[] {
  const own = isBearer === true ? (bearer?.require ?? null) : null
  const requirement = own ?? require
  const { acr, maxAge } = requirement
  const authTime = authTimeOf(claims)
  return [
    ...explainRule(requirement, { claims, address }, own === null ? 'require' : 'bearer.require').reasons,
    ...(acr === null ? [] : [`acr is ${String(claims['acr'])}`]),
    ...(maxAge === null || authTime === null
      ? []
      : [
          `the login is ${Math.max(0, Math.round((now - authTime) / 1000))} s old; at most ${Math.floor(maxAge / 1000)} s is allowed`,
        ]),
  ]
}

/** `passes`: whether the client's own Authorization passes. */
export function tokenOf(verdict: Extract<Verdict, { type: 'forward' }>, passes: boolean): string {
  const isVerified = verdict.who?.bearer === true
  return `${gatewayTokenOf(verdict)}${passes && !isVerified ? '; the client’s own Authorization passes' : ''}`
}

function gatewayTokenOf({
  route: { access, token, bearer },
  who,
  session,
}: Extract<Verdict, { type: 'forward' }>): string {
  if (access === 'public' || who === null) return 'none from the gateway'
  const isExchanged = who.bearer === true && bearer?.token === 'exchange'
  if (!isExchanged && (who.bearer === true || session === null)) return 'the client’s own, unchanged'
  const { grant, audience, resource, scopes } = token
  const target = [
    audience === null ? '' : `audience ${audience}`,
    resource === null ? '' : `resource ${resource}`,
    scopes === null ? '' : `scopes ${scopes.join(' ')}`,
  ]
    .filter((part) => part !== '')
    .join(', ')
  switch (grant) {
    case 'none':
      return 'none'
    case 'id-token':
      return 'the session’s ID token'
    case 'session':
      return target === '' ? 'the session’s access token' : `the session’s refresh token is redeemed for ${target}`
    case 'client-credentials':
      return `the gateway’s own, from the client-credentials grant${target === '' ? '' : ` for ${target}`}`
    case 'token-exchange':
    case 'on-behalf-of':
      return `${isExchanged ? 'the client’s own' : 'the session’s access'} token is exchanged with ${grant}${target === '' ? '' : ` for ${target}`}`
  }
}

/** Returns the keys of a route, with their values, that change how the gateway talks to the application or to other origins. */
export function otherKeysOf(route: CompiledRoute): string[] {
  const { upstreamProtocol, upstreamParser, upstreamHost, authorization, cors } = route
  const keys = Object.entries({ upstreamProtocol, upstreamParser, upstreamHost, authorization })
  const changed = keys.filter(([, value]) => !DEFAULTS.has(value)).map(([key, value]) => `${key}: ${value}`)
  return cors === null ? changed : [...changed, `cors: ${cors.origins.join(' | ')}`]
}

const DEFAULTS: ReadonlySet<string> = new Set(['http1', 'strict', 'preserve', 'token'])

/** Returns the client's headers that are changed or dropped. Both lists are name, value, name, value … */
export function headersNotPassed(sent: readonly string[], received: readonly string[]): (readonly [string, string])[] {
  const reached = new Map<string, string[]>()
  for (let i = 0; i + 1 < received.length; i += 2) {
    const name = (received[i] ?? '').toLowerCase()
    reached.set(name, [...(reached.get(name) ?? []), received[i + 1] ?? ''])
  }
  const [changed, dropped] = [new Set<string>(), new Set<string>()]
  for (let i = 0; i + 1 < sent.length; i += 2) {
    const name = sent[i] ?? ''
    const values = reached.get(name.toLowerCase())
    if (values === undefined) dropped.add(name)
    else if (!values.includes(sent[i + 1] ?? '')) changed.add(name)
  }
  return Object.entries({ changed, dropped }).flatMap(([what, names]): (readonly [string, string])[] =>
    names.size === 0 ? [] : [[what, `the client’s ${[...names].join(', ')}`]],
  )
}

export function headersNotSent(
  { headers }: CompiledRoute,
  who: Who | null,
  values: Values,
): (readonly [string, string])[] {
  return Object.entries(headers.set).flatMap(([name, template]): (readonly [string, string])[] => {
    const why = whyNoHeader(parseTemplate(template), who?.claims ?? {}, headers.encoding, values)
    return why === null ? [] : [['not_sent', `${name}: ${why}`]]
  })
}

/** Returns what a session needs so that `maxAge` accepts it although the provider gives no `auth_time`. */
export function adviceFor(denial: GateDenial, claims: Claims | null): string[] {
  if (denial.reason !== 'step-up' || denial.stepUp.maxAge === null || authTimeOf(claims ?? {}) !== null) return []
  return ['auth_time is missing, so maxAge accepts only a session from a recent login with prompt=login']
}

export function reasonOf(denial: GateDenial): string {
  switch (denial.reason) {
    case 'no-route':
      return 'no route matches host, method and path'
    case 'ambiguous-path':
      return `some server reads this path as ${denial.variant}, which belongs to another route`
    case 'login-required':
      return denial.foreign === undefined
        ? 'the route requires a session, and there is none'
        : `the route requires a session, and the one that there is belongs to ${denial.foreign}`
    case 'session-expired':
      return 'the session has ended'
    case 'step-up':
    case 'insufficient-authentication':
      return [
        denial.stepUp.acrValues === null ? '' : `acr must be one of ${denial.stepUp.acrValues.join(', ')}`,
        denial.stepUp.maxAge === null ? '' : `the login must not be older than ${denial.stepUp.maxAge} s`,
      ]
        .filter((text) => text !== '')
        .join('; ')
    case 'forbidden':
    case 'insufficient-scope':
      return denial.why
    case 'cross-origin':
      return 'an unsafe method with a session, sent by another origin'
    case 'token-refused':
      return 'the provider issues no token for this route'
    case 'invalid-token':
      return denial.why === '' ? 'the client’s own token is not accepted' : denial.why
    case 'token-unavailable':
      return 'the access token has expired and can’t be refreshed now'
  }
}
