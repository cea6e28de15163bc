import { isDeepStrictEqual } from 'node:util'
import { type Migration, type Part, partAt, put, type Remark, remark } from '../migration.ts'
import { SET_AGAIN } from '../rule.ts'
import { flagOf, positionOf, type Setting, textOf } from '../setting.ts'
import { isOfModule } from './areas.ts'
import { namesWithLines, someAboutAccess } from './preprocess.ts'
import { TO_HTTPS } from './refusals.ts'
import { originOfServer, REGISTER } from './routes.ts'
import type { PlacedDirective, Section, Site } from './sections.ts'

/** A virtual host, or the whole configuration if there is none. */
export interface Host {
  readonly number: number
  readonly section: Section | null
  /** The public origin of its first name; `null` without one. */
  readonly origin: string | null
}

/** Returns the hosts whose users log in with the module, and reports the others, each once. */
export function servedHosts(site: Site, migration: Migration): Host[] {
  const all = site.sections
    .filter(({ kind, host }) => kind === 'site' && host !== 0)
    .map((section): Host => ({ number: section.host, section, origin: originOf(site, section.host) }))
  if (all.length === 0) return [{ number: 0, section: null, origin: originOf(site, 0) }]
  const candidates = all.filter(({ number }) => !redirectsToHttps(site, number))
  const loggingIn = candidates.filter(({ number }) => hasLogin(site, number))
  const [first] = candidates.length === 0 ? all : candidates
  const wanted = loggingIn.length > 0 ? loggingIn : first === undefined ? [] : [first]
  const served = wanted.filter((host) => host === firstOfName(host, wanted, site))
  for (const host of all) if (!served.includes(host)) reportUnserved(site, host, migration)
  return served
}

/** Returns the host that serves a name: the one with TLS, or else the first one. */
function firstOfName(host: Host, hosts: readonly Host[], site: Site): Host {
  const same = hosts.filter(({ origin }) => origin !== null && origin === host.origin)
  return same.find(({ number, section }) => hasTls(site, number, section)) ?? same[0] ?? host
}

function hasTls(site: Site, host: number, section: Section | null): boolean {
  if (section?.directive?.args.some((address) => address.endsWith(':443')) === true) return true
  return ofHost(site, host).some(({ setting }) => setting.key === 'SSLEngine' && flagOf(setting) === true)
}

function ofHost({ directives }: Site, host: number): PlacedDirective[] {
  return directives.filter(({ within }) => within.host === host)
}

function originOf(site: Site, host: number): string | null {
  const [name] = [...ofHost(site, host), ...ofHost(site, 0)].filter(({ setting }) => setting.key === 'ServerName')
  return name === undefined ? null : originOfServer(textOf(name.setting))
}

function hasLogin(site: Site, host: number): boolean {
  const own = ofHost(site, host)
  if ([...authTypesOf(own), ...authTypesOf(ofHost(site, 0))].some(isOfModule)) return true
  return (
    own.some(({ setting }) => setting.key.startsWith('OIDC')) &&
    authTypesOf(own).length === 0 &&
    own.some(({ directive }) => /^Require$/i.test(directive.name) && directive.args[0]?.toLowerCase() !== 'all')
  )
}

function authTypesOf(directives: readonly PlacedDirective[]): string[] {
  return directives
    .filter(({ setting }) => setting.key === 'AuthType')
    .map(({ setting }) => textOf(setting).toLowerCase())
}

/** Returns whether a host has no application and no login, and only redirects to https. */
function redirectsToHttps(site: Site, host: number): boolean {
  const own = ofHost(site, host)
  if (own.some(({ setting }) => /^(AuthType|ProxyPass|ProxyPassMatch|SSLEngine)$/.test(setting.key))) return false
  return own.some(
    ({ directive: { name, args } }) =>
      (/^Redirect/i.test(name) && /^https:\/\//i.test(args.at(-1) ?? '')) ||
      (/^RewriteRule$/i.test(name) && /^https:\/\//i.test(args[1] ?? '')),
  )
}

function reportUnserved(site: Site, { number, section, origin }: Host, migration: Migration): void {
  const own = ofHost(site, number)
  const inner = section?.directive?.inner ?? []
  const name = origin === null ? '' : ` for ${new URL(origin).host}`
  for (const { setting } of own) migration.handled.add(setting)
  const text = redirectsToHttps(site, number)
    ? TO_HTTPS
    : /^Redirect$/i.test(own.find(({ directive }) => /^Redirect$/i.test(directive.name))?.directive.name ?? '') &&
        !own.some(({ setting }) => setting.key.startsWith('ProxyPass'))
      ? `another VirtualHost${name}, which serves no application: keep it in the web server, or remove it`
      : hasLogin(site, number)
        ? `another VirtualHost${name}, which has one already: if it has another port, write the port into its ServerName`
        : `another VirtualHost${name}, without a login of the module: keep it in the web server, because the gateway would ` +
          'serve its host like the first publicUrl'
  const grade = redirectsToHttps(site, number) ? 'builtin' : someAboutAccess(inner) ? 'security' : 'gap'
  remark(migration, grade, section?.setting ?? null, `${text} [${namesWithLines(inner)}]`)
}

/** The hosts and what each of them became, in the order of the files. */
export interface HostMigration {
  readonly host: Host
  readonly migration: Migration
  /** The directive that refused all requests, such as `Redirect 404 /`. */
  readonly closedBy: Setting | null
}

/** Merges the migrations of the hosts of one gateway into `into`: each route gets its host, and its provider. */
export function mergeHosts(hosts: readonly HostMigration[], into: Migration): void {
  const [first, ...others] = hosts
  if (first === undefined) return
  for (const { migration } of hosts) for (const setting of migration.handled) into.handled.add(setting)
  renameSecrets(hosts, into)
  into.parts.push(...first.migration.parts)
  const open = hosts.filter(({ closedBy }) => closedBy === null)
  const [main] = open
  if (others.length === 0 || main === undefined) return addRemarks(first.migration.remarks, into)
  for (const { migration, closedBy } of hosts)
    addRemarks(
      closedBy === null
        ? migration.remarks
        : migration.remarks.filter(({ setting }) => setting !== null && setting !== closedBy),
      into,
    )
  for (const { host, closedBy } of hosts) {
    if (closedBy === null) continue
    const text = `no route has the host ${host.origin === null ? 'of its VirtualHost' : new URL(host.origin).host}, so every request to it gets a 404`
    remark(into, 'security', closedBy, text)
  }
  mergeUrls(hosts, into)
  const providers = mergeProviders(hosts, into)
  const kept = into.remarks.filter((one) => !isOfOneHost(one, hosts) && !isAboutCallback(one))
  into.remarks.splice(0, into.remarks.length, ...kept)
  remarkCallbacks(open, providers, into)
  for (const { host, migration } of others) reportOtherParts(host, migration, into)
  const upstream = partAt(main.migration, 'upstream')
  if (upstream !== undefined) {
    into.parts.splice(0, into.parts.length, ...into.parts.filter(({ path }) => path[0] !== 'upstream'))
    put(into, 'upstream', upstream.value, ...upstream.from)
  }
  const routes = open.flatMap((one) => routesOf(one, upstream?.value, providers.get(one)))
  const from = hosts.flatMap(({ migration }) => partAt(migration, 'routes')?.from ?? [])
  put(into, 'routes', routes, ...from)
}

/** Returns whether a remark says that a host overrides a setting, which applies to other hosts. */
function isOfOneHost(one: Remark, hosts: readonly HostMigration[]): boolean {
  if (!one.text.startsWith(SET_AGAIN)) return false
  return !hosts.every(({ migration }) =>
    migration.remarks.some((other) => other.setting === one.setting && other.text.startsWith(SET_AGAIN)),
  )
}

/** The redirect URIs of several hosts are known after all hosts have been merged. */
function isAboutCallback({ grade, text }: Remark): boolean {
  return grade === 'todo' && text.startsWith(REGISTER)
}

function addRemarks(remarks: readonly Remark[], into: Migration): void {
  into.remarks.push(...remarks.filter((one) => !into.remarks.some((known) => isDeepStrictEqual(known, one))))
}

/** Gives variables that stand for different secrets of several hosts different names. */
function renameSecrets(hosts: readonly HostMigration[], into: Migration): void {
  for (const { migration } of hosts) {
    const renamed = new Map<string, string>()
    for (const [name, how] of migration.secrets) {
      let free = name
      for (let n = 2; into.secrets.has(free) && into.secrets.get(free) !== how; n += 1) free = `${name}_${n}`
      into.secrets.set(free, how)
      if (free !== name) renamed.set(`\${${name}}`, `\${${free}}`)
    }
    if (renamed.size === 0) continue
    const parts = migration.parts.map((part): Part => ({ ...part, value: withNames(part.value, renamed) }))
    migration.parts.splice(0, migration.parts.length, ...parts)
  }
}

function withNames(value: unknown, names: ReadonlyMap<string, string>): unknown {
  if (typeof value === 'string') return names.get(value) ?? value
  if (Array.isArray(value)) return value.map((one) => withNames(one, names))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withNames(inner, names)]))
}

function urlsOf(migration: Migration): string[] {
  const value = partAt(migration, 'publicUrl')?.value
  return (Array.isArray(value) ? value : [value]).map(String)
}

/** The origins of a host itself: without the login host, which another host may be. */
function ownUrls({ host, migration }: HostMigration): string[] {
  const login = partAt(migration, 'loginHost')?.value
  const urls = urlsOf(migration).filter((url) => url !== login || url === host.origin)
  return host.origin === null || urls.includes(host.origin) ? urls : [host.origin, ...urls.slice(1)]
}

function mergeUrls(hosts: readonly HostMigration[], into: Migration): void {
  const parts = hosts.flatMap(({ migration }) => partAt(migration, 'publicUrl') ?? [])
  const urls = [...new Set(hosts.flatMap(ownUrls))]
  const logins = hosts.flatMap(({ migration }) => partAt(migration, 'loginHost') ?? [])
  const [login] = logins
  const all = login === undefined ? urls : [...new Set([String(login.value), ...urls])]
  put(into, 'publicUrl', all.length === 1 ? all[0] : all, ...parts.flatMap(({ from }) => from))
  if (login !== undefined) put(into, 'loginHost', login.value, ...login.from)
}

function providerParts({ migration }: HostMigration): readonly Part[] {
  return migration.parts.filter(({ path }) => path[0] === 'provider')
}

/** Writes `providers` if hosts have different ones. Returns the name of the provider of each host. */
function mergeProviders(hosts: readonly HostMigration[], into: Migration): ReadonlyMap<HostMigration, string> {
  const values = (one: HostMigration): unknown =>
    Object.fromEntries(providerParts(one).map(({ path, value }) => [path.join('.'), value]))
  const names = new Map<HostMigration, string>()
  const distinct: HostMigration[] = []
  for (const one of hosts) {
    const same = distinct.find((other) => isDeepStrictEqual(values(other), values(one)))
    const name = same === undefined ? freeName(one, new Set(names.values())) : names.get(same)
    if (same === undefined) distinct.push(one)
    if (name !== undefined) names.set(one, name)
  }
  if (distinct.length < 2) return new Map()
  into.parts.splice(0, into.parts.length, ...into.parts.filter(({ path }) => path[0] !== 'provider'))
  for (const one of distinct) {
    const name = names.get(one) ?? ''
    for (const { path, value, from } of providerParts(one))
      put(into, ['providers', name, ...path.slice(1)].join('.'), value, ...from)
  }
  return names
}

function remarkCallbacks(
  hosts: readonly HostMigration[],
  providers: ReadonlyMap<HostMigration, string>,
  into: Migration,
): void {
  const callback = `${textAt(into, 'basePath') ?? '/oauth2'}/callback`
  const login = textAt(into, 'loginHost')
  const urlsOfHosts = (list: readonly HostMigration[], path: string): string =>
    [...new Set(login === undefined ? list.flatMap(ownUrls) : [login])].map((url) => `${url}${path}`).join(' and ')
  if (providers.size === 0) {
    const uri = hosts[0]?.migration.effective.get('OIDCRedirectURI') ?? null
    return remark(
      into,
      'todo',
      uri,
      `${REGISTER}${urlsOfHosts(hosts, callback)} at the provider as the new redirect URIs`,
    )
  }
  for (const one of hosts) {
    const name = providers.get(one) ?? ''
    const urls = urlsOfHosts([one], `${callback}/${name}`)
    const text = `its provider is ${name} of providers: register ${urls} there as redirect URI`
    remark(into, 'todo', one.host.section?.setting ?? null, text)
  }
}

function textAt(migration: Migration, path: string): string | undefined {
  const value = partAt(migration, path)?.value
  return typeof value === 'string' ? value : undefined
}

function freeName({ host }: HostMigration, taken: ReadonlySet<string>): string {
  const label = host.origin === null ? '' : (new URL(host.origin).hostname.split('.')[0] ?? '')
  const base = /^[a-z][a-z0-9-]*$/.test(label) ? label : 'provider'
  let name = base
  for (let n = 2; taken.has(name); n += 1) name = `${base}-${n}`
  return name
}

const MERGED = new Set(['publicUrl', 'loginHost', 'provider', 'routes', 'upstream'])

/** Reports keys that apply to all hosts of a gateway, and that the hosts do not agree on. */
function reportOtherParts(host: Host, migration: Migration, into: Migration): void {
  const names = new Set([...migration.parts, ...into.parts].map(({ path }) => path.join('.')))
  const different = [...names].filter((name) => {
    const [top = ''] = name.split('.')
    return (
      !MERGED.has(top) &&
      top !== 'providers' &&
      !isDeepStrictEqual(partAt(migration, name)?.value, partAt(into, name)?.value)
    )
  })
  if (different.length === 0) return
  const own = different.flatMap((name) => partAt(migration, name)?.from ?? [])
  remark(
    into,
    'security',
    host.section?.setting ?? null,
    `the hosts of one gateway share ${different.join(', ')}, which is that of the first host` +
      `${own.length === 0 ? '' : `, and not ${own.map((setting) => `${setting.written} (${positionOf(setting)})`).join(', ')}`}: ` +
      'give the host a gateway of its own if they must differ',
  )
}

function routesOf(one: HostMigration, upstream: unknown, provider: string | undefined): unknown[] {
  const own = partAt(one.migration, 'upstream')?.value
  const routes = partAt(one.migration, 'routes')?.value
  const list: readonly unknown[] = Array.isArray(routes) ? routes : []
  const hosts = ownUrls(one).map((url) => new URL(url).host)
  return hosts.flatMap((host) =>
    list.map((route) => {
      const { path, methods, access, ...rest } = Object.assign({ path: '/**' }, route) as Record<string, unknown>
      return {
        path,
        host,
        ...(methods === undefined ? {} : { methods }),
        ...(access === undefined ? {} : { access }),
        ...(rest['upstream'] === undefined && own !== upstream ? { upstream: own } : {}),
        ...(provider === undefined || access === 'public' ? {} : { provider }),
        ...rest,
      }
    }),
  )
}
