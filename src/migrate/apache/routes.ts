import { isMetByEveryUser, namesNetworks, undecided, UNDECIDED_CLAIM } from '../condition.ts'
import {
  allowPlainHttp,
  type BaseRoute,
  isIssuer,
  markRouteSource,
  type Migration,
  put,
  remark,
  requireOnAllRoutes,
  type TokenIssuer,
} from '../migration.ts'
import { type UpstreamTarget, upstreamTarget } from '../routes.ts'
import { argumentsOf, flagOf, literal, type Setting, textOf } from '../setting.ts'
import { readRequestHeaders } from './headers.ts'
import { cookiePathOf } from './keys.ts'
import { isRequirement, methodsOf, type Policy, policyOf, rangeOf, type RequireContext } from './require.ts'
import { hostOf, isTransparent, isWholeSite, type PlacedDirective, type Section, type Site } from './sections.ts'

const PER_ROUTE = new Set(['OIDCUnAuthAction', 'AuthType', 'Require', 'AuthName', 'ProxyPass', 'ProxyPassReverse'])

interface Area {
  readonly section: Section
  readonly policy: DecidedPolicy
  /** The policies of methods that differ from those of all other methods. */
  readonly exceptions: readonly { readonly methods: readonly string[]; readonly policy: DecidedPolicy }[]
  readonly access: BaseRoute['access']
  readonly challenge?: string
  readonly withoutToken: boolean
  readonly from: readonly Setting[]
}

type DecidedPolicy = Exclude<Policy, { kind: 'denied' }>

export function migrateSections({ sections, directives }: Site, migration: Migration): void {
  const host = hostOf(directives)
  for (const { setting, within } of directives) {
    if (/^VirtualHost$/i.test(setting.key)) migration.handled.add(setting)
    else if (isTransparent(setting.key))
      remark(migration, 'builtin', setting, 'its directives are read as if the condition held')
    else if (within.host !== 0 && within.host !== host) {
      remark(
        migration,
        /^(OIDC|Auth|Require|RequestHeader|Allow|Deny|Satisfy|Redirect|RewriteRule)/i.test(setting.key)
          ? 'security'
          : 'gap',
        setting,
        'another VirtualHost: give it a file and a gateway of its own',
      )
    }
  }
  const hostSections = sections.filter((section) => section.host === 0 || section.host === host)
  const hostDirectives = directives.filter(({ within }) => hostSections.includes(within))
  reportPathSettings(hostDirectives, migration)
  readRequestHeaders(
    hostDirectives.map(({ setting, directive, within }) => ({
      setting,
      directive,
      path: isWholeSite(within) ? null : (within.setting?.written ?? null),
    })),
    migration,
  )
  reportRefusals(hostDirectives, migration)
  const context = { userClaim: userClaimOf(migration), unknownAddress: unknownAddressOf(hostDirectives, migration) }
  const areas = hostSections.flatMap((section) => areaOf(section, hostDirectives, context, migration) ?? [])
  const targets = proxyPassesOf(hostDirectives, migration)
  const whole = areas.findLast(({ section }) => isWholeSite(section))
  const kept = areas.filter(
    (area) => area.section.patterns !== null && area !== whole && !isOverridden(area, areas, migration),
  )
  for (const area of areas) if (area.section.patterns === null) reportWithoutPatterns(area, migration)
  if (whole === undefined) {
    remark(
      migration,
      'security',
      null,
      'paths outside of the sections that require a login needed no session; here every path needs one: add routes ' +
        'with access: public for paths that must stay open',
    )
  }
  addBaseRoutes(migration, whole, kept, targets)
  migratePublicUrl(hostDirectives, migration)
}

/** Reports directives that apply to some paths only, because routes have no equivalent keys. */
function reportPathSettings(directives: readonly PlacedDirective[], migration: Migration): void {
  for (const { setting, within } of directives) {
    if (isWholeSite(within)) continue
    if (setting.key === 'OIDCPassAccessToken' && flagOf(setting) === false) markRouteSource(migration, setting)
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

const REFUSING_DIRECTIVE =
  /^(Allow|Deny|Order|Satisfy|AllowMethods|SSLVerifyClient|SSLRequire|SSLRequireSSL|LimitRequestBody|Sec[A-Z]\w*|Limit|LimitExcept|Files|FilesMatch)$/i

/** Reports directives that refused requests by other means than a login. */
function reportRefusals(directives: readonly PlacedDirective[], migration: Migration): void {
  for (const { setting, directive } of directives) {
    const { name, args } = directive
    const refuses =
      (/^Redirect(Match)?$/i.test(name) && /^(4\d\d|gone)$/i.test(args[0] ?? '')) ||
      (/^RewriteRule$/i.test(name) && /[[,](F|forbidden|G|gone|R=4\d\d|redirect=4\d\d)[\],]/i.test(args[2] ?? ''))
    if (refuses || REFUSING_DIRECTIVE.test(name))
      remark(
        migration,
        'security',
        setting,
        'it kept requests away from the application, and the gateway does not: keep it in a web server in between, ' +
          'or use require, methods or maxBody on routes',
      )
  }
}

type SiteContext = Pick<RequireContext, 'userClaim' | 'unknownAddress'>

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

function areaOf(
  section: Section,
  directives: readonly PlacedDirective[],
  siteContext: SiteContext,
  migration: Migration,
): Area | null {
  const sectionDirectives = directives.filter(({ within }) => within === section)
  const requirements = sectionDirectives
    .filter(({ directive }) => isRequirement(directive))
    .map(({ directive }) => directive)
  // Directives in a section such as <RequireAll> are part of its requirement.
  const nested = new Set(requirements.flatMap((directive) => directive.inner ?? []))
  const outer = requirements.filter((directive) => !nested.has(directive))
  const policyFor = (method: string | null): DecidedPolicy | null => {
    const policy = policyOf(outer, {
      ...siteContext,
      method,
      reportUndecided(directive, reason) {
        const setting = sectionDirectives.find((one) => one.directive === directive)?.setting ?? section.setting
        remark(migration, 'security', setting, `${reason}: ${NOT_LET_IN}`)
      },
    })
    return policy?.kind === 'denied' ? CLOSED : policy
  }
  const policy = policyFor(null)
  const accessSettings = sectionDirectives
    .filter(
      ({ setting }) =>
        isRequirement({ name: setting.key, args: [], line: 0, inner: null }) ||
        ['AuthType', 'OIDCUnAuthAction', 'AuthName'].includes(setting.key),
    )
    .map(({ setting }) => setting)
  markRouteSource(migration, ...accessSettings)
  const type = sectionDirectives.find(({ setting }) => setting.key === 'AuthType')?.directive.args[0]?.toLowerCase()
  const action = sectionDirectives.find(({ setting }) => setting.key === 'OIDCUnAuthAction')
  if (policy === null) {
    if (action !== undefined && isWholeSite(section))
      migration.routeDefaults.challenge = challengeOf(action.setting, migration)
    else if (action !== undefined)
      remark(migration, 'gap', action.setting, 'its section has no Require: set challenge on the route')
    return null
  }
  if (section.setting !== null) markRouteSource(migration, section.setting)
  const requirement = sectionDirectives.find(({ directive }) => isRequirement(directive))?.setting ?? section.setting
  const exceptions: { methods: string[]; policy: DecidedPolicy }[] = []
  for (const method of methodsOf(outer)) {
    const own = policyFor(method)
    if (own === null || isSame(own, policy)) continue
    const known = exceptions.find((one) => isSame(one.policy, own))
    if (known === undefined) exceptions.push({ methods: [method], policy: own })
    else known.methods.push(method)
  }
  for (const one of [{ methods: [], policy }, ...exceptions]) reportPolicy(one, section, requirement, migration)
  if (type !== undefined && !['openid-connect', 'oauth20', 'auth-openidc', 'none'].includes(type)) {
    remark(migration, 'security', requirement, `AuthType ${type} is another way to log in: ${NOT_LET_IN}`)
    return { section, policy: CLOSED, exceptions: [], access: 'required', withoutToken: true, from: accessSettings }
  }
  const challenge = action === undefined ? undefined : challengeOf(action.setting, migration)
  const pass =
    action !== undefined &&
    action.directive.args[0]?.toLowerCase() === 'pass' &&
    policy.kind === 'users' &&
    isMetByEveryUser(policy.condition)
  if (pass)
    remark(
      migration,
      'security',
      action.setting,
      `needs no session, as before: ${section.patterns?.join(', ') ?? 'its paths'} (access: optional)`,
    )
  if (type === 'oauth20' || type === 'auth-openidc') acceptBearerTokens(migration, accessSettings)
  return {
    section,
    policy,
    exceptions,
    access: policy.kind === 'public' ? 'public' : pass ? 'optional' : 'required',
    ...(challenge === undefined || pass ? {} : { challenge }),
    from: accessSettings,
    withoutToken: sectionDirectives.some(
      ({ setting }) => setting.key === 'OIDCPassAccessToken' && flagOf(setting) === false,
    ),
  }
}

function isSame(one: DecidedPolicy, other: DecidedPolicy): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

const NOT_LET_IN = `users who met it are not let in until you decide and replace the claim ${UNDECIDED_CLAIM}`

const CLOSED: DecidedPolicy = { kind: 'users', condition: undecided('Require'), anonymous: false }

function reportPolicy(
  { methods, policy }: Area['exceptions'][number],
  { patterns }: Section,
  setting: Setting | null,
  migration: Migration,
): void {
  const of = methods.length === 0 ? '' : `${methods.join(', ')} `
  if (policy === CLOSED) remark(migration, 'security', setting, `${of}it let no user in: ${NOT_LET_IN}`)
  if (policy.kind === 'public') {
    if (patterns !== null)
      remark(
        migration,
        'security',
        setting,
        `needs no session, as before: ${of}${patterns.join(', ')} (access: public)`,
      )
  } else if (namesNetworks(policy.condition)) {
    remark(
      migration,
      'security',
      setting,
      'the gateway compares the address of the connection, unless trustedProxies lists the proxies in front of it' +
        (policy.anonymous ? '; clients in these networks needed no login, and need one now' : ''),
    )
  }
}

function challengeOf(setting: Setting, migration: Migration): string {
  const [action = 'auth', expression] = Array.isArray(setting.value) ? setting.value.map(String) : []
  if (expression !== undefined)
    remark(
      migration,
      'differs',
      setting,
      'the expression is left out: the kind of request (navigation or script) decides, see docs/requests.md',
    )
  if (['407', '410'].includes(action))
    remark(migration, 'differs', setting, `the response without a session is 401, not ${action}`)
  markRouteSource(migration, setting)
  return ['401', '407', '410'].includes(action) && expression === undefined ? '401' : 'auto'
}

function acceptBearerTokens(migration: Migration, accessSettings: readonly Setting[]): void {
  const audience = migration.effective.get('OIDCOAuthVerifyAudience')
  const type = accessSettings.find(({ key }) => key === 'AuthType')
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

/** Returns whether a later section covers all paths of `area`. In Apache, the later section then takes effect. */
function isOverridden(area: Area, areas: readonly Area[], migration: Migration): boolean {
  const later = areas
    .slice(areas.indexOf(area) + 1)
    .find(
      ({ section }) =>
        area.section.patterns?.every((pattern) =>
          section.patterns?.some((outer) => outer === pattern || isWithin(pattern, outer)),
        ) === true,
    )
  if (later === undefined) return false
  if (area.section.setting !== null) {
    remark(
      migration,
      'security',
      area.section.setting,
      `the section in line ${later.section.setting?.line ?? 0} covers it and comes later, so this section has no ` +
        'effect in Apache and is left out',
    )
  }
  return true
}

function isWithin(inner: string, outer: string): boolean {
  return outer.endsWith('/**') && (inner === outer.slice(0, -3) || inner.startsWith(outer.slice(0, -2)))
}

/**
 * Reports a section whose paths route patterns cannot express. Paths that Apache made public require a session here. If
 * Apache required more than a session, no user is admitted to any path until the operator adds a route.
 */
function reportWithoutPatterns({ section, policy }: Area, migration: Migration): void {
  const { setting } = section
  if (setting === null) return
  if (policy.kind === 'public') {
    return remark(
      migration,
      'security',
      setting,
      "a route can't express its paths exactly, so they stay closed: add routes with access: public for paths that " +
        'must be open',
    )
  }
  if (isMetByEveryUser(policy.condition)) {
    return remark(
      migration,
      'differs',
      setting,
      "a route can't express its paths exactly; they need a session like all other paths",
    )
  }
  requireOnAllRoutes(migration, undecided('section'))
  remark(
    migration,
    'security',
    setting,
    `it requires more than a login on paths that a route can't express exactly: no user is let in until you add a ` +
      `route for them and remove ${UNDECIDED_CLAIM}`,
  )
}

interface ProxyPass extends UpstreamTarget, Pick<BaseRoute, 'upstreamHost'> {
  readonly rewritePrefix?: { readonly from: string; readonly to: string }
  readonly from: Setting
}

function proxyPassesOf(directives: readonly PlacedDirective[], migration: Migration): ProxyPass[] {
  return directives.flatMap(({ setting, directive, within }) => {
    if (setting.key !== 'ProxyPass') return []
    const inside = within.directive !== null && /^Location$/i.test(within.directive.name)
    const [path = '/', url = ''] = inside ? [within.directive?.args[0], directive.args[0]] : directive.args
    if (url === '!') return excludePath(path, setting, migration)
    if (/^(balancer|unix|fcgi|ajp|uwsgi|scgi):/.test(url)) {
      remark(
        migration,
        'gap',
        setting,
        'an upstream is an http or https origin, or unix:/path: put a load balancer or an HTTP server in between',
      )
      return []
    }
    const target = upstreamTarget(url, setting, migration)
    if (target === null) return []
    markRouteSource(migration, setting, ...(inside && within.setting !== null ? [within.setting] : []))
    const from = path.replace(/\/$/, '')
    const to = new URL(url).pathname.replace(/\/$/, '')
    const pattern = from === '' ? '/**' : `${from}/**`
    const { path: _, ...application } = { ...target, ...sentHost(directives, within, migration) }
    if (from === to) return [{ path: pattern, ...application, from: setting }]
    if (from === '') {
      remark(
        migration,
        'gap',
        setting,
        'a prefix for the path of every request has no equivalent: let the application serve its root, or publish it under ' +
          'the same path',
      )
      return [{ path: pattern, upstream: 'http://upstream.change-me.invalid', from: setting }]
    }
    return [{ path: pattern, ...application, rewritePrefix: { from, to: to === '' ? '/' : to }, from: setting }]
  })
}

/** Returns `upstreamHost: upstream` for the ProxyPass of a section, unless ProxyPreserveHost is on. */
function sentHost(
  directives: readonly PlacedDirective[],
  section: Section,
  migration: Migration,
): Pick<BaseRoute, 'upstreamHost'> {
  const own = directives.findLast(({ setting, within }) => setting.key === 'ProxyPreserveHost' && within === section)
  const setting = own?.setting ?? migration.effective.get('ProxyPreserveHost')
  if (setting !== undefined && flagOf(setting) !== false) return {}
  const text =
    'ProxyPreserveHost is not given, and off by default: the upstream receives its own host (upstreamHost: upstream); ' +
    'remove this key if the upstream should receive the Host that the browser sends'
  if (setting === undefined && !migration.remarks.some((one) => one.text === text)) {
    remark(migration, 'differs', null, text)
  }
  return { upstreamHost: 'upstream' }
}

/** Closes a path that was excluded from `ProxyPass`, because its requests would reach the application. */
function excludePath(path: string, setting: Setting, migration: Migration): [] {
  const from = path.replace(/\/$/, '')
  if (/^(\/[A-Za-z0-9_.~-]+)+$/.test(from)) {
    migration.exceptions.push({ path: `${from}/**`, methods: null, access: 'required', closed: true, from: setting })
    markRouteSource(migration, setting)
  }
  remark(
    migration,
    'security',
    setting,
    'the path was not forwarded, and the gateway serves no files: ' +
      (migration.handled.has(setting)
        ? 'no user is let in there until you give the route another upstream or remove it'
        : 'add a route for it'),
  )
  return []
}

function addBaseRoutes(
  migration: Migration,
  whole: Area | undefined,
  kept: readonly Area[],
  targets: readonly ProxyPass[],
): void {
  const areaFor = (path: string): Area | undefined =>
    kept
      .filter(
        ({ section }) => section.patterns?.some((pattern) => pattern === path || isWithin(path, pattern)) === true,
      )
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
      ...(area?.challenge === undefined ? {} : { challenge: area.challenge }),
      withoutToken: area?.withoutToken === true,
      from: target === undefined ? [] : [target.from],
    })
  }
  add('/**', whole)
  for (const { path } of targets) add(path, areaFor(path))
  for (const area of kept) {
    for (const pattern of area.section.patterns ?? []) add(pattern, area)
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

function originOfServer(name: string): string {
  return new URL(/^https?:\/\//.test(name) ? name : `https://${name.replace(/:443$/, '')}`).origin
}

function migratePublicUrl(directives: readonly PlacedDirective[], migration: Migration): void {
  const uri = migration.effective.get('OIDCRedirectURI')
  const name = directives.find(({ setting }) => setting.key === 'ServerName')?.setting
  const aliases = directives.filter(({ setting }) => setting.key === 'ServerAlias').map(({ setting }) => setting)
  const redirect = uri === undefined ? '' : textOf(uri)
  const absolute = URL.canParse(redirect) ? new URL(redirect) : null
  const server = name === undefined ? null : textOf(name)
  const origin = absolute?.origin ?? (server === null ? null : originOfServer(server))
  const more =
    absolute === null
      ? aliases
          .flatMap(({ value }) => (Array.isArray(value) ? value.map(String) : []))
          .filter((alias) => /^[A-Za-z0-9.-]+$/.test(alias))
      : []
  const from = [uri, name, ...aliases].filter((setting) => setting !== undefined)
  if (origin === null) {
    put(migration, 'publicUrl', 'https://change-me.invalid', ...from)
    remark(
      migration,
      'todo',
      uri ?? null,
      'neither OIDCRedirectURI nor ServerName names a host: set publicUrl to the origin that browsers see',
    )
  } else {
    const served = server === null ? null : originOfServer(server)
    const domain = migration.effective.get('OIDCCookieDomain')
    // A redirect URI at another host needs a cookie that both hosts get.
    const isCentral = served !== null && served !== origin && domain !== undefined
    const all = [...new Set([origin, ...(isCentral ? [served] : []), ...more.map((alias) => `https://${alias}`)])]
    put(migration, 'publicUrl', all.length === 1 ? all[0] : all, ...from)
    if (isCentral) put(migration, 'loginHost', origin, ...(uri === undefined ? [] : [uri]))
    remark(
      migration,
      'todo',
      uri ?? null,
      `register ${origin}${cookiePathOf(migration) ?? ''}/oauth2/callback at the provider: it is the new redirect URI`,
    )
  }
}
