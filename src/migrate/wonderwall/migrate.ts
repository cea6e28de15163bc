import { assignForwardAuthPort } from '../forward-auth.ts'
import {
  has,
  markRouteSource,
  type Migration,
  partAt,
  put,
  putMissingClientSecret,
  putMissingProvider,
  putSessionKey,
  remark,
  secretVariable,
  secretVariableFor,
  startMigration,
} from '../migration.ts'
import { parseRedisUrl } from '../redis-url.ts'
import { assembleRoutes } from '../routes.ts'
import { applyRules, reportOverridden, reportUnhandled, unknownKey } from '../rule.ts'
import { duration, flagOf, goDuration, listenAddress, listOf, literal, type Setting, textOf } from '../setting.ts'
import { onlyVariable } from '../variable.ts'
import { wonderwall } from './keys.ts'

const PRODUCT = 'Wonderwall'

export function migrateWonderwall(settings: readonly Setting[]): Migration {
  const migration = startMigration(PRODUCT, settings)
  reportOverridden(migration)
  applyRules(wonderwall, migration, (key) => unknownKey(PRODUCT, key))

  // These steps read settings that have a meaning only together.
  migrateIngress(migration)
  migrateSso(migration)
  migrateUpstream(migration)
  migrateAccess(migration)
  migrateSession(migration)
  migrateRedis(migration)
  migrateAdmin(migration)
  // Wonderwall removes the credentials that a client sends, on every path.
  migration.routeDefaults.remove.push('Authorization', 'X-Wonderwall-Id-Token', 'X-Wonderwall-Forward-Auth-Token')
  remark(
    migration,
    'todo',
    null,
    'behind an ingress, list the addresses of the ingress under trustedProxies: otherwise all users share one address in rate ' +
      'limits and logs',
  )
  if (!has(migration, 'listen')) {
    const isTaken = migration.baseRoutes.some(({ upstream }) => upstream?.endsWith(':3000') === true)
    put(migration, 'listen', isTaken ? '127.0.0.1:3001' : '127.0.0.1:3000')
  }
  // Runs after the other listeners have their ports.
  assignForwardAuthPort(migration)
  putRequired(migration)

  // All steps above contribute to the routes.
  assembleRoutes(migration)
  reportUnhandled(wonderwall, migration)
  return migration
}

function putRequired(migration: Migration): void {
  putMissingProvider(migration, 'openid.well-known-url', 'openid.client-id')
  if (!has(migration, 'provider.clientSecret') && !has(migration, 'provider.privateKey')) {
    putMissingClientSecret(migration)
    remark(
      migration,
      'todo',
      null,
      'neither a client secret nor a key is given: if openid.client-jwk is set elsewhere, set provider.privateKey ' +
        'instead',
    )
  }
  if (!has(migration, 'session.keys')) putSessionKey(migration)
}

function migrateIngress(migration: Migration): void {
  const setting = migration.effective.get('ingress')
  const urls =
    setting === undefined
      ? []
      : listOf(setting)
          .filter((item) => URL.canParse(item))
          .map((item) => new URL(item))
  if (setting === undefined || urls.length === 0) {
    put(migration, 'publicUrl', 'https://change-me.invalid')
    return remark(
      migration,
      'todo',
      setting ?? null,
      'no ingress is given: set publicUrl to the origin that browsers see',
    )
  }
  const origins = [...new Set(urls.map(({ origin }) => origin))]
  put(migration, 'publicUrl', origins.length === 1 ? origins[0] : origins, setting)
  if (origins.length < listOf(setting).length) remark(migration, 'differs', setting, 'publicUrl lists each origin once')
  const paths = [...new Set(urls.map(({ pathname }) => pathname.replace(/\/$/, '')))]
  const [path = ''] = paths
  if (paths.length > 1) {
    remark(
      migration,
      'todo',
      setting,
      "the ingresses have several paths: the gateway's own URLs are under one basePath, /oauth2, so let each ingress " +
        'send /oauth2 to the gateway as well',
    )
  } else if (path !== '') {
    put(migration, 'basePath', literal(`${path}/oauth2`), setting)
    // Several gateways on one host, each at a path of its own, must not overwrite each other's cookies.
    put(migration, 'session.cookie.path', literal(path), setting)
  }
}

function migrateSso(migration: Migration): void {
  const keys = ['sso.enabled', 'sso.mode', 'sso.server-url', 'sso.domain', 'sso.session-cookie-name'] as const
  const [enabled, mode, server, domain, name] = keys.map((key) => migration.effective.get(key))
  const given = [enabled, mode, server, domain, name].filter((setting) => setting !== undefined)
  if (enabled === undefined || flagOf(enabled) !== true) {
    for (const setting of given) remark(migration, 'builtin', setting, 'sso.enabled is off, so it has no effect')
    return
  }
  const url = partAt(migration, 'publicUrl')?.value
  const own = (Array.isArray(url) ? url : [url]).map(String)
  const isProxy = mode !== undefined && textOf(mode).toLowerCase() === 'proxy'
  const serverUrl = server === undefined ? '' : textOf(server)
  const loginHost = !isProxy ? own[0] : URL.canParse(serverUrl) ? new URL(serverUrl).origin : undefined
  if (loginHost === undefined)
    return remark(migration, 'todo', enabled, 'sso.server-url is no URL: set loginHost, and add it to publicUrl')
  const parent =
    domain === undefined ? commonDomain([loginHost, ...own]) : textOf(domain).replace(/^\./, '').toLowerCase()
  if (parent === null)
    return remark(migration, 'todo', enabled, 'no domain covers all hosts: set session.cookie.domain, then loginHost')
  const all = isProxy ? own : [...own, `${new URL(loginHost).protocol}//*.${parent}`]
  put(migration, 'publicUrl', [...new Set([loginHost, ...all])], ...given)
  put(migration, 'loginHost', loginHost, ...given)
  put(migration, 'session.cookie.domain', literal(parent), ...given)
  // All applications share the session, wherever their paths begin.
  if (has(migration, 'session.cookie.path')) put(migration, 'session.cookie.path', '/', ...given)
  if (name !== undefined) put(migration, 'session.cookie.name', literal(textOf(name)), name)
  remark(
    migration,
    'todo',
    enabled,
    'let the gateways of all applications have the same provider, session.keys, session.store, session.cookie and ' +
      'loginHost, and let publicUrl of the gateway at loginHost cover all of them',
  )
}

/** Returns the longest domain of at least two labels that the hosts of all origins are in, or `null`. */
function commonDomain(origins: readonly string[]): string | null {
  const [first = [], ...others] = origins.map((origin) => new URL(origin).hostname.split('.').toReversed())
  const differs = first.findIndex((label, i) => others.some((labels) => labels[i] !== label))
  const labels = differs === -1 ? first : first.slice(0, differs)
  return labels.length < 2 ? null : labels.toReversed().join('.')
}

function migrateUpstream(migration: Migration): void {
  const [host, ip, port] = ['upstream-host', 'upstream-ip', 'upstream-port'].map((key) => migration.effective.get(key))
  const from = [host, ip, port].filter((setting) => setting !== undefined)
  // The operator of a cluster sets the address of the pod elsewhere.
  const hasPortAlone = port !== undefined && (ip === undefined || textOf(ip) === '') && host === undefined
  if (hasPortAlone)
    remark(
      migration,
      'todo',
      port,
      'upstream-ip is not given: the application is expected at 127.0.0.1, as beside a sidecar; otherwise change upstream',
    )
  if (ip !== undefined && /^\$\{\w+\}$/.test(textOf(ip)))
    remark(migration, 'todo', ip, `set ${ip.written} to the address of the application: 127.0.0.1 in the same pod`)
  const target = hasPortAlone
    ? `127.0.0.1:${textOf(port)}`
    : ip !== undefined && port !== undefined && textOf(ip) !== ''
      ? `${textOf(ip).includes(':') ? `[${textOf(ip)}]` : textOf(ip)}:${textOf(port)}`
      : host === undefined || textOf(host) === ''
        ? '127.0.0.1:8080'
        : textOf(host)
  markRouteSource(migration, ...from)
  migration.baseRoutes.push({
    path: '/**',
    access: isLoginRequired(migration) ? 'required' : 'optional',
    upstream: `http://${literal(target)}`,
    from,
  })
}

function isLoginRequired(migration: Migration): boolean {
  const autoLogin = migration.effective.get('auto-login')
  return autoLogin !== undefined && flagOf(autoLogin) !== false
}

function migrateAccess(migration: Migration): void {
  const autoLogin = migration.effective.get('auto-login')
  if (autoLogin !== undefined) markRouteSource(migration, autoLogin)
  if (!isLoginRequired(migration)) {
    remark(
      migration,
      'security',
      autoLogin ?? null,
      'auto-login is off: requests without a session reach the application, which must reject them itself, as before ' +
        '(access: optional); with access: required the gateway rejects them',
    )
  }
  if (isLoginRequired(migration))
    remark(
      migration,
      'differs',
      autoLogin ?? null,
      '/favicon.ico and /robots.txt needed no session, and need one here: add routes with access: optional if they must ' +
        'be open',
    )
  const ignored = migration.effective.get('auto-login-ignore-paths')
  if (ignored !== undefined) migrateIgnoredPaths(migration, ignored)
  migrateLevels(migration)
}

function migrateIgnoredPaths(migration: Migration, ignored: Setting): void {
  const required = isLoginRequired(migration)
  for (const item of listOf(ignored)) {
    const path = item.length > 1 ? item.replace(/\/$/, '') : item
    if (!/^\/(?:(?:[A-Za-z0-9_~.-]+|\*)\/)*(?:[A-Za-z0-9_~.-]+|\*\*?)?$/.test(path) || path === '/**') {
      remark(
        migration,
        required ? 'security' : 'gap',
        ignored,
        `${JSON.stringify(item)} is not a path that a route can express exactly, and needs a session: add routes with ` +
          'access: optional for paths that must be open',
      )
      continue
    }
    markRouteSource(migration, ignored)
    if (!required) continue
    for (const pattern of path.endsWith('**') || path === '/' ? [path] : [path, `${path}/`]) {
      // Only Wonderwall matches a trailing slash with a pattern that ends in a wildcard.
      if (pattern.endsWith('*/')) continue
      migration.exceptions.push({ path: pattern, methods: null, access: 'optional', from: ignored })
    }
    remark(
      migration,
      'security',
      ignored,
      `${JSON.stringify(item)} needs no session, as before; if there is one, its token is sent upstream here too`,
    )
  }
  if (!required) remark(migration, 'builtin', ignored, 'it has no effect without auto-login: all paths are optional')
}

function migrateLevels(migration: Migration): void {
  const setting = migration.effective.get('openid.acr-values')
  const provider = migration.effective.get('openid.provider')
  if (provider !== undefined) markRouteSource(migration, provider)
  const idportenLevels = provider !== undefined && textOf(provider) === 'idporten' ? ['idporten-loa-high'] : []
  const levels =
    setting === undefined
      ? idportenLevels
      : textOf(setting)
          .split(/\s+/)
          .filter((level) => level !== '')
  if (levels.length === 0) return
  const from = setting === undefined ? [] : [setting]
  if (isLoginRequired(migration)) {
    migration.routeDefaults.acr = levels.map(literal)
    markRouteSource(migration, ...from)
    remark(
      migration,
      'differs',
      setting ?? provider ?? null,
      'a login must have one of these levels: add higher levels that are acceptable too',
    )
  } else {
    put(migration, 'provider.authorizationParameters.acr_values', literal(levels.join(' ')), ...from)
    remark(
      migration,
      'security',
      setting ?? provider ?? null,
      'the level is requested at the login but not checked afterwards, because optional routes cannot check it: use ' +
        'access: required for that',
    )
  }
}

function migrateSession(migration: Migration): void {
  const inactivity = migration.effective.get('session.inactivity')
  const idle = migration.effective.get('session.inactivity-timeout')
  const from = [inactivity, idle].filter((setting) => setting !== undefined)
  if (inactivity !== undefined && flagOf(inactivity) === true) {
    const ms = idle === undefined ? null : goDuration(idle)
    put(migration, 'session.idleTimeout', ms === null ? '30m' : duration(ms), ...from)
  } else {
    put(migration, 'session.idleTimeout', 'off', ...from)
    remark(
      migration,
      'differs',
      inactivity ?? null,
      'session.inactivity is off, so session.idleTimeout is off; 30m would be safer',
    )
  }
  const enabled = migration.effective.get('ratelimit.enabled')
  if (enabled !== undefined && flagOf(enabled) === false) put(migration, 'rateLimit.login', 'off', enabled)
}

function migrateRedis(migration: Migration): void {
  const [uri, address, tls, username, password] = [
    'redis.uri',
    'redis.address',
    'redis.tls',
    'redis.username',
    'redis.password',
  ].map((key) => migration.effective.get(key))
  const source = uri !== undefined && textOf(uri) !== '' ? uri : address
  if (source === undefined || textOf(source) === '') {
    remark(migration, 'differs', null, 'no Redis is given: sessions are kept in memory, and a restart ends them')
    return put(migration, 'session.store', 'memory:')
  }
  if (onlyVariable(textOf(source)) !== null && source === uri) {
    put(migration, 'session.store', secretVariableFor(migration, source, 'REDIS_URL'), source)
    return remark(
      migration,
      'todo',
      source,
      'the variable must hold redis:// or rediss:// with the host only: set credentials as session.redis.username and ' +
        'session.redis.password',
    )
  }
  const secure = source === uri ? textOf(uri).startsWith('rediss:') : tls === undefined || flagOf(tls) !== false
  const node = parseRedisUrl(textOf(source))
  put(
    migration,
    'session.store',
    literal(`redis${secure ? 's' : ''}://${node.host}${node.database}`),
    source,
    ...(tls === undefined ? [] : [tls]),
  )
  if (username !== undefined && textOf(username) !== '')
    put(migration, 'session.redis.username', literal(textOf(username)), username)
  else if (node.username !== '' && node.username !== 'default')
    put(migration, 'session.redis.username', literal(node.username), source)
  if (password !== undefined)
    put(migration, 'session.redis.password', secretVariableFor(migration, password, 'REDIS_PASSWORD'), password)
  else if (node.hasPassword)
    put(
      migration,
      'session.redis.password',
      secretVariable(migration, 'REDIS_PASSWORD', 'the password in redis.uri'),
      source,
    )
}

function migrateAdmin(migration: Migration): void {
  const [metrics, probe] = [
    migration.effective.get('metrics-bind-address'),
    migration.effective.get('probe-bind-address'),
  ]
  const used = [probe, metrics].find((setting) => setting !== undefined && listenAddress(textOf(setting)) !== null)
  if (used !== undefined) put(migration, 'admin.listen', literal(listenAddress(textOf(used)) ?? ''), used)
  for (const setting of [metrics, probe]) {
    if (setting !== undefined && setting !== used)
      remark(migration, 'differs', setting, 'metrics and health share admin.listen')
  }
}
