import { assignForwardAuthPort } from '../forward-auth.ts'
import { has, type Migration, type OutputForm, put, type ReadFile, remark, startMigration } from '../migration.ts'
import { readToml } from '../readers/toml.ts'
import { readYaml } from '../readers/yaml.ts'
import { assembleRoutes } from '../routes.ts'
import { applyRules, reportOverridden, reportUnhandled, unknownKey } from '../rule.ts'
import { listOf, positionOf, type Setting, textOf, UNREAD, UNREAD_VARIABLES } from '../setting.ts'
import { RANKS, type Reading, type Source, withFiles } from '../sources.ts'
import { onlyVariable, variablesIn, variableToken } from '../variable.ts'
import { migrateAccess, migrateTrustedAddresses } from './access.ts'
import { alphaRules, migrateAlphaLists, withOlderNames } from './alpha-config.ts'
import { chartPathOf } from './chart-values.ts'
import { leaveForwardAuthToChart, migrateDeployment, migrateValues } from './deployment.ts'
import { migrateMembership } from './groups.ts'
import { migrateHeaders } from './headers.ts'
import { isSwitch, oauth2Proxy } from './keys.ts'
import { markSettledFlags, migrateListener, migrateProvider } from './provider.ts'
import { migrateUpstreams } from './routes.ts'
import { migrateStore } from './store.ts'

const PRODUCT = 'oauth2-proxy'
const NO_USER_HEADERS =
  'a route without a login sends no user headers, which oauth2-proxy sends for users with a session: access: optional ' +
  'sends them'
const DEFAULT_LIFETIME =
  'cookie_expire is not given, and one week by default: a session ends 10 hours after the login, and after 30 minutes ' +
  'without requests; for longer sessions, set session.lifetime and session.idleTimeout'

/** Migrates what the files of one gateway contain. `readFile` reads further files that the settings name. */
export function migrateOauth2Proxy(readings: readonly Reading[], readFile: ReadFile, form: OutputForm): Migration {
  const files = readings.flatMap((reading) => reading.files ?? [])
  const origins = new Map(readings.flatMap((reading) => [...(reading.origins ?? [])]))
  const open = withFiles(files, readFile)
  const given = [...defaultsOf(readings), ...readings.flatMap((reading) => reading.sources)]
  const sources = [...given, ...configFiles(given, open)].toSorted((a, b) => a.rank - b.rank)
  const isAlpha = sources.some(({ rank }) => rank === RANKS.alpha)
  const isChart = readings.some(({ chart }) => chart !== undefined)
  const settings = withClient(withClientOfAlpha(sources).flatMap((source) => source.settings)).map(withTokens)
  const migration = {
    ...startMigration(PRODUCT, settings),
    readFile: (path: string, besideFile: string) => open(path, besideFile)?.text ?? null,
    origins,
  }
  const rules = isAlpha ? alphaRules : oauth2Proxy
  reportUnknownValues(migration)
  if (form === 'values') migrateDeployment(migration)
  if (!isAlpha) reportOverridden(migration)
  applyRules(rules, migration, (key) =>
    chartPathOf(key) !== null
      ? 'it is a value of the chart of oauth2-proxy: gatehouse migrate --format values says whether helm/gatehouse has it'
      : (ignoredName(key) ?? unknownKey(PRODUCT, key)),
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
  if (!migration.effective.has('cookie_expire')) remark(migration, 'differs', null, DEFAULT_LIFETIME)
  const hosts = readings.map((reading) => reading.hosts).find((one) => one !== undefined)
  if (hosts !== undefined) putIngressHosts(migration, hosts)
  migrateListener(migration)
  // Runs after the other listeners have their ports, and after every step that may enable forward-auth.
  if (form === 'values') leaveForwardAuthToChart(migration)
  else assignForwardAuthPort(migration)
  migrateTrustedAddresses(migration)
  markSettledFlags(migration)

  const opened = migration.exceptions.find(({ access }) => access === 'public')
  if (opened !== undefined && Object.values(migration.routeDefaults.set).some((one) => one.includes('{claims.')))
    remark(migration, 'differs', opened.from, NO_USER_HEADERS)

  // All steps above contribute to the routes.
  assembleRoutes(migration)
  reportUnhandled(rules, migration)
  nameVariables(migration)
  if (form === 'values') migrateValues(migration, isChart)
  else if (isChart) {
    const text = 'these are values of a Helm chart: gatehouse migrate --format values writes values for helm/gatehouse'
    remark(migration, 'differs', null, text)
  }
  return migration
}

/** Replaces `${NAME}`, which a template such as envsubst replaces, by a token. Values of a deployment stay as they are. */
function withTokens(setting: Setting): Setting {
  const replaced = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(replaced)
      : typeof value === 'string'
        ? value.replace(/\$\{([A-Za-z_]\w*)\}/g, (_, name: string) => variableToken(name))
        : value
  return chartPathOf(setting.key) === null ? { ...setting, value: replaced(setting.value) } : setting
}

/** Sets `publicUrl` to the hosts of the Ingress if the configuration has no `redirect_url`. */
function putIngressHosts(migration: Migration, hosts: Setting): void {
  const names = [...new Set(listOf(hosts))].filter((name) => /^[a-z0-9-]+(?:\.[a-z0-9-]+)+$/.test(name))
  if (has(migration, 'publicUrl') || names.length === 0) return
  const urls = names.map((name) => `https://${name}`)
  put(migration, 'publicUrl', urls.length === 1 ? urls[0] : urls)
  const text = `redirect_url is not given, and publicUrl is the host of the Ingress (${positionOf(hosts)}), with https`
  remark(migration, 'differs', null, text)
}

/** Returns the defaults of the chart that no file overrides. */
function defaultsOf(readings: readonly Reading[]): Source[] {
  const defaults = readings.flatMap(({ chart }) => chart?.defaults ?? [])
  const given = new Set(readings.flatMap(({ sources }) => sources.flatMap(({ settings }) => settings.map(keyOf))))
  return [{ rank: RANKS.file, settings: defaults.filter(({ key }) => !given.has(key)) }]
}

function keyOf({ key }: Setting): string {
  return key
}

/** Reads the files that `config` and `alpha_config` name, unless a file of that kind is given itself. */
function configFiles(given: readonly Source[], open: ReturnType<typeof withFiles>): Source[] {
  const settings = given.flatMap((source) => source.settings)
  const plain = new Map(
    settings.flatMap(({ written, value, origin }) =>
      origin === undefined && typeof value === 'string' ? [[written, value]] : [],
    ),
  )
  const kinds = [
    { key: 'config', rank: RANKS.file, read: readToml },
    {
      key: 'alpha_config',
      rank: RANKS.alpha,
      read: (text: string, file: string) => withOlderNames(readYaml(text, file, (name) => plain.get(name))),
    },
  ]
  return kinds.flatMap(({ key, rank, read }): Source[] => {
    const setting = settings.findLast((one) => one.key === key)
    const isGiven = given.some(
      (source) => source.rank === rank && source.settings.some((one) => one.note === undefined),
    )
    if (setting === undefined || isGiven) return []
    const file = open(textOf(setting), setting.file)
    if (file === null) return [{ rank: RANKS.file, settings: [unreadConfig(setting)] }]
    const shifted = read(file.text, file.file).map((one) => ({ ...one, line: one.line + file.linesBefore }))
    return [{ rank, settings: shifted }]
  })
}

function unreadConfig(setting: Setting): Setting {
  const text = `${textOf(setting)} cannot be read: what it sets or protects is not carried over; name this file as well`
  return { ...setting, key: UNREAD, note: { grade: 'security', text } }
}

const CLIENT_VARIABLES: Readonly<Record<string, string>> = {
  client_id: 'OAUTH2_PROXY_CLIENT_ID',
  client_secret: 'OAUTH2_PROXY_CLIENT_SECRET',
}

/** Marks the client of other sources as unused if the alpha configuration, which alone names the provider, has one. */
function withClientOfAlpha(sources: readonly Source[]): Source[] {
  const named = new Map(
    sources
      .filter(({ rank }) => rank === RANKS.alpha)
      .flatMap(({ settings }) => settings.map((one): [string, string] => [one.key.replace(/_file$/, ''), textOf(one)])),
  )
  const note = {
    grade: 'builtin',
    text: 'the alpha configuration names the client, so this one has no effect',
  } as const
  return sources.map((source) => ({
    ...source,
    settings: source.settings.map((setting) => {
      const used = named.get(setting.key.replace(/_file$/, ''))
      const variable = CLIENT_VARIABLES[setting.key]
      if (source.rank === RANKS.alpha || variable === undefined || used === undefined || used.includes(variable))
        return setting
      return { ...setting, key: UNREAD, note }
    }),
  }))
}

/** Adds the client's variables if no file sets them and they may be in a source that cannot be read. */
function withClient(settings: readonly Setting[]): Setting[] {
  const source = settings.find(({ key }) => key === UNREAD_VARIABLES)
  if (source === undefined) return [...settings]
  const hasCredentials = settings.some(({ key }) => /^client_secret|^jwt_key|federated/.test(key))
  const missing = Object.entries(CLIENT_VARIABLES).filter(
    ([key]) => !settings.some((one) => one.key === key) && !(key === 'client_secret' && hasCredentials),
  )
  const origin = `presumably set by ${source.written}`
  const { file, line } = source
  const added = missing.map(([key, name]) => ({ key, written: name, value: variableToken(name), file, line, origin }))
  return [...settings, ...added]
}

/** The keys whose values must be known, because they select paths, users and hosts. */
const DECISIVE =
  /^(?:email_domains|allowed_|\w*groups$|\w*roles$|skip_auth_|api_routes|trusted_|whitelist_|cookie_domains|upstreams)/

/** Reports settings whose value is in a variable of another file, which can stand for one value, but not for a list. */
function reportUnknownValues({ settings, remarks }: Migration): void {
  for (const setting of settings) {
    const name = listOf(setting)
      .map(onlyVariable)
      .find((one) => one !== null)
    if (name === undefined || !(DECISIVE.test(setting.key) || isSwitch(setting.key))) continue
    const text = `its value is in \${${name}}, which is not in these files, and may be a list: write the values here`
    remarks.push({ grade: 'security', setting, text })
  }
}

/** Returns why oauth2-proxy ignores a name, such as the singular of a list in a file or a variable. */
function ignoredName(key: string): string | null {
  if (!Object.hasOwn(oauth2Proxy, `${key}s`)) return null
  return `oauth2-proxy does not read this name, only ${key}s (OAUTH2_PROXY_${key.toUpperCase()}S), so it had no effect`
}

/** Lists the variables that the configuration refers to under SECRETS. */
function nameVariables(migration: Migration): void {
  for (const name of variablesIn(JSON.stringify(migration.parts.map(({ value }) => value)))) {
    if (!migration.secrets.has(name))
      migration.secrets.set(
        name,
        migration.origins.get(name)?.text ?? 'the variable of this name in the old configuration',
      )
  }
}
