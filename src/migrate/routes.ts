import { isMapping } from '../config/key-path.ts'
import { type AccessRule, accessRuleOf, allOf, undecided, UNDECIDED_CLAIM } from './condition.ts'
import { type BaseRoute, type Migration, put, remark, type RouteDefaults, type RouteException } from './migration.ts'
import type { Setting } from './setting.ts'
import { onlyVariable } from './variable.ts'

type Route = Record<string, unknown>

/** An exception, and the base route that would match the same requests if the exception did not exist. */
interface PlacedException {
  readonly exception: RouteException
  readonly base: BaseRoute
}

/** Sets `routes` from the base routes and exceptions, and `upstream` to the upstream of the whole site. */
export function assembleRoutes(migration: Migration): void {
  const baseRoutes = distinctBaseRoutes(migration)
  const site = baseRoutes.find(({ path }) => path === '/**') ?? baseRoutes[0]
  const upstream = site?.upstream ?? null
  if (upstream !== null) put(migration, 'upstream', upstream, ...(site?.from ?? []))
  const placed = placedExceptions(migration, baseRoutes)
  const routes: Route[] = [
    ...baseRoutes.map((base) => {
      const own = placed.find(({ exception }) => exception.path === base.path && exception.methods === null)
      return routeOf(migration, own === undefined ? base : withException(base, own.exception), upstream)
    }),
    ...placed
      .filter(({ exception, base }) => exception.path !== base.path || exception.methods !== null)
      .map(({ exception, base }) => ({
        ...routeOf(migration, withException(base, exception), upstream),
        ...(exception.methods === null ? {} : { methods: [...exception.methods] }),
      })),
    ...(migration.preflight === null ? [] : preflightRoutes(migration, baseRoutes, placed, upstream)),
  ]
  if (routes.some((route) => route['authorization'] === 'client')) {
    remark(
      migration,
      'security',
      null,
      "a client's own Authorization reaches the application even with a session, as before (authorization: client): " +
        'remove this key if the application does not read Authorization',
    )
  }
  put(migration, 'routes', routes.map(removingHeaders(migration, routes)).map(inKeyOrder), ...migration.routeSources)
}

function distinctBaseRoutes(migration: Migration): BaseRoute[] {
  const distinct: BaseRoute[] = []
  for (const base of migration.baseRoutes) {
    if (distinct.some(({ path }) => path === base.path)) {
      remark(
        migration,
        'gap',
        base.from[0] ?? null,
        `${base.path} has an upstream already, and the first one counts: distinguish them by path or host`,
      )
    } else distinct.push(base)
  }
  if (distinct.length > 0) return distinct
  remark(migration, 'todo', null, 'no upstream is given: set upstream to where the application listens')
  return [{ path: '/**', upstream: 'http://upstream.change-me.invalid', from: [] }]
}

/** Assigns each exception to its base route; for a path and a method the first exception counts. */
function placedExceptions(migration: Migration, baseRoutes: readonly BaseRoute[]): PlacedException[] {
  const placed: PlacedException[] = []
  for (const exception of migration.exceptions.toSorted((a, b) => rank(a) - rank(b))) {
    if (placed.some((one) => overlaps(one.exception, exception))) continue
    const base = baseRouteOf(exception.path, baseRoutes)
    if (base === undefined) {
      remark(migration, 'gap', exception.from, `${exception.path} has no upstream, and is left out`)
      continue
    }
    placed.push({ exception, base })
    for (const { path } of baseRoutes) {
      if (exception.access !== 'required' && path !== exception.path && covers(exception.path, path)) {
        remark(
          migration,
          'differs',
          exception.from,
          `${path} has a route of its own and still requires a session, although ${exception.path} does not`,
        )
      }
    }
  }
  return placed
}

function overlaps(one: RouteException, other: RouteException): boolean {
  if (one.path !== other.path) return false
  if (one.methods === null || other.methods === null) return one.methods === other.methods
  return one.methods.some((name) => other.methods?.includes(name))
}

/** Exceptions that open a path come first, then those that choose the challenge, then those that keep a path closed. */
function rank({ access, challenge }: RouteException): number {
  return access === 'required' ? (challenge === undefined ? 2 : 1) : 0
}

function covers(outer: string, inner: string): boolean {
  if (outer === inner) return true
  if (!outer.endsWith('/**')) return false
  const start = outer.slice(0, -3)
  return inner === start || inner.startsWith(`${start}/`)
}

function baseRouteOf(path: string, baseRoutes: readonly BaseRoute[]): BaseRoute | undefined {
  return baseRoutes.filter((base) => covers(base.path, path)).toSorted((a, b) => b.path.length - a.path.length)[0]
}

function withException(base: BaseRoute, exception: RouteException): BaseRoute {
  const { path, access, challenge, closed, from } = exception
  const { condition: baseCondition, acr, ...rest } = base
  // An exception that only chooses the challenge leaves an open route open.
  const ownAccess = access === 'required' && challenge !== undefined ? (base.access ?? 'required') : access
  const conditions = [exception.condition ?? baseCondition, closed === true ? undecided(from.key) : undefined]
  const known = conditions.filter((condition) => condition !== undefined)
  return {
    ...rest,
    ...(ownAccess === 'required' && known.length > 0 ? { condition: allOf(known) } : {}),
    ...(ownAccess === 'required' && acr !== undefined ? { acr } : {}),
    path,
    access: ownAccess,
    ...(challenge === undefined ? {} : { challenge }),
  }
}

function preflightRoutes(
  migration: Migration,
  baseRoutes: readonly BaseRoute[],
  placed: readonly PlacedException[],
  upstream: string | null,
): Route[] {
  const exceptions = placed.map(({ exception }) => exception)
  const closed = exceptions.filter(({ access, methods }) => access !== 'public' && methods === null)
  const paths = new Set([...baseRoutes, ...closed].map(({ path }) => path))
  return [...paths].flatMap((path) => {
    const base = baseRouteOf(path, baseRoutes)
    const isOpen = exceptions.some(
      (one) =>
        one.path === path && one.access === 'public' && (one.methods === null || one.methods.includes('OPTIONS')),
    )
    return base === undefined || isOpen || base.access === 'public'
      ? []
      : [{ ...routeOf(migration, { ...base, path, access: 'public' }, upstream), methods: ['OPTIONS'] }]
  })
}

/** Matches a template with a value that only a session has. */
const NAMES_USER = /(?<!\$)\{/

function routeOf(migration: Migration, base: BaseRoute, siteUpstream: string | null): Route {
  const { routeDefaults } = migration
  const access = base.access ?? 'required'
  const route: Route = { path: base.path, ...(access === 'required' ? {} : { access }) }
  if (base.upstream !== null && base.upstream !== siteUpstream) route['upstream'] = base.upstream
  if (base.protocol !== undefined) route['upstreamProtocol'] = base.protocol
  if (base.rewritePrefix !== undefined && startsWithPath(base.path, base.rewritePrefix.from)) {
    const { from, to } = base.rewritePrefix
    if (to === '/') route['stripPrefix'] = from
    else route['rewritePrefix'] = { from, to }
  }
  if (base.upstreamHost !== undefined) route['upstreamHost'] = base.upstreamHost
  if (base.timeout !== undefined && base.timeout !== '60s' && base.timeout !== '1m') route['timeout'] = base.timeout
  const upstreamTls = { ...base.upstreamTls, ...(base.insecure === true ? { insecureSkipVerify: true } : {}) }
  if (Object.keys(upstreamTls).length > 0 && (base.upstream ?? siteUpstream)?.startsWith('https:') === true)
    route['upstreamTls'] = upstreamTls
  if (access === 'public') {
    const fixed = Object.entries(routeDefaults.set).filter(([, template]) => !NAMES_USER.test(template))
    return fixed.length === 0 ? route : { ...route, headers: { set: Object.fromEntries(fixed) } }
  }
  const challenge = base.challenge ?? routeDefaults.challenge
  if (challenge !== undefined && challenge !== 'auto') route['challenge'] = challenge
  const acr = base.acr ?? routeDefaults.acr
  const rule = ruleOf(migration, base)
  if (access === 'required' && (Object.keys(rule).length > 0 || acr !== undefined))
    route['require'] = { ...rule, ...(acr === undefined ? {} : { acr: [...acr] }) }
  if (base.withoutToken === true) route['token'] = { grant: 'none' }
  else if (routeDefaults.token !== undefined) route['token'] = { ...routeDefaults.token }
  if (passesAuthorization(routeDefaults, base)) route['authorization'] = 'client'
  const set = { ...routeDefaults.set, ...base.set }
  if (Object.keys(set).length > 0) {
    const { encoding } = routeDefaults
    route['headers'] = { set, ...(encoding === undefined ? {} : { encoding }) }
  }
  if (routeDefaults.bearer !== undefined) {
    const { audience, issuers } = routeDefaults.bearer
    route['bearer'] = { audience, ...(issuers.length === 0 ? {} : { issuers }) }
  }
  if (routeDefaults.preservePost === false) route['preservePost'] = false
  return route
}

/** Returns the rule of a route. No user is let in if `any` and `not` would nest too deep. */
function ruleOf(migration: Migration, { condition, from }: BaseRoute): AccessRule {
  const all = allOf([...migration.routeDefaults.conditions, ...(condition === undefined ? [] : [condition])])
  const rule = accessRuleOf(all)
  if (rule !== null) return rule
  remark(
    migration,
    'security',
    from[0] ?? null,
    'any and not nest at most two deep, and the old rules nest deeper: no user is let in until you write the rule and ' +
      `remove ${UNDECIDED_CLAIM}`,
  )
  return accessRuleOf(undecided('nesting')) ?? {}
}

function isAuthorization(name: string): boolean {
  return name.toLowerCase() === 'authorization'
}

/** Returns whether the old gateway passed a client's own Authorization, because it neither set nor removed the header. */
function passesAuthorization({ token, bearer, set, remove }: RouteDefaults, { withoutToken }: BaseRoute): boolean {
  const sendsToken = withoutToken !== true && token?.grant !== 'none'
  if (bearer !== undefined || (sendsToken && isAuthorization(token?.header ?? 'Authorization'))) return false
  return ![...Object.keys(set), ...remove].some(isAuthorization)
}

/**
 * Returns a function that adds `headers.remove` to a route. If any route sets a header, the gateway removes that header
 * from client requests on all routes, so `headers.remove` names only the other headers.
 */
function removingHeaders({ routeDefaults }: Migration, routes: readonly Route[]): (route: Route) => Route {
  const someHaveSessions = routes.some(({ access }) => access !== 'public')
  const known = someHaveSessions
    ? [...Object.keys(routeDefaults.set), routeDefaults.token?.grant === 'none' ? '' : routeDefaults.token?.header]
    : []
  const set = new Set(known.map((name) => name?.toLowerCase() ?? ''))
  // On routes without a session, the gateway passes the client's Authorization header on.
  set.delete('authorization')
  const names = new Map(
    routeDefaults.remove.filter((name) => !set.has(name.toLowerCase())).map((name) => [name.toLowerCase(), name]),
  )
  return (route) => {
    const headers = isMapping(route['headers']) ? route['headers'] : {}
    const own = Object.keys(isMapping(headers['set']) ? headers['set'] : {}).map((name) => name.toLowerCase())
    // With bearer, clients send their own tokens in Authorization, and the gateway forwards nothing else in it.
    const remove = [...names].filter(
      ([key]) =>
        (key !== 'authorization' || route['bearer'] === undefined) && (key === 'authorization' || !own.includes(key)),
    )
    return remove.length === 0 ? route : { ...route, headers: { ...headers, remove: remove.map(([, name]) => name) } }
  }
}

function startsWithPath(pattern: string, prefix: string): boolean {
  const literalStart = pattern.replace(/\/\*\*$/, '').replace(/(^|\/)\*(\/.*)?$/, '')
  return literalStart === prefix || literalStart.startsWith(`${prefix}/`)
}

const KEY_ORDER = [
  'path',
  'methods',
  'access',
  'upstream',
  'upstreamProtocol',
  'upstreamHost',
  'stripPrefix',
  'rewritePrefix',
  'challenge',
  'require',
  'token',
  'authorization',
  'headers',
  'bearer',
  'preservePost',
  'timeout',
  'upstreamTls',
]

function inKeyOrder(route: Route): Route {
  return Object.fromEntries(KEY_ORDER.filter((key) => Object.hasOwn(route, key)).map((key) => [key, route[key]]))
}

export interface UpstreamTarget {
  readonly path: string
  readonly upstream: string
  readonly protocol?: 'h2c' | 'h2'
}

/** Reads the URL of an HTTP upstream. Returns `null`, with a remark, for other URLs. */
export function upstreamTarget(url: string, setting: Setting, migration: Migration): UpstreamTarget | null {
  if (onlyVariable(url) !== null) return { path: '/**', upstream: url }
  if (!URL.canParse(url) || !/^(https?|h2c?|wss?):\/\//.test(url)) {
    remark(migration, 'gap', setting, 'an upstream is an http or https origin, or unix:/path; this one is left out')
    return null
  }
  const { protocol, host, pathname, username, search } = new URL(url)
  if (username !== '')
    remark(
      migration,
      'differs',
      setting,
      'the credentials in the URL are left out: set them under headers.set as Authorization, from a variable',
    )
  if (search !== '') remark(migration, 'differs', setting, 'the query of the URL is left out')
  const path = pathname === '/' || pathname === '' ? '/**' : pathname.endsWith('/') ? `${pathname}**` : pathname
  const upstream = `${/^(https|wss|h2):/.test(protocol) ? 'https:' : 'http:'}//${host}`
  return protocol === 'h2c:' || protocol === 'h2:'
    ? { path, upstream, protocol: protocol === 'h2:' ? 'h2' : 'h2c' }
    : { path, upstream }
}
