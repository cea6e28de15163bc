import { type BaseRoute, markRouteSource, type Migration, remark } from '../migration.ts'
import { type UpstreamTarget, upstreamTarget } from '../routes.ts'
import { flagOf, literal, type Setting, textOf } from '../setting.ts'
import type { PlacedDirective, Section } from './sections.ts'

/** Where the web server forwards the requests to some paths. */
export interface Target extends UpstreamTarget, Pick<BaseRoute, 'upstreamHost' | 'timeout' | 'upstreamTls'> {
  readonly rewritePrefix?: { readonly from: string; readonly to: string }
  readonly from: Setting
}

/** A path below which requests are forwarded to a URL. */
export interface ForwardedPath {
  readonly path: string
  readonly url: string
  readonly placed: PlacedDirective
}

/**
 * Returns the targets of `ProxyPass` and `ProxyPassMatch`, and of `more`. Adds the paths that are not forwarded to
 * `closed`, because their requests would reach the application.
 */
export function targetsOf(
  directives: readonly PlacedDirective[],
  more: readonly ForwardedPath[],
  closed: Map<string, Setting>,
  migration: Migration,
): Target[] {
  const members = membersOf(directives, migration)
  const forwarded = directives.flatMap((placed): ForwardedPath[] => {
    const { directive, within } = placed
    const { args } = directive
    if (/^ProxyPassMatch$/i.test(directive.name)) return matchedPath(placed, migration)
    if (!/^ProxyPass$/i.test(directive.name)) return []
    const isInside = within.kind === 'location'
    if (isInside && !isPlainLocation(within)) {
      remark(migration, 'security', placed.setting, NOT_EXACT)
      return []
    }
    const [path = '/', url = ''] = isInside ? [within.directive?.args[0], args[0]] : args
    if (url === '!') {
      excludePath(path, placed.setting, closed, migration)
      return []
    }
    return [{ path, url, placed }]
  })
  const tls = upstreamTlsOf(directives)
  // The first target of a path counts, and mod_rewrite comes before mod_proxy.
  const targets = [...more, ...forwarded].flatMap((one): Target[] => {
    const target = targetOf(one, members, directives, migration)
    if (target === null) return []
    return target.upstream.startsWith('https:') && tls.keys !== undefined
      ? [{ ...target, upstreamTls: tls.keys }]
      : [target]
  })
  reportUpstreamTls(tls, targets, migration)
  return targets
}

function targetOf(
  { path, url: written, placed }: ForwardedPath,
  members: ReadonlyMap<string, readonly string[]>,
  directives: readonly PlacedDirective[],
  migration: Migration,
): Target | null {
  const { setting, within } = placed
  const url = memberUrl(written, members, setting, migration)
  const socket = /^unix:(\/[^|]+)\|https?:\/\/[^/]*(\/.*)?$/.exec(url)
  if (
    /^(balancer|fcgi|ajp|uwsgi|scgi):|^unix:.*\|(fcgi|scgi|uwsgi|ajp):/.test(url) ||
    (socket === null && url.startsWith('unix:'))
  ) {
    remark(
      migration,
      'gap',
      setting,
      'an upstream is an http or https origin, or unix:/path: put a load balancer or an HTTP server in between',
    )
    return null
  }
  const target =
    socket === null ? upstreamTarget(url, setting, migration) : { path: '/**', upstream: `unix:${socket[1] ?? ''}` }
  if (target === null) return null
  markRouteSource(
    migration,
    setting,
    ...(within.kind === 'location' && within.setting !== null ? [within.setting] : []),
  )
  const from = path.replace(/\/$/, '')
  const to = (socket === null ? new URL(url).pathname : (socket[2] ?? '/')).replace(/\/$/, '')
  const pattern = from === '' ? '/**' : `${from}/**`
  const { path: _, ...upstream } = { ...target, ...sentHost(directives, within, migration) }
  const application = { ...upstream, ...timeoutOf(placed) }
  if (from === to) return { path: pattern, ...application, from: setting }
  if (from !== '')
    return { path: pattern, ...application, rewritePrefix: { from, to: to === '' ? '/' : to }, from: setting }
  remark(
    migration,
    'gap',
    setting,
    'a prefix for the path of every request has no equivalent: let the application serve its root, or publish it under ' +
      'the same path',
  )
  return { path: pattern, upstream: 'http://upstream.change-me.invalid', from: setting }
}

const NOT_EXACT = 'a route cannot express its paths exactly: add a route with this upstream'

/** Returns whether a `<Location>` names a path, and no regular expression or wildcard. */
function isPlainLocation({ directive }: Section): boolean {
  return directive !== null && /^Location$/i.test(directive.name) && /^\/[^*?[\]]*$/.test(directive.args[0] ?? '')
}

/** Returns `timeout`, from the parameter of ProxyPass. */
function timeoutOf({ directive }: PlacedDirective): Pick<BaseRoute, 'timeout'> {
  const seconds = directive.args.map((arg) => /^timeout=(\d{1,6})$/i.exec(arg)?.[1]).find((one) => one !== undefined)
  return seconds === undefined || Number(seconds) === 0 ? {} : { timeout: `${Number(seconds)}s` }
}

/** Returns the members of each load balancer. */
function membersOf(
  directives: readonly PlacedDirective[],
  migration: Migration,
): ReadonlyMap<string, readonly string[]> {
  const members = new Map<string, string[]>()
  for (const { directive, within, setting } of directives) {
    if (!/^BalancerMember$/i.test(directive.name)) continue
    const isInside = within.kind === 'proxy'
    const name = isInside ? (within.directive?.args[0] ?? '') : (directive.args[0] ?? '')
    const url = isInside ? directive.args[0] : directive.args[1]
    const key = name.replace(/\/$/, '').toLowerCase()
    members.set(key, [...(members.get(key) ?? []), url ?? ''])
    markRouteSource(migration, setting, ...(within.setting === null ? [] : [within.setting]))
  }
  return members
}

function memberUrl(
  url: string,
  members: ReadonlyMap<string, readonly string[]>,
  setting: Setting,
  migration: Migration,
): string {
  const [, name, path = ''] = /^(balancer:\/\/[^/]+)(\/.*)?$/i.exec(url) ?? []
  const [first, ...others] = members.get(name?.toLowerCase() ?? '') ?? []
  if (first === undefined) return url
  if (others.length > 0)
    remark(
      migration,
      'differs',
      setting,
      `a route has one upstream, and the first of ${others.length + 1} members is used: put a load balancer or a name that ` +
        'resolves to all of them in its place',
    )
  return `${first.replace(/\/$/, '')}${path === '' ? '/' : path}`
}

const REGEX_OF_SUBTREE = /^\^(\()?(\/(?:[A-Za-z0-9_.~-]+\/)*)(\()?\.\*\)\$?$/

/** Returns the path of a regular expression that forwards everything below the path with the same rest. */
export function forwardedSubtree(regex: string, url: string): { readonly path: string; readonly url: string } | null {
  const [, outer, path = '', inner] = REGEX_OF_SUBTREE.exec(regex) ?? []
  if ((outer === undefined) === (inner === undefined) || !url.endsWith('$1')) return null
  const target = url.slice(0, -2)
  return /\$\d/.test(target)
    ? null
    : { path, url: outer === undefined ? target : `${target.replace(/\/$/, '')}${path}` }
}

function matchedPath(placed: PlacedDirective, migration: Migration): ForwardedPath[] {
  const { setting, directive, within } = placed
  const [regex = '', url = ''] =
    within.kind === 'location' ? [within.directive?.args.at(-1) ?? '', directive.args[0]] : directive.args
  const found = forwardedSubtree(regex, url)
  if (found !== null) return [{ ...found, placed }]
  remark(
    migration,
    'security',
    setting,
    url === '!'
      ? 'these paths were not forwarded, and a route cannot express them exactly: add routes for them that let no user in'
      : NOT_EXACT,
  )
  return []
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
function excludePath(path: string, setting: Setting, closed: Map<string, Setting>, migration: Migration): void {
  const from = path.replace(/\/$/, '')
  if (/^(\/[A-Za-z0-9_.~-]+)+$/.test(from)) {
    closed.set(`${from}/**`, setting)
    markRouteSource(migration, setting)
  }
  remark(
    migration,
    'security',
    setting,
    'the path was not forwarded, and the gateway serves no files: ' +
      (closed.has(`${from}/**`)
        ? 'no user is let in there until you give the route another upstream or remove it'
        : 'add a route for it'),
  )
}

interface UpstreamTls {
  readonly keys: BaseRoute['upstreamTls'] | undefined
  readonly insecure: readonly Setting[]
  readonly isVerified: boolean
  readonly settings: readonly Setting[]
}

function upstreamTlsOf(directives: readonly PlacedDirective[]): UpstreamTls {
  const last = (key: string): Setting | undefined => directives.findLast(({ setting }) => setting.key === key)?.setting
  const verify = last('SSLProxyVerify')
  const checks = ['SSLProxyCheckPeerName', 'SSLProxyCheckPeerCN', 'SSLProxyCheckPeerExpire'].map(last)
  const insecure = [
    ...(verify !== undefined && textOf(verify).toLowerCase() !== 'require' ? [verify] : []),
    ...checks.filter((setting) => setting !== undefined).filter((setting) => flagOf(setting) === false),
  ]
  const [ca, certificate] = [last('SSLProxyCACertificateFile'), last('SSLProxyMachineCertificateFile')]
  const keys = {
    ...(ca === undefined ? {} : { caFile: literal(textOf(ca)) }),
    // The file holds the certificate and its key.
    ...(certificate === undefined
      ? {}
      : { certFile: literal(textOf(certificate)), keyFile: literal(textOf(certificate)) }),
    ...(insecure.length > 0 ? { insecureSkipVerify: true } : {}),
  }
  return {
    keys: Object.keys(keys).length === 0 ? undefined : keys,
    insecure,
    isVerified: verify !== undefined || ca !== undefined,
    settings: [verify, ...checks, ca, certificate].filter((setting) => setting !== undefined),
  }
}

function reportUpstreamTls(tls: UpstreamTls, targets: readonly Target[], migration: Migration): void {
  const secure = targets.filter(({ upstream }) => upstream.startsWith('https:'))
  const [first] = secure
  if (first === undefined) {
    for (const setting of tls.settings) remark(migration, 'builtin', setting, 'no upstream uses https')
    return
  }
  markRouteSource(migration, ...tls.settings)
  for (const setting of tls.insecure)
    remark(
      migration,
      'security',
      setting,
      `the certificate of ${first.upstream} is not verified, as before (upstreamTls.insecureSkipVerify): set ` +
        'upstreamTls.caFile instead',
    )
  if (!tls.isVerified && tls.insecure.length === 0)
    remark(
      migration,
      'differs',
      first.from,
      'the certificate of the upstream is verified, which Apache does only with SSLProxyVerify: if a CA of your own ' +
        'signed it, set upstreamTls.caFile',
    )
}
