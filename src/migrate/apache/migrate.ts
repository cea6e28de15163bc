import { isMapping } from '../../config/key-path.ts'
import {
  has,
  type Migration,
  partAt,
  put,
  putMissingClientSecret,
  putMissingProvider,
  putSessionKey,
  type ReadFile,
  remark,
  secretVariable,
  startMigration,
} from '../migration.ts'
import { assembleRoutes } from '../routes.ts'
import { applyRules, reportUnhandled, type Rules, unknownKey } from '../rule.ts'
import { literal, type Setting, textOf } from '../setting.ts'
import { apacheDirectives } from './directives.ts'
import { passClaims } from './claims.ts'
import { type HostMigration, mergeHosts, servedHosts } from './hosts.ts'
import { modAuthOpenidc } from './keys.ts'
import { preprocess } from './preprocess.ts'
import { migrateSections } from './routes.ts'
import { isTransparent, isWholeSite, sectionsOf, type Site, siteOfHost } from './sections.ts'

const PRODUCT = 'mod_auth_openidc'

const rules: Rules = { ...modAuthOpenidc, ...apacheDirectives }
const canonicalNames = new Map(Object.keys(rules).map((name) => [name.toLowerCase(), name]))

/** Migrates Apache configurations that use mod_auth_openidc; throws `UnreadableFile`. */
export function migrateApache(
  files: readonly { readonly name: string; readonly text: string }[],
  readFile: ReadFile,
): Migration {
  const { directives, unknown } = preprocess(files, readFile)
  const site = sectionsOf(directives, (name) => canonicalNames.get(name.toLowerCase()) ?? name)
  const migration = startMigration(
    PRODUCT,
    site.directives.map(({ setting }) => setting),
    [],
  )
  for (const { setting, directive } of site.directives) {
    if (directive.note !== undefined) remark(migration, directive.note.grade, setting, directive.note.text)
    else if (/^VirtualHost$/i.test(setting.key)) migration.handled.add(setting)
    else if (isTransparent(setting.key))
      remark(migration, 'builtin', setting, 'its directives are read as if the condition held')
  }
  for (const [variable, { name, file, line }] of unknown) {
    if (OF_LOGS.test(name)) continue
    const text = `\${${variable}} (${name}, ${file}:${line}) is not defined in these files: pass the file that defines the variable to this command as well`
    remark(migration, 'security', null, text)
  }
  const hosts = servedHosts(site, migration)
  mergeHosts(
    hosts.map((host) => ({ host, ...migrateHost(siteOfHost(site, host.number), migration.handled) })),
    migration,
  )
  avoidUpstreams(migration)
  return migration
}

/** Moves the gateway's listeners away from the ports of applications on the same machine. */
function avoidUpstreams(migration: Migration): void {
  const routes: unknown = partAt(migration, 'routes')?.value
  const upstreams = [
    partAt(migration, 'upstream')?.value,
    ...(Array.isArray(routes) ? routes : []).map((route: unknown) =>
      isMapping(route) ? route['upstream'] : undefined,
    ),
  ]
  const taken = upstreams
    .filter((url) => typeof url === 'string')
    .flatMap((url) => /^https?:\/\/(?:localhost|127\.[\d.]+|\[::1\]):(\d+)$/.exec(url)?.[1] ?? [])
    .map(Number)
  for (const [path, usual] of DEFAULT_PORTS) {
    let port = usual
    while (taken.includes(port)) port += 1
    if (port !== usual) put(migration, path, `127.0.0.1:${port}`)
    taken.push(port)
  }
}

const DEFAULT_PORTS = [
  ['listen', 8080],
  ['admin.listen', 9090],
] as const

const OF_LOGS = /Log$|^(PidFile|Mutex|User|Group|ServerRoot)$/i

/** Migrates one virtual host as if it were alone. `handled` are the settings that the report names already. */
function migrateHost(site: Site, handled: ReadonlySet<Setting>): Omit<HostMigration, 'host'> {
  const siteWide = site.directives.filter(({ within }) => isWholeSite(within))
  const migration = startMigration(
    PRODUCT,
    site.directives.map(({ setting }) => setting),
    // The others add to each other, so that the last one is not the one that counts.
    siteWide.map(({ setting }) => setting).filter(({ key }) => !Object.hasOwn(apacheDirectives, key)),
  )
  for (const setting of handled) migration.handled.add(setting)
  // Runs before `applyRules`, because no rule may apply to a directive of some paths only.
  const closedBy = migrateSections(site, migration)
  applyRules(rules, migration, (key) =>
    key.startsWith('OIDC')
      ? unknownKey(PRODUCT, key)
      : 'it is a directive of Apache itself, which this command does not read: keep it in the web server, or look for an ' +
        'equivalent',
  )
  migrateStore(migration)
  putDefaults(migration)
  passClaims(migration)
  putRequired(migration)
  // The sections and headers above contribute to the routes.
  assembleRoutes(migration)
  reportUnhandled(rules, migration)
  return { migration, closedBy }
}

function migrateStore(migration: Migration): void {
  const [type, server, database] = ['OIDCCacheType', 'OIDCRedisCacheServer', 'OIDCRedisCacheDatabase'].map((key) =>
    migration.effective.get(key),
  )
  if (type !== undefined && textOf(type).toLowerCase() === 'redis') {
    const host = server === undefined ? 'redis.change-me.invalid' : textOf(server)
    if (server === undefined) remark(migration, 'todo', type, 'no server is given: set session.store')
    put(
      migration,
      'session.store',
      literal(`redis://${host}${database === undefined ? '' : `/${textOf(database)}`}`),
      ...[type, server, database].filter((setting) => setting !== undefined),
    )
  } else if (!has(migration, 'session.store')) {
    put(migration, 'session.store', 'memory:', ...(type === undefined ? [] : [type]))
    remark(
      migration,
      'differs',
      type ?? null,
      "sessions are kept in this process's memory: a restart ends them, and several replicas need " +
        'session.store: redis://…',
    )
  }
}

/** Sets the defaults of the module where they differ from those of the gateway. */
function putDefaults(migration: Migration): void {
  if (!has(migration, 'provider.userinfo')) put(migration, 'provider.userinfo', true)
  if (!migration.effective.has('OIDCSessionType')) put(migration, 'session.cookie.persistent', false)
  if (!has(migration, 'session.idleTimeout')) put(migration, 'session.idleTimeout', '5m')
  if (!has(migration, 'session.lifetime') && !has(migration, 'session.endWithIdToken'))
    put(migration, 'session.lifetime', '8h')
  if (!has(migration, 'provider.scopes')) {
    put(migration, 'provider.scopes', ['openid'])
    remark(
      migration,
      'differs',
      null,
      'OIDCScope is not given, so only openid is requested, as before: add profile, email and offline_access as needed',
    )
  }
}

function putRequired(migration: Migration): void {
  if (!has(migration, 'session.keys')) putSessionKey(migration)
  putMissingProvider(migration, 'OIDCProviderMetadataURL', 'OIDCClientID')
  const authentication = partAt(migration, 'provider.clientAuthentication')?.value
  if (authentication === 'private_key_jwt') {
    if (!has(migration, 'provider.privateKey'))
      put(migration, 'provider.privateKey', secretVariable(migration, 'OIDC_PRIVATE_KEY', 'the private key as PEM'))
  } else if (authentication !== 'none' && !has(migration, 'provider.clientSecret')) putMissingClientSecret(migration)
}
