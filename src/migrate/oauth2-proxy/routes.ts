import { enableForwardAuth } from '../forward-auth.ts'
import { type BaseRoute, markRouteSource, type Migration, remark } from '../migration.ts'
import { pathsOf } from '../path-regex.ts'
import { type UpstreamTarget, upstreamTarget } from '../routes.ts'
import { becomes, type Rule } from '../rule.ts'
import { duration, flagOf, goDuration, itemsOf, listOf, type Setting } from '../setting.ts'

export const openRoutes: Rule = becomes(
  'routes[].access: public',
  (setting, migration) => {
    for (const { text, line } of itemsOf(setting)) openPaths(setting, text, migration, line)
    if (listOf(setting).length === 0) remark(migration, 'builtin', setting, 'it is empty, and opens nothing')
  },
  'only expressions that a route can express exactly are carried over, such as ^/x$, ^/x/ and ' +
    '^/x(/|$); the report names the others, whose paths stay closed',
)

export const apiRoutes: Rule = becomes(
  'routes[].challenge: 401',
  (setting, migration) => {
    for (const { text, line } of itemsOf(setting)) {
      const paths = pathsOf(text)
      if (paths === null) {
        const what = `a route can't express ${JSON.stringify(text)} exactly; scripts get a 401 anyway, so it may not be needed`
        remark(migration, 'gap', setting, what, line)
        continue
      }
      for (const path of paths.patterns)
        migration.exceptions.push({ path, methods: null, access: 'required', challenge: '401', from: setting })
      markRouteSource(migration, setting)
    }
  },
  'scripts get a 401 anyway; only expressions that a route can express exactly are carried over',
)

export const preflight: Rule = becomes(
  'routes[].methods: [OPTIONS]',
  (setting, migration) => {
    if (flagOf(setting) === false)
      return remark(migration, 'builtin', setting, 'it is off: OPTIONS requires a session like any other method')
    openPreflight(setting, migration)
  },
  'each route gets a second, public route for OPTIONS',
)

function openPreflight(setting: Setting, migration: Migration, line = setting.line): void {
  migration.preflight = setting
  markRouteSource(migration, setting)
  remark(
    migration,
    'security',
    setting,
    'OPTIONS goes to the upstream without a session on every path, as before: remove those routes if no other site ' +
      'calls this application, or list the calling origins in routes[].cors.origins instead, so that the gateway ' +
      'answers their preflight requests itself',
    line,
  )
}

const EVERY_PATH = /^\^?(?:\\?\/)?(?:\.\*\$?)?$/

function openPaths(setting: Setting, item: string, migration: Migration, line: number): void {
  const [, method = '', negated, regex = ''] = /^(?:([A-Za-z]*)(!?)=)?(.*)$/s.exec(item) ?? []
  const quoted = JSON.stringify(item)
  if (/^options$/i.test(method) && negated === '' && EVERY_PATH.test(regex))
    return openPreflight(setting, migration, line)
  const paths = negated === '!' ? null : pathsOf(regex)
  if (paths === null || paths.patterns.includes('/**')) {
    const text = `${quoted} ${whyClosed(negated === '!', regex)}`
    return remark(migration, 'security', setting, text, line)
  }
  const methods = method === '' ? null : [method.toUpperCase()]
  if (methods?.some((name) => ['TRACE', 'TRACK', 'CONNECT'].includes(name)) === true)
    return remark(migration, 'gap', setting, `${quoted} names a method that the gateway never serves`, line)
  for (const path of paths.patterns) migration.exceptions.push({ path, methods, access: 'public', from: setting })
  // The pattern `/x/**` also matches `/x`, which the expression did not open.
  for (const path of paths.except) migration.exceptions.push({ path, methods: null, access: 'required', from: setting })
  markRouteSource(migration, setting)
  const head = methods?.includes('GET') === true ? '; GET includes HEAD' : ''
  const text = `${quoted} needs no session, as before: ${paths.patterns.join(', ')}${head}`
  remark(migration, 'security', setting, text, line)
}

function addRoutes(paths: readonly string[]): string {
  return `add routes such as ${paths.map((path) => `{ path: ${path}, access: public }`).join(' or ')}`
}

/** Returns why a route does not open the paths of an expression, and which routes may be meant. */
function whyClosed(isNegated: boolean, regex: string): string {
  const guess = ['/health', '/assets/**']
  if (isNegated) return `opens all paths except some, and stays closed: ${addRoutes(guess)} for paths that must be open`
  const exact = pathsOf(regex)
  if (exact !== null) return `opens everything, and stays closed: ${addRoutes(guess)} for paths that must be open`
  const dotted = regex.replace(/(?<!\\)\.(?![*+?])/g, '\\.')
  // Without `^`, an expression matches anywhere in a path; without `$`, every longer path.
  const anchored = dotted.startsWith('^')
    ? dotted
    : `^${dotted.startsWith('/') || dotted.startsWith('\\/') ? '' : '/'}${dotted}`
  const whole = [anchored, `${anchored}$`, `${anchored.replace(/\$$/, '')}(/|$)`]
  const meant = whole
    .map((one) => pathsOf(one)?.patterns.filter((path) => path !== '/**') ?? [])
    .find((one) => one.length > 0)
  const reasons = [
    ...(dotted === regex ? [] : ['its unescaped dot matches every character']),
    ...(dotted.startsWith('^') ? [] : ['without ^ it matches in the middle of a path']),
    ...(dotted === regex && dotted.startsWith('^') && meant !== undefined ? ['without $ it matches longer names'] : []),
  ]
  const why = reasons.length === 0 ? '' : ` (${reasons.join('; ')})`
  return (
    `is not a path that a route can express exactly${why}, and stays closed: ${addRoutes(meant ?? guess)} for paths that must ` +
    'be open'
  )
}

/** The default upstream timeout of oauth2-proxy. */
export const DEFAULT_TIMEOUT_MS = 30_000

/** Adds a base route for each upstream; the path of its URL selects the requests. */
export function migrateUpstreams(migration: Migration): void {
  const setting = migration.effective.get('upstreams')
  const timeout = migration.effective.get('upstream_timeout')
  const insecure = migration.effective.get('ssl_upstream_insecure_skip_verify')
  const passHost = migration.effective.get('pass_host_header')
  if (timeout !== undefined) markRouteSource(migration, timeout)
  if (setting === undefined) return
  markRouteSource(migration, setting)
  const ms = (timeout === undefined ? null : goDuration(timeout)) ?? DEFAULT_TIMEOUT_MS
  for (const { text, line } of itemsOf(setting)) {
    const target = targetOf(text, { ...setting, line }, migration)
    if (target !== null) {
      migration.baseRoutes.push({
        ...target,
        timeout: duration(ms),
        insecure: insecure !== undefined && flagOf(insecure) !== false,
        ...sentHost(passHost),
        from: [setting],
      })
    }
  }
}

/** Returns `upstreamHost: upstream` for a route if the old gateway did not pass the Host of the browser. */
export function sentHost(passHost: Setting | undefined): Pick<BaseRoute, 'upstreamHost'> {
  return passHost !== undefined && flagOf(passHost) === false ? { upstreamHost: 'upstream' } : {}
}

/** The placeholder for an upstream that gets no request, because another proxy forwards them. */
export const VERDICTS_ONLY = 'http://upstream.invalid'

function targetOf(item: string, setting: Setting, migration: Migration): UpstreamTarget | null {
  // oauth2-proxy's chart has /dev/null as its upstream by default, for proxies that use forward-auth.
  if (item.startsWith('static:') || /^file:\/+dev\/null\/?$/.test(item)) {
    enableForwardAuth(migration, setting)
    remark(
      migration,
      'differs',
      setting,
      `${JSON.stringify(item)}: a proxy that uses forward-auth gets its verdicts from these routes, on forwardAuth.listen; the ` +
        'routes have a placeholder upstream (upstream.invalid)',
    )
    return { path: '/**', upstream: VERDICTS_ONLY }
  }
  if (item.startsWith('file:')) {
    remark(
      migration,
      'gap',
      setting,
      `${JSON.stringify(item)}: the gateway serves no files: let a web server serve them, and set it as upstream`,
    )
    return null
  }
  return upstreamTarget(item, setting, migration)
}
