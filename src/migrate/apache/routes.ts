import { isMetByEveryUser, undecided } from '../condition.ts'
import {
  allowPlainHttp,
  type BaseRoute,
  isIssuer,
  markRouteSource,
  type Migration,
  put,
  remark,
  type TokenIssuer,
} from '../migration.ts'
import { argumentsOf, flagOf, literal, type Setting, textOf } from '../setting.ts'
import { type Area, areasOf, isWithin, type SiteContext } from './areas.ts'
import { type PathHeader, readRequestHeaders } from './headers.ts'
import { cookiePathOf } from './keys.ts'
import { isOverridden, reportWithoutPatterns, sharedPath, withoutOverlaps } from './overlaps.ts'
import { readRefusals } from './refusals.ts'
import { rangeOf, type RequireContext } from './require.ts'
import { isWholeSite, type PlacedDirective, type Section, type Site } from './sections.ts'
import { type Target, targetsOf } from './upstreams.ts'

const PER_ROUTE = new Set(['OIDCUnAuthAction', 'AuthType', 'Require', 'AuthName', 'ProxyPass', 'ProxyPassReverse'])

/**
 * Migrates the sections of one virtual host, with what applies to all hosts. Returns the directive that refused all
 * requests, or `null`.
 */
export function migrateSections(site: Site, migration: Migration): Setting | null {
  const { directives } = site
  reportPathSettings(directives, migration)
  const headers = readRequestHeaders(directives, migration)
  const refusals = readRefusals(directives, migration)
  const context: SiteContext = {
    userClaim: userClaimOf(migration),
    unknownAddress: unknownAddressOf(directives, migration),
  }
  const areas = areasOf(site, context, migration)
  for (const type of new Set(areas.map(({ authType }) => authType)))
    if (type === 'oauth20' || type === 'auth-openidc') acceptBearerTokens(migration, areas)
  const closed = new Map(refusals.closed)
  const targets = targetsOf(directives, refusals.forwarded, closed, migration)
  const isProxied = targets.some(({ path }) => path === '/**')
  const separate = withoutOverlaps(areas, isProxied, migration)
  const whole = separate.findLast(({ section }) => isWholeSite(section))
  const kept = separate.filter((area) => area !== whole && !isOverridden(area, separate, migration))
  for (const area of areas)
    if (area.section.patterns === null && !isOverridden(area, areas, migration))
      reportWithoutPatterns(area, isProxied, migration)
  if (whole === undefined) {
    remark(
      migration,
      'security',
      null,
      'paths outside of the sections that require a login needed no session; here every path needs one: add routes ' +
        'with access: public for paths that must stay open',
    )
  }
  addBaseRoutes(migration, whole, kept, targets, headers)
  closePaths(migration, closed)
  migratePublicUrl(directives, migration)
  return closed.get('/**') ?? null
}

/** Closes paths that the web server refused for all users, also where a section opens paths below them. */
function closePaths(migration: Migration, closed: ReadonlyMap<string, Setting>): void {
  for (const [path, from] of closed) {
    const isBelow = (other: string): boolean => other === path || path === '/**' || isWithin(other, path)
    const { baseRoutes, exceptions } = migration
    baseRoutes.splice(
      0,
      baseRoutes.length,
      ...baseRoutes.map(({ condition, ...base }) =>
        isBelow(base.path)
          ? { ...base, access: 'required' as const, condition: undecided(from.key) }
          : { ...base, ...(condition === undefined ? {} : { condition }) },
      ),
    )
    exceptions.splice(0, exceptions.length, ...exceptions.filter((one) => !isBelow(one.path)))
    if (!baseRoutes.some((base) => base.path === path))
      exceptions.push({ path, methods: null, access: 'required', closed: true, from })
  }
}

/** Reports directives that apply to some paths only, because routes have no equivalent keys. */
function reportPathSettings(directives: readonly PlacedDirective[], migration: Migration): void {
  for (const { setting, within } of directives) {
    if (isWholeSite(within)) continue
    if (setting.key === 'ProxyPreserveHost' || (setting.key === 'OIDCPassAccessToken' && flagOf(setting) === false))
      markRouteSource(migration, setting)
    else if (setting.key.startsWith('OIDC') && !PER_ROUTE.has(setting.key)) {
      remark(
        migration,
        setting.key.startsWith('OIDCPass') ? 'security' : 'gap',
        setting,
        `it applies to ${within.setting?.written ?? 'some paths'} only: look for a key of that route with the same meaning`,
      )
    }
  }
}

/** `Require user` compares a claim, by default `sub@issuer`, where the issuer is written without `https://`. */
function userClaimOf({ effective }: Migration): RequireContext['userClaim'] {
  const setting = effective.get('OIDCRemoteUserClaim')
  if (setting !== undefined && argumentsOf(setting).length > 1) return () => null
  const written = setting === undefined ? 'sub@' : textOf(setting)
  if (!written.endsWith('@')) return (name) => ({ claim: written, value: name })
  const named = effective.get('OIDCProviderIssuer') ?? effective.get('OIDCProviderMetadataURL')
  const issuer = named === undefined ? '' : textOf(named).replace(/\/\.well-known\/.*$/, '')
  const suffixes = [issuer, issuer.replace(/\/$/, ''), `${issuer}/`].map((one) => `@${one.replace(/^https:\/\//, '')}`)
  return (name) => {
    const suffix = issuer === '' ? undefined : suffixes.find((one) => name.endsWith(one))
    return suffix === undefined ? null : { claim: written.slice(0, -1), value: name.slice(0, -suffix.length) }
  }
}

/** Reads the proxies of mod_remoteip. Returns why the gateway would not know a client's address, or `null`. */
function unknownAddressOf(directives: readonly PlacedDirective[], migration: Migration): string | null {
  const of = (name: string): Setting[] => directives.map(({ setting }) => setting).filter(({ key }) => key === name)
  const [header] = of('RemoteIPHeader')
  if (header === undefined) return null
  const proxies = [...of('RemoteIPInternalProxy'), ...of('RemoteIPTrustedProxy')]
  const ranges = proxies.flatMap(argumentsOf).map(rangeOf)
  const known = ranges.filter((range) => range !== null)
  const isUsual = textOf(header).toLowerCase() === 'x-forwarded-for'
  if (isUsual && known.length > 0 && known.length === ranges.length) {
    put(migration, 'trustedProxies', known, header, ...proxies)
    return null
  }
  const reason = `the client's address came from ${textOf(header)}: list the proxies in front under trustedProxies`
  remark(migration, 'security', header, reason)
  return reason
}

function acceptBearerTokens(migration: Migration, areas: readonly Area[]): void {
  const audience = migration.effective.get('OIDCOAuthVerifyAudience')
  const type = areas
    .flatMap(({ from }) => from)
    .find((setting) => setting.key === 'AuthType' && /^(oauth20|auth-openidc)$/i.test(textOf(setting)))
  if (audience === undefined) {
    if (type !== undefined)
      remark(
        migration,
        'security',
        type,
        "clients' own tokens need an audience or a client: add bearer: { audience: … } or { clientIds: … } to the routes; " +
          'until then no token is accepted',
      )
    return
  }
  const audiences = Array.isArray(audience.value) ? audience.value.map(String) : [textOf(audience)]
  const issuers = foreignIssuers(migration)
  migration.routeDefaults.bearer = { audience: audiences.map(literal), issuers }
  markRouteSource(migration, audience)
}

/** Returns the issuer of `OIDCOAuthVerifyIssuer`, unless it is the provider. */
function foreignIssuers(migration: Migration): TokenIssuer[] {
  const [issuer, keys, own, metadata] = [
    'OIDCOAuthVerifyIssuer',
    'OIDCOAuthVerifyJwksUri',
    'OIDCProviderIssuer',
    'OIDCProviderMetadataURL',
  ].map((key) => migration.effective.get(key))
  const provider = own ?? metadata
  if (issuer === undefined || !isIssuer(textOf(issuer))) return []
  markRouteSource(migration, issuer)
  if (provider === undefined || issuerIn(provider) === issuerIn(issuer)) return []
  if (keys !== undefined) markRouteSource(migration, keys)
  for (const setting of [issuer, keys]) if (setting !== undefined) allowPlainHttp(migration, textOf(setting), setting)
  remark(
    migration,
    'security',
    issuer,
    "tokens of the provider itself for the same audience are accepted, too: let bearer.require name the clients' claims " +
      'to let in fewer',
  )
  return [{ issuer: literal(textOf(issuer)), ...(keys === undefined ? {} : { jwksUri: literal(textOf(keys)) }) }]
}

function issuerIn(setting: Setting): string {
  return textOf(setting)
    .replace(/\/\.well-known\/.*$/, '')
    .replace(/\/$/, '')
}

function addBaseRoutes(
  migration: Migration,
  whole: Area | undefined,
  kept: readonly Area[],
  targets: readonly Target[],
  headers: readonly PathHeader[],
): void {
  const areaFor = (path: string): Area | undefined =>
    kept
      .filter(({ section }) => section.patterns?.some((one) => one === path || isWithin(path, one)) === true)
      .toSorted((a, b) => longest(b) - longest(a))[0] ?? whole
  const add = (path: string, area: Area | undefined): void => {
    if (migration.baseRoutes.some((base) => base.path === path)) return
    const target = targets.find((one) => one.path === path || isWithin(path, one.path))
    migration.baseRoutes.push({
      path,
      access: area?.access ?? 'required',
      ...conditionOf(area),
      upstream: target?.upstream ?? null,
      ...(target?.protocol === undefined ? {} : { protocol: target.protocol }),
      ...(target?.rewritePrefix === undefined ? {} : { rewritePrefix: target.rewritePrefix }),
      ...(target?.upstreamHost === undefined ? {} : { upstreamHost: target.upstreamHost }),
      ...(target?.timeout === undefined ? {} : { timeout: target.timeout }),
      ...(target?.upstreamTls === undefined ? {} : { upstreamTls: target.upstreamTls }),
      ...(area?.challenge === undefined ? {} : { challenge: area.challenge }),
      ...headersAt(path, headers),
      withoutToken: area?.withoutToken === true,
      from: target === undefined ? [] : [target.from],
    })
  }
  add('/**', whole)
  for (const { path } of targets) add(path, areaFor(path))
  for (const area of kept) {
    for (const pattern of area.section.patterns ?? []) add(pattern, area)
  }
  for (const { section } of headers)
    for (const path of [...(section.patterns ?? []), ...section.except]) add(path, areaFor(path))
  // Where an area and a route for another reason overlap, the more specific pattern must not override the area.
  for (const area of kept)
    for (const { path } of [...migration.baseRoutes])
      for (const pattern of area.section.patterns ?? []) {
        const shared = sharedPath(path, pattern)
        if (shared !== null && shared !== path && shared !== pattern) add(shared, area)
      }
  // The pattern `/x/**` matches `/x`, which a section for `/x/` does not open.
  for (const { access, exceptions, section } of kept) {
    const opens = access !== 'required' || exceptions.some(({ policy }) => policy.kind === 'public')
    if (opens) for (const path of section.except) add(path, whole)
  }
  for (const area of whole === undefined ? kept : [whole, ...kept]) addMethodExceptions(area, migration)
  const lacking = migration.baseRoutes.filter(({ upstream }) => upstream === null)
  if (lacking.length === 0) return
  const known = migration.baseRoutes.find(({ path, upstream }) => path === '/**' && upstream !== null)
  if (known === undefined)
    remark(
      migration,
      'todo',
      null,
      'some routes have no ProxyPass: let the web server listen on another address, and set upstream to it',
    )
  migration.baseRoutes.splice(
    0,
    migration.baseRoutes.length,
    ...migration.baseRoutes.map((base) => ({
      ...base,
      upstream: base.upstream ?? 'http://upstream.change-me.invalid',
    })),
  )
}

/** Returns the headers with fixed values that the sections around a path set; a later section overrides an earlier one. */
function headersAt(path: string, headers: readonly PathHeader[]): Pick<BaseRoute, 'set'> {
  const set = new Map<string, string | null>()
  for (const { section, name, template } of headers) if (covers(section, path)) set.set(name, template)
  const known = [...set].filter((entry): entry is [string, string] => entry[1] !== null)
  return known.length === 0 ? {} : { set: Object.fromEntries(known) }
}

function covers({ patterns, except }: Section, path: string): boolean {
  return !except.includes(path) && patterns?.some((one) => one === path || isWithin(path, one)) === true
}

function longest({ section }: Area): number {
  return Math.max(...(section.patterns ?? ['']).map((pattern) => pattern.length))
}

function conditionOf(area: Area | undefined): Pick<BaseRoute, 'condition'> {
  if (area === undefined || area.policy.kind === 'public' || isMetByEveryUser(area.policy.condition)) return {}
  return { condition: area.policy.condition }
}

function addMethodExceptions({ section, exceptions, from }: Area, migration: Migration): void {
  const setting = from.find(({ key }) => key === 'Require') ?? section.setting ?? from[0]
  if (setting === undefined) return
  for (const { methods, policy } of exceptions) {
    for (const path of section.patterns ?? [])
      migration.exceptions.push({
        path,
        methods,
        access: policy.kind === 'public' ? 'public' : 'required',
        ...(policy.kind === 'public' ? {} : { condition: policy.condition }),
        from: setting,
      })
  }
}

/** Returns the origin of a `ServerName`. Sessions need https, so a name without a scheme is one with https. */
export function originOfServer(name: string): string | null {
  const url = /^https?:\/\//.test(name) ? name : `https://${name.replace(/:(443|80)$/, '')}`
  return URL.canParse(url) ? new URL(url).origin : null
}

function migratePublicUrl(directives: readonly PlacedDirective[], migration: Migration): void {
  const uri = migration.effective.get('OIDCRedirectURI')
  const ofHost = (key: string): Setting[] => {
    const all = directives.filter(({ setting }) => setting.key === key)
    const own = all.filter(({ within }) => within.host !== 0)
    return (own.length === 0 ? all : own).map(({ setting }) => setting)
  }
  const [name] = ofHost('ServerName')
  const aliases = ofHost('ServerAlias')
  const redirect = uri === undefined ? '' : textOf(uri)
  const absolute = URL.canParse(redirect) ? new URL(redirect) : null
  const served = name === undefined ? null : originOfServer(textOf(name))
  const origin = absolute?.origin ?? served
  const more = absolute === null ? aliasesOf(aliases, migration) : []
  const from = [uri, name, ...aliases].filter((setting) => setting !== undefined)
  if (origin === null) {
    put(migration, 'publicUrl', 'https://change-me.invalid', ...from)
    remark(
      migration,
      'todo',
      uri ?? null,
      'neither OIDCRedirectURI nor ServerName names a host: set publicUrl to the origin that browsers see',
    )
    return
  }
  const domain = migration.effective.get('OIDCCookieDomain')
  // A redirect URI at another host needs a cookie that both hosts get.
  const isCentral = served !== null && served !== origin && domain !== undefined
  const all = [...new Set([origin, ...(isCentral ? [served] : []), ...more.map((alias) => `https://${alias}`)])]
  put(migration, 'publicUrl', all.length === 1 ? all[0] : all, ...from)
  if (isCentral) put(migration, 'loginHost', origin, ...(uri === undefined ? [] : [uri]))
  const logins = (isCentral ? [origin] : all).map((one) => `${one}${cookiePathOf(migration) ?? ''}/oauth2/callback`)
  const what = logins.length === 1 ? 'it is the new redirect URI' : 'they are the new redirect URIs'
  remark(migration, 'todo', uri ?? null, `${REGISTER}${logins.join(' and ')} at the provider: ${what}`)
}

/** How a remark about redirect URIs begins. */
export const REGISTER = 'register '

/** Returns the names of `ServerAlias` that a public URL can have. */
function aliasesOf(aliases: readonly Setting[], migration: Migration): string[] {
  return aliases.flatMap((setting) => {
    const names = argumentsOf(setting)
    const patterns = names.filter((alias) => !/^[A-Za-z0-9.-]+$/.test(alias))
    if (patterns.length > 0)
      remark(
        migration,
        'todo',
        setting,
        `${patterns.join(' ')} names no single host: add each host to publicUrl, or set loginHost, with which publicUrl ` +
          'can have *',
      )
    return names.filter((alias) => !patterns.includes(alias))
  })
}
