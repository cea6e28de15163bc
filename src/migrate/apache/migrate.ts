import {
  has,
  type Migration,
  partAt,
  put,
  putMissingClientSecret,
  putMissingProvider,
  putSessionKey,
  remark,
  secretVariable,
  startMigration,
} from '../migration.ts'
import { readApache } from '../readers/apache.ts'
import { assembleRoutes } from '../routes.ts'
import { applyRules, reportUnhandled, unknownKey } from '../rule.ts'
import { literal, textOf } from '../setting.ts'
import { passClaims } from './headers.ts'
import { modAuthOpenidc } from './keys.ts'
import { migrateSections } from './routes.ts'
import { sectionsOf } from './sections.ts'

const PRODUCT = 'mod_auth_openidc'

const canonicalNames = new Map(Object.keys(modAuthOpenidc).map((name) => [name.toLowerCase(), name]))

/** Migrates Apache configurations that use mod_auth_openidc; throws `UnreadableFile`. */
export function migrateApache(files: readonly { readonly name: string; readonly text: string }[]): Migration {
  const sites = files.map(({ name, text }) =>
    sectionsOf(readApache(text, name), name, (directive) => canonicalNames.get(directive.toLowerCase()) ?? directive),
  )
  const migration = startMigration(
    PRODUCT,
    sites.flatMap(({ settings }) => settings),
    sites.flatMap(({ siteSettings }) => siteSettings),
  )
  // Runs before `applyRules`, because no rule may apply to a directive of another virtual host or of some paths only.
  for (const site of sites) migrateSections(site, migration)
  applyRules(modAuthOpenidc, migration, (key) =>
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
  reportUnhandled(modAuthOpenidc, migration)
  return migration
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
