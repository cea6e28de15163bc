import { type Base, type Draft, type Exception, NOBODY, put, remark } from './draft.ts'

type Route = Record<string, unknown>

const literalOf = (pattern: string): string => pattern.replace(/\/\*\*$/, '').replace(/(^|\/)\*(\/.*)?$/, '')

/** Makes the routes of all that the draft knows, and the upstream that most of them share. */
export function assembleRoutes(draft: Draft): void {
  const bases = distinct(draft)
  const whole = bases.find(({ path }) => path === '/**') ?? bases[0]
  const common = whole?.upstream ?? null
  if (common !== null) put(draft, 'upstream', common, ...(whole?.from ?? []))
  const exceptions = placed(draft, bases)
  const routes = [
    ...bases.map((base) => {
      const here = exceptions.find(
        ({ exception }) => exception.path === base.path && exception.methods === null,
      )?.exception
      return routeOf(draft, here === undefined ? base : over(base, here), common)
    }),
    ...exceptions
      .filter(({ exception, base }) => exception.path !== base.path || exception.methods !== null)
      .map(({ exception, base }) => ({
        ...routeOf(draft, over(base, exception), common),
        ...methods(exception.methods),
      })),
    ...(draft.preflight === null
      ? []
      : preflightRoutes(
          draft,
          bases,
          exceptions.map(({ exception }) => exception),
          common,
        )),
  ]
  put(draft, 'routes', routes.map(removing(draft, routes)).map(inOrder), ...draft.routeKeys)
}

function distinct(draft: Draft): Base[] {
  const bases: Base[] = []
  for (const base of draft.bases) {
    if (bases.some(({ path }) => path === base.path)) {
      remark(
        draft,
        'gap',
        base.from[0] ?? null,
        `${base.path} has an upstream already, and the first one counts: tell them apart by path or host`,
      )
    } else bases.push(base)
  }
  if (bases.length > 0) return bases
  remark(draft, 'todo', null, 'no upstream is given: set upstream to where the application listens')
  return [{ path: '/**', upstream: 'http://upstream.change-me.invalid', from: [] }]
}

/**
 * Each exception with the base that its requests would go to without it; the first one for a path and a method counts.
 */
function placed(draft: Draft, bases: readonly Base[]): { exception: Exception; base: Base }[] {
  const kept: { exception: Exception; base: Base }[] = []
  for (const exception of draft.exceptions.toSorted((a, b) => rank(a) - rank(b))) {
    const twin = kept.find(
      ({ exception: other }) =>
        other.path === exception.path &&
        (other.methods === null
          ? exception.methods === null
          : exception.methods !== null && other.methods.some((name) => exception.methods?.includes(name))),
    )
    if (twin !== undefined) continue
    const base = bases
      .filter(({ path }) => covers(path, exception.path))
      .toSorted((a, b) => b.path.length - a.path.length)[0]
    if (base === undefined) {
      remark(draft, 'gap', exception.from, `${exception.path} has no upstream, and is left out`)
      continue
    }
    kept.push({ exception, base })
    for (const { path } of bases) {
      if (exception.access !== 'required' && path !== exception.path && covers(exception.path, path)) {
        remark(
          draft,
          'differs',
          exception.from,
          `${path} has a route of its own and still asks for a session, though ${exception.path} does not`,
        )
      }
    }
  }
  return kept
}

/** What opens comes first, then what says how to answer, then what keeps a path closed. */
function rank({ access, challenge }: Exception): number {
  return access === 'required' ? (challenge === undefined ? 2 : 1) : 0
}

/** Whether all that a pattern matches is within another one. */
function covers(outer: string, inner: string): boolean {
  if (outer === inner) return true
  if (!outer.endsWith('/**')) return false
  const start = outer.slice(0, -3)
  return inner === start || inner.startsWith(`${start}/`)
}

function over(base: Base, { path, access, challenge, closed, from }: Exception): Base {
  const { claims, acr, ...rest } = base
  // What says only how to answer leaves open what is open.
  const own = access === 'required' && challenge !== undefined ? (base.access ?? 'required') : access
  const asked = { ...(claims === undefined ? {} : { claims }), ...(acr === undefined ? {} : { acr }) }
  return {
    ...rest,
    ...(own === 'required' ? asked : {}),
    ...(closed === true ? { claims: { ...claims, [NOBODY]: [from.key] } } : {}),
    path,
    access: own,
    ...(challenge === undefined ? {} : { challenge }),
  }
}

function methods(names: readonly string[] | null): Route {
  return names === null ? {} : { methods: [...names] }
}

function preflightRoutes(
  draft: Draft,
  bases: readonly Base[],
  exceptions: readonly Exception[],
  common: string | null,
): Route[] {
  const closed = exceptions.filter(({ access, methods: named }) => access !== 'public' && named === null)
  const from = (path: string): Base | undefined =>
    bases.filter((base) => covers(base.path, path)).toSorted((a, b) => b.path.length - a.path.length)[0]
  return [...bases.map(({ path }) => path), ...closed.map(({ path }) => path)]
    .filter((path, index, all) => all.indexOf(path) === index)
    .flatMap((path) => {
      const base = from(path)
      const already = exceptions.some(
        (one) =>
          one.path === path && one.access === 'public' && (one.methods === null || one.methods.includes('OPTIONS')),
      )
      return base === undefined || already || base.access === 'public'
        ? []
        : [{ ...routeOf(draft, { ...base, path, access: 'public' }, common), methods: ['OPTIONS'] }]
    })
}

function routeOf({ shared }: Draft, base: Base, common: string | null): Route {
  const access = base.access ?? 'required'
  const route: Route = { path: base.path, ...(access === 'required' ? {} : { access }) }
  if (base.upstream !== null && base.upstream !== common) route['upstream'] = base.upstream
  if (base.rewritePrefix !== undefined && fits(base.rewritePrefix.from, base.path)) {
    const { from, to } = base.rewritePrefix
    if (to === '/') route['stripPrefix'] = from
    else route['rewritePrefix'] = { from, to }
  }
  if (base.timeout !== undefined && base.timeout !== '60s' && base.timeout !== '1m') route['timeout'] = base.timeout
  if (base.insecure === true && (base.upstream ?? common)?.startsWith('https:') === true)
    route['upstreamTls'] = { insecureSkipVerify: true }
  if (access === 'public') return route
  const challenge = base.challenge ?? shared.challenge
  if (challenge !== undefined && challenge !== 'auto') route['challenge'] = challenge
  const claims = { ...shared.claims, ...base.claims }
  const acr = base.acr ?? shared.acr
  if (access === 'required' && (Object.keys(claims).length > 0 || acr !== undefined)) {
    route['require'] = {
      ...(Object.keys(claims).length > 0 ? { claims } : {}),
      ...(acr === undefined ? {} : { acr: [...acr] }),
    }
  }
  if (base.denialForMissingToken === true) route['token'] = { grant: 'none' }
  else if (shared.token !== undefined) route['token'] = { ...shared.token }
  if (Object.keys(shared.set).length > 0) route['headers'] = { set: { ...shared.set } }
  if (shared.bearer !== undefined) route['bearer'] = { audience: [...shared.bearer] }
  if (shared.preservePost === false) route['preservePost'] = false
  return route
}

const lower = (name: string | undefined): string => name?.toLowerCase() ?? ''

/** What one route sets is taken from clients on all of them; the rest has to be removed on each. */
function removing({ shared }: Draft, routes: readonly Route[]): (route: Route) => Route {
  const someAsks = routes.some(({ access }) => access !== 'public')
  const known = someAsks ? [...Object.keys(shared.set), shared.token?.grant === 'none' ? '' : shared.token?.header] : []
  const set = new Set(known.map(lower))
  // It passes where no session is used.
  set.delete('authorization')
  const names = new Map(shared.remove.filter((name) => !set.has(lower(name))).map((name) => [lower(name), name]))
  return (route) => {
    const headers = typeof route['headers'] === 'object' ? route['headers'] : {}
    // With bearer, a client's own token comes in Authorization, and nothing else goes further.
    const remove = [...names].filter(([key]) => key !== 'authorization' || route['bearer'] === undefined)
    return remove.length === 0 ? route : { ...route, headers: { ...headers, remove: remove.map(([, name]) => name) } }
  }
}

function fits(prefix: string, path: string): boolean {
  const literal = literalOf(path)
  return literal === prefix || literal.startsWith(`${prefix}/`)
}

const order = [
  'path',
  'methods',
  'access',
  'upstream',
  'stripPrefix',
  'rewritePrefix',
  'challenge',
  'require',
  'token',
  'headers',
  'bearer',
  'preservePost',
  'timeout',
  'upstreamTls',
]

function inOrder(route: Route): Route {
  return Object.fromEntries(order.filter((key) => Object.hasOwn(route, key)).map((key) => [key, route[key]]))
}
