import { METHODS, type IncomingHttpHeaders } from 'node:http'
import { isCrossOrigin } from '../../gate/csrf.ts'
import { type RouteTable, hostOf } from '../../gate/match.ts'
import type { PublicOrigins } from '../../gate/public-origins.ts'
import type { Facts, FinalDenial } from '../../gate/verdict.ts'
import { readTarget } from '../target.ts'

export interface AuthUrl {
  /** The path and query of the described request if they follow the endpoint's own path, otherwise `null`. */
  readonly described: string | null
  /** Whether a denied navigation is redirected to the login. */
  readonly redirect: boolean
}

/** The path of the endpoint for a proxy that appends the path and query of the described request to it. */
const REDIRECTING = '/auth-redirect'

/** Parses the URL of a forward-auth request. Returns `null` if the URL is not a forward-auth endpoint. */
export function readAuthUrl({ path, query }: Pick<Facts, 'path' | 'query'>, basePath: string): AuthUrl | null {
  const whole = `${basePath}/auth`
  if (path === '/auth' || path === whole) {
    return { described: null, redirect: new URLSearchParams(query).get('redirect') === 'true' }
  }
  const owns = [whole, `${basePath}${REDIRECTING}`, '/auth', REDIRECTING].filter(
    // With a base path of `/auth`, a path after the short form would be ambiguous.
    (one) => one.startsWith(`${basePath}/`) || !whole.startsWith(`${one}/`),
  )
  const own = owns.find((one) => path.startsWith(`${one}/`))
  // The query belongs to the described request.
  return own === undefined ? null : { described: path.slice(own.length) + query, redirect: own.endsWith(REDIRECTING) }
}

const NEVER_ALLOWED = new Set(['TRACE', 'TRACK', 'CONNECT'])

/** Thrown for a malformed description, and caught in this file. */
class Malformed extends Error {}

/**
 * Returns the facts of the request that a proxy describes. Returns a denial if the description is missing or
 * contradictory, if the described request is malformed, or if its method is never allowed.
 */
export function describedBy(
  url: AuthUrl,
  facts: Facts,
  origins: PublicOrigins,
  routes: DependsOnMethod,
): Facts | FinalDenial {
  try {
    return readDescription(url, facts, origins, routes)
  } catch (error) {
    if (error instanceof Malformed) return { reason: 'malformed', cause: error.message }
    throw error
  }
}

function readDescription(
  { described }: AuthUrl,
  facts: Facts,
  origins: PublicOrigins,
  routes: DependsOnMethod,
): Facts | FinalDenial {
  const { headers } = facts
  const url = text(headers, 'x-original-url')
  const uris = [
    url === null ? null : url.replace(/^https?:\/\/[^/?#\\]*/i, '') || '/',
    text(headers, 'x-original-uri'),
    text(headers, 'x-forwarded-uri'),
  ]
  if (described !== null && uris.some((uri) => uri !== null)) {
    throw new Malformed('both the path of the URL and a header describe the request')
  }
  // The path `/` comes from Envoy for a request of the page `/`, or from a proxy that is configured to send no path. Envoy
  // always sends Content-Length, so a request without it is a mistake in the configuration.
  if (described === '/' && headers['content-length'] === undefined)
    throw new Malformed('the path of the URL describes no request')
  const uri = agreed('URI', [...uris, described])
  if (uri === null) throw new Malformed('no X-Original-URL, X-Original-URI or X-Forwarded-Uri names the request')
  const named = agreed('method', [
    text(headers, 'x-original-method'),
    text(headers, 'x-forwarded-method'),
    described === null ? null : facts.method,
  ])
  const target = readTarget(uri, origins)
  if (!target.ok) throw new Malformed(target.problem)
  const method = named ?? facts.method
  // The proxy must not forward TRACE either, because its response would show the token to the client.
  if (NEVER_ALLOWED.has(method)) return { reason: 'method-not-allowed', allow: null }
  if (!METHODS.includes(method)) throw new Malformed('the method is not one that Node.js knows')
  const about: Facts = {
    ...facts,
    method,
    origin: originNamed(url, target.origin, facts, origins),
    path: target.path,
    query: target.query,
  }
  if (named === null && dependsOnMethod(about, routes)) {
    throw new Malformed(
      'neither X-Original-Method nor X-Forwarded-Method names the method, on which the verdict depends',
    )
  }
  return about
}

type DependsOnMethod = Pick<RouteTable, 'dependsOnMethod'>

function dependsOnMethod(about: Facts, routes: DependsOnMethod): boolean {
  const byOrigin = about.headers.origin !== undefined && isCrossOrigin(about)
  return byOrigin || routes.dependsOnMethod(hostOf(about.origin), about.method, about.path)
}

/**
 * Returns the public origin of the described request. Uses the hosts in the description, which must agree, or without
 * any, the Host of the proxy's own request. With several public URLs, throws for an unknown host, because the proxy
 * forwards the request to that host.
 */
function originNamed(url: string | null, ofTarget: string | null, { headers }: Facts, origins: PublicOrigins): string {
  const forwarded = text(headers, 'x-forwarded-host')
  if (forwarded !== null && /[,\s]/.test(forwarded)) throw new Malformed('X-Forwarded-Host names more than one host')
  const hosts = [
    url === null || url.startsWith('/') ? null : hostOfUrl(url),
    ofTarget === null ? null : hostOf(ofTarget),
    forwarded?.toLowerCase() ?? null,
  ]
    .filter((host) => host !== null)
    .map(withoutRoot)
  // Compares hosts without ports, because some proxies omit the port.
  agreed(
    'host',
    hosts.map((host) => host.replace(/:\d+$/, '')),
  )
  const named = (hosts.length === 0 ? [withoutRoot(headers.host ?? '')] : hosts).map((host) => origins.find(host))
  if (!origins.isSingle && named.includes(null)) throw new Malformed('the host of the request is in no publicUrl')
  return agreed('host', named) ?? origins.fallback
}

/** Removes the dot of the DNS root from the end of a host name. */
function withoutRoot(host: string): string {
  return host.replace(/\.(?=:\d+$|$)/, '')
}

function hostOfUrl(url: string): string {
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url))
    throw new Malformed('X-Original-URL is neither a path nor a URL')
  return new URL(url).host
}

/** Returns the only value that is not `null`, or `null`. Throws if there are different values. */
function agreed(what: string, candidates: readonly (string | null)[]): string | null {
  const values = new Set(candidates.filter((value) => value !== null))
  if (values.size > 1) throw new Malformed(`the proxy’s headers name different ${what}s`)
  return [...values][0] ?? null
}

function text(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name]
  return typeof value === 'string' && value !== '' ? value : null
}
