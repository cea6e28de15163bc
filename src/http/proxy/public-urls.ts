import type { Config } from '../../config/schema.ts'
import { hostOf } from '../../gate/match.ts'
import { prefixOf, startsWithPrefix, upstreamHostOf } from '../../gate/upstream-urls.ts'
import type { CompiledRoute, Facts } from '../../gate/verdict.ts'
import { cookieName } from './response-headers.ts'

/** How the paths of an application become public paths: `from` replaces `to` at the start of a path. */
interface Mapping {
  readonly from: string
  readonly to: string
  /** The prefix in the browser's URLs: the prefixes of the proxies in front, followed by `from`. */
  readonly publicPrefix: string
  /** The path of the request. */
  readonly path: string
  /** The hosts that the public origin replaces in the application's URLs. */
  readonly ownHosts: readonly string[]
  readonly origin: string
  readonly basePath: string
}

/** The endpoints to which an application redirects a browser, below `basePath`. */
const GATEWAY_PAGES = new Set(['login', 'start', 'sign_in', 'logout', 'sign_out'])

/** Scheme, authority, path, and the rest of an absolute URL without credentials. */
const ABSOLUTE_URL = /^(https?:)\/\/([^/?#\\@]+)((?:\/[^?#]*)?)((?:[?#].*)?)$/is
/** The path and the rest of a relative reference with an absolute path. `//` and `/\` would begin a host. */
const ABSOLUTE_PATH = /^(\/(?![/\\])[^?#]*)(.*)$/s
/** https://www.rfc-editor.org/rfc/rfc6265#section-5.2.4 */
const COOKIE_PATH = /(;\s*path\s*=\s*"?)(\/[^;"\s]*)/gi
/** https://www.rfc-editor.org/rfc/rfc6265#section-5.2.3 */
const COOKIE_DOMAIN = /;\s*domain\s*=\s*"?\.?([^;"\s]*)"?\s*(?=;|$)/gi

/**
 * Translates `Location`, `Content-Location` and cookies in a response from the application's URLs to the public ones, in
 * place: adds the prefix that the route strips or rewrites and, with `upstreamHost`, replaces the application's origin
 * with the public one. URLs that are already public, and URLs of other hosts, stay as they are.
 */
export function toPublicUrls(
  headers: string[],
  route: CompiledRoute,
  facts: Facts,
  { basePath }: Pick<Config, 'basePath'>,
): void {
  const from = prefixOf(route) ?? ''
  if (!route.prefixHeaders || (from === '' && route.upstreamHost === 'preserve')) return
  const mapping: Mapping = {
    from,
    to: route.rewritePrefix?.to ?? '',
    publicPrefix: prefixesInFront(facts) + from,
    path: facts.path,
    ownHosts: ownHosts(route),
    origin: facts.origin,
    basePath,
  }
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]?.toLowerCase()
    const value = headers[i + 1] ?? ''
    if (name === 'location' || name === 'content-location') headers[i + 1] = publicUrl(value, mapping)
    else if (name === 'set-cookie') headers[i + 1] = publicCookie(value, mapping)
  }
}

function ownHosts(route: CompiledRoute): string[] {
  if (route.upstreamHost === 'preserve') return []
  return [hostOf(route.upstream.origin), upstreamHostOf(route, '')]
}

function prefixesInFront({ client, headers }: Facts): string {
  if (!client.trusted) return ''
  const prefixes = String(headers['x-forwarded-prefix'] ?? '').split(',')
  return prefixes.map((prefix) => prefix.trim().replace(/\/$/, '')).join('')
}

function publicUrl(url: string, mapping: Mapping): string {
  const [, path, rest = ''] = ABSOLUTE_PATH.exec(url) ?? []
  if (path !== undefined) return publicPath(path, mapping) + rest
  const [, scheme = '', authority = '', absolutePath = '', suffix = ''] = ABSOLUTE_URL.exec(url) ?? []
  if (authority === '') return url
  const isNamed = (host: string): boolean => isSameHost(scheme, authority, host)
  const mapped = publicPath(absolutePath === '' ? '/' : absolutePath, mapping)
  if (isNamed(hostOf(mapping.origin))) return mapping.from === '' ? url : `${scheme}//${authority}${mapped}${suffix}`
  return mapping.ownHosts.some(isNamed) ? mapping.origin + mapped + suffix : url
}

/** Compares hosts regardless of letter case and of a default port. */
function isSameHost(scheme: string, one: string, other: string): boolean {
  const [a, b] = [`${scheme}//${one}`, `${scheme}//${other}`]
  return URL.canParse(a) && URL.canParse(b) && new URL(a).host === new URL(b).host
}

function publicPath(path: string, { from, to, publicPrefix, basePath }: Mapping): string {
  if (path.startsWith(`${basePath}/`) && GATEWAY_PAGES.has(path.slice(basePath.length + 1))) return path
  // If one prefix begins with the other, the longer one decides.
  const isPublic = startsWithPrefix(path, from) || startsWithPrefix(path, publicPrefix)
  if (isPublic && !(to.length > from.length && startsWithPrefix(path, to))) return path
  return startsWithPrefix(path, to) ? from + path.slice(to.length) : path
}

function publicCookie(cookie: string, mapping: Mapping): string {
  const named = withoutOwnDomain(cookie, mapping)
  // Browsers accept this name only with the path `/`.
  if (/^__Host-/i.test(cookieName(cookie))) return named
  const { from, to, path: requested } = mapping
  let hasPath = false
  const mapped = named.replace(COOKIE_PATH, (_, before: string, path: string) => {
    hasPath = true
    // The path `/` covers all paths of the application, including the prefix without a trailing slash.
    return before + (path === '/' && to === '' ? from || '/' : publicPath(path, mapping))
  })
  // A cookie's default path is the folder of the request's path. For the prefix itself, the folder is its parent.
  // https://www.rfc-editor.org/rfc/rfc6265#section-5.1.4
  return !hasPath && to === '' && from !== '' && requested === from ? `${mapped}; Path=${from}` : mapped
}

/** Removes a `Domain` that names the application, unless the public host belongs to that domain. */
function withoutOwnDomain(cookie: string, { ownHosts, origin }: Mapping): string {
  if (ownHosts.length === 0) return cookie
  const publicName = new URL(origin).hostname
  return cookie.replace(COOKIE_DOMAIN, (attribute: string, written: string) => {
    const domain = written.toLowerCase()
    if (publicName === domain || publicName.endsWith(`.${domain}`)) return attribute
    return ownHosts.some((host) => nameOf(host) === domain) ? '' : attribute
  })
}

/** Returns the lower-case name of a host, without its port. */
function nameOf(host: string): string {
  const url = `http://${host}`
  return URL.canParse(url) ? new URL(url).hostname : host.toLowerCase()
}
