import type { Condition } from './condition.ts'
import type { Origin } from './invocation.ts'
import { type Grade, literal, positionOf, type Setting, textOf } from './setting.ts'
import { onlyVariable } from './variable.ts'

export interface Remark {
  readonly grade: Grade
  readonly setting: Setting | null
  readonly text: string
  /** The line of the item of the setting; the line of the setting if absent. */
  readonly line?: number
}

export interface Part {
  readonly path: readonly string[]
  readonly value: unknown
  readonly from: readonly Setting[]
}

/** A further issuer of tokens that clients send. */
export interface TokenIssuer {
  readonly issuer: string
  readonly audience?: readonly string[]
  readonly jwksUri?: string
}

/** Returns whether a URL can be an issuer in a Gatehouse configuration. */
export function isIssuer(url: string): boolean {
  return /^https?:\/\/[^?#@\\\s]+$/.test(url) && URL.canParse(url) && !url.includes('/.well-known/')
}

/** What all routes with a session have in common. */
export interface RouteDefaults {
  challenge?: string
  /** Conditions that a user must meet, all of them. */
  readonly conditions: Condition[]
  acr?: string[]
  token?: { grant?: string; header?: string }
  readonly set: Record<string, string>
  encoding?: string
  /** Headers that are removed from client requests on every route unless `set` overwrites them. */
  readonly remove: string[]
  bearer?: { readonly audience: readonly string[]; readonly issuers: readonly TokenIssuer[] }
  preservePost?: boolean
}

export interface BaseRoute {
  readonly path: string
  readonly access?: 'required' | 'optional' | 'public'
  readonly challenge?: string
  /** What a user must meet in addition to the conditions of all routes. */
  readonly condition?: Condition
  readonly acr?: readonly string[]
  readonly upstream: string | null
  readonly protocol?: 'h2c' | 'h2'
  readonly rewritePrefix?: { readonly from: string; readonly to: string }
  readonly timeout?: string
  readonly insecure?: boolean
  readonly upstreamTls?: Readonly<Record<string, string | boolean>>
  readonly upstreamHost?: 'upstream'
  readonly withoutToken?: boolean
  /** Headers of this route besides those of all routes. */
  readonly set?: Readonly<Record<string, string>>
  readonly from: readonly Setting[]
}

export interface RouteException {
  readonly path: string
  readonly methods: readonly string[] | null
  readonly access: 'required' | 'optional' | 'public'
  readonly challenge?: string
  /** What a user must meet in place of the condition of the base route. */
  readonly condition?: Condition
  /** Whether the path admits no user until the operator has decided who may use it. */
  readonly closed?: true
  readonly from: Setting
}

/** The form of the output: a configuration, or values of the Helm chart with the configuration in `config`. */
export type OutputForm = 'config' | 'values'

/** Returns the text of a file that a setting in `besideFile` names; `null` if it cannot be read. */
export type ReadFile = (path: string, besideFile: string) => string | null

export interface Migration {
  /** The name of the other gateway. */
  readonly product: string
  readonly settings: readonly Setting[]
  /** The last value of each key. */
  readonly effective: ReadonlyMap<string, Setting>
  /** The settings that the result carries over or the report names. */
  readonly handled: Set<Setting>
  readonly parts: Part[]
  readonly routeDefaults: RouteDefaults
  readonly baseRoutes: BaseRoute[]
  readonly exceptions: RouteException[]
  /** The setting that lets OPTIONS pass without a session on all routes. */
  preflight: Setting | null
  readonly routeSources: Set<Setting>
  readonly remarks: Remark[]
  /** How to set each variable that the configuration uses. */
  readonly secrets: Map<string, string>
  readonly readFile: ReadFile
  /** Where the values of variables in the old configuration come from. */
  readonly origins: ReadonlyMap<string, Origin>
  /** The values of the Helm chart other than `config`. */
  readonly values: Map<string, unknown>
}

/** Starts a migration with an empty configuration. `effective` are the settings that apply to the whole site. */
export function startMigration(
  product: string,
  settings: readonly Setting[],
  effective: readonly Setting[] = settings,
): Migration {
  return {
    product,
    settings,
    effective: new Map(effective.map((setting) => [setting.key, setting])),
    handled: new Set(),
    parts: [],
    routeDefaults: { conditions: [], set: {}, remove: [] },
    baseRoutes: [],
    exceptions: [],
    preflight: null,
    routeSources: new Set(),
    remarks: [],
    secrets: new Map(),
    readFile: () => null,
    origins: new Map(),
    values: new Map(),
  }
}

/** Sets a key of the new configuration, replacing an earlier value, and marks the settings as handled. */
export function put(migration: Migration, path: string, value: unknown, ...from: Setting[]): void {
  const index = migration.parts.findIndex((part) => part.path.join('.') === path)
  const before = index === -1 ? [] : (migration.parts[index]?.from ?? [])
  if (index !== -1) migration.parts.splice(index, 1)
  migration.parts.push({ path: path.split('.'), value, from: [...new Set([...before, ...from])] })
  for (const setting of from) migration.handled.add(setting)
}

export function partAt(migration: Migration, path: string): Part | undefined {
  return migration.parts.find((part) => part.path.join('.') === path)
}

export function has(migration: Migration, path: string): boolean {
  return partAt(migration, path) !== undefined
}

/** Adds a remark and marks the setting as handled. */
export function remark(
  migration: Migration,
  grade: Grade,
  setting: Setting | null,
  text: string,
  line = setting?.line,
): void {
  migration.remarks.push({ grade, setting, text, ...(line === undefined ? {} : { line }) })
  if (setting !== null) migration.handled.add(setting)
}

/** Records that `routes` is derived from these settings, and marks the settings as handled. */
export function markRouteSource(migration: Migration, ...settings: Setting[]): void {
  for (const setting of settings) {
    migration.routeSources.add(setting)
    migration.handled.add(setting)
  }
}

/** Returns a reference to a variable for a secret, and records how to set the variable. The secret is never written. */
export function secretVariable(migration: Migration, name: string, howToSet: string): string {
  migration.secrets.set(name, howToSet)
  return `\${${name}}`
}

/** Returns a reference to the variable for a secret: the one that the setting names itself, otherwise `name`. */
export function secretVariableFor(migration: Migration, setting: Setting, name: string): string {
  const own = onlyVariable(textOf(setting))
  if (own === null) return secretVariable(migration, name, `the value of ${setting.written} (${positionOf(setting)})`)
  const origin = setting.origin ?? `the variable that ${setting.key} already names`
  return secretVariable(migration, own, `${origin} (${positionOf(setting)})`)
}

/** Sets `session.keys` to a new key: without a key, each restart would end all sessions. */
export function putSessionKey(migration: Migration, ...from: Setting[]): void {
  const key = secretVariable(migration, 'SESSION_KEY', 'a new key: gatehouse keygen prints one')
  put(migration, 'session.keys', [key], ...from)
}

/** Sets placeholders for a missing issuer and client id. The parameters are the old gateway's names of these settings. */
export function putMissingProvider(migration: Migration, issuerSetting: string, clientIdSetting: string): void {
  if (!has(migration, 'provider.issuer')) {
    put(migration, 'provider.issuer', 'https://issuer.change-me.invalid')
    remark(migration, 'todo', null, `${issuerSetting} is not given: set provider.issuer`)
  }
  if (!has(migration, 'provider.clientId')) {
    put(migration, 'provider.clientId', 'change-me')
    remark(migration, 'todo', null, `${clientIdSetting} is not given: set provider.clientId`)
  }
}

export function putMissingClientSecret(migration: Migration): void {
  const secret = secretVariable(migration, 'OIDC_CLIENT_SECRET', 'the client secret, which this file does not contain')
  put(migration, 'provider.clientSecret', secret)
}

/** Sets an endpoint of the provider. `others` are further settings that it comes from. */
export function putEndpoint(migration: Migration, name: string, setting: Setting, ...others: Setting[]): void {
  put(migration, `provider.endpoints.${name}`, literal(textOf(setting)), setting, ...others)
  allowPlainHttp(migration, textOf(setting), setting)
}

/** Sets `provider.allowHttp` if a URL of the provider is plain http, unless the host is this machine. */
export function allowPlainHttp(migration: Migration, url: string, setting: Setting): void {
  if (!url.startsWith('http:') || !URL.canParse(url)) return
  if (/^(localhost|127\.[\d.]+|\[::1\])$/.test(new URL(url).hostname)) return
  const isRemarked = has(migration, 'provider.allowHttp')
  put(migration, 'provider.allowHttp', true, setting)
  if (isRemarked) return
  remark(
    migration,
    'security',
    setting,
    'the provider is plain http: tokens and the client secret are sent unencrypted, as before (provider.allowHttp)',
  )
}

/**
 * Sets `provider.issuer` to the issuer whose discovery document has this URL. If `issuer` names another one, or the URL is
 * not below an issuer, `provider.metadataUrl` is set as well.
 */
export function putMetadataUrl(migration: Migration, setting: Setting, issuer?: Setting): void {
  const url = textOf(setting)
  const [, below] = /^([^?#]+)\/\.well-known\/openid-configuration$/.exec(url) ?? []
  const guess = url.replace(/\/\.well-known\/.*$/, '').replace(/[?#].*$/, '')
  const named = issuer === undefined ? null : textOf(issuer)
  const found = named ?? below ?? guess
  put(migration, 'provider.issuer', literal(found), setting)
  allowPlainHttp(migration, found, setting)
  if (below !== undefined && (named === null || named.replace(/\/$/, '') === below)) return
  put(migration, 'provider.metadataUrl', literal(url), setting)
  allowPlainHttp(migration, url, setting)
  if (named === null)
    remark(migration, 'todo', setting, 'set provider.issuer exactly as the discovery document spells it')
}

/** Requires a condition on all routes, in addition to earlier ones. */
export function requireOnAllRoutes(migration: Migration, condition: Condition, ...from: Setting[]): void {
  migration.routeDefaults.conditions.push(condition)
  markRouteSource(migration, ...from)
}

/** Sets a header on all routes that have a session, replacing an earlier value. Names are case-insensitive. */
export function setHeader({ routeDefaults }: Migration, name: string, template: string): void {
  for (const other of Object.keys(routeDefaults.set)) {
    if (other.toLowerCase() === name.toLowerCase()) delete routeDefaults.set[other]
  }
  routeDefaults.set[name] = template
}

/**
 * Sends the access token or the ID token in a header: as the route's token if there is none yet, otherwise under
 * `headers.set`. Returns `false` if the header carries the other token, or for a prefix other than `Bearer `.
 */
export function sendToken(
  migration: Migration,
  placeholder: 'accessToken' | 'idToken',
  header: string,
  prefix: string,
): boolean {
  const { routeDefaults } = migration
  if (prefix !== '' && prefix !== 'Bearer ') return false
  const isAuthorization = header.toLowerCase() === 'authorization'
  const { grant = 'session', header: carrier = 'Authorization' } = routeDefaults.token ?? { grant: 'none' }
  if (grant !== 'none' && carrier.toLowerCase() === header.toLowerCase())
    return (grant === 'id-token') === (placeholder === 'idToken')
  if (routeDefaults.token !== undefined || isAuthorization !== (prefix === 'Bearer '))
    setHeader(migration, header, `${prefix}{${placeholder}}`)
  else
    routeDefaults.token = {
      ...(placeholder === 'idToken' ? { grant: 'id-token' } : {}),
      ...(placeholder === 'idToken' && isAuthorization ? {} : { header }),
    }
  return true
}
