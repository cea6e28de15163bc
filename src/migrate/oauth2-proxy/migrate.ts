import { assignForwardAuthPort } from '../forward-auth.ts'
import { type Migration, type ReadFile, startMigration } from '../migration.ts'
import { assembleRoutes } from '../routes.ts'
import { applyRules, reportOverridden, reportUnhandled, unknownKey } from '../rule.ts'
import type { Setting } from '../setting.ts'
import { migrateAccess, migrateTrustedAddresses } from './access.ts'
import { alphaRules, migrateAlphaLists } from './alpha-config.ts'
import { CHART } from './chart-values.ts'
import { migrateMembership } from './groups.ts'
import { migrateHeaders } from './headers.ts'
import { oauth2Proxy } from './keys.ts'
import { markSettledFlags, migrateListener, migrateProvider } from './provider.ts'
import { migrateUpstreams } from './routes.ts'
import { migrateStore } from './store.ts'

const PRODUCT = 'oauth2-proxy'

export function migrateOauth2Proxy(settings: readonly Setting[], isAlpha: boolean, readFile: ReadFile): Migration {
  const migration = { ...startMigration(PRODUCT, settings), readFile }
  const rules = isAlpha ? alphaRules : oauth2Proxy
  if (!isAlpha) reportOverridden(migration)
  applyRules(rules, migration, (key) =>
    key.startsWith(CHART)
      ? 'it is a value of the chart of oauth2-proxy: check whether helm/gatehouse has an equivalent'
      : unknownKey(PRODUCT, key),
  )

  // These steps read settings that have a meaning only together. Their order matters.
  migrateProvider(migration)
  migrateMembership(migration)
  migrateAccess(migration)
  migrateStore(migration)
  if (isAlpha) migrateAlphaLists(migration)
  migrateUpstreams(migration)
  // An alpha configuration sends no headers by default. `migrateAlphaLists` has migrated the headers that it lists.
  migrateHeaders(migration, !isAlpha)
  migrateListener(migration)
  // Runs after the other listeners have their ports, and after every step that may enable forward-auth.
  assignForwardAuthPort(migration)
  migrateTrustedAddresses(migration)
  markSettledFlags(migration)

  // All steps above contribute to the routes.
  assembleRoutes(migration)
  reportUnhandled(rules, migration)
  return migration
}
