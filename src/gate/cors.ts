import type { IncomingHttpHeaders } from 'node:http'
import type { Route } from '../config/schema.ts'
import { hostOf, type RouteTable } from './match.ts'
import type { PublicOrigins } from './public-origins.ts'
import type { CompiledRoute, Facts } from './verdict.ts'

type CorsHeaders = Readonly<Record<string, string>>

/** Returns the CORS headers for a request that ended before the gate chose its route. `host` is the public host. */
export type FindCors = (method: string, path: string, headers: IncomingHttpHeaders, host?: string) => CorsHeaders

const NONE: CorsHeaders = {}
const VARY_ONLY: CorsHeaders = { vary: 'Origin' }

/** The response headers that pages of other origins may read in addition to those that browsers always show. */
const EXPOSED = 'WWW-Authenticate, Mcp-Session-Id, DPoP-Nonce'

/** How long a browser may cache the response to a preflight request: the maximum of Chromium. */
const MAX_AGE_S = 7_200

const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/
const TOKEN_LIST = /^[\w!#$%&'*+.^`|~-]+(?:[ \t]*,[ \t]*[\w!#$%&'*+.^`|~-]+)*$/
const MAX_LIST_CHARACTERS = 4_096

/** Returns whether pages of this origin may call the route with the cookies of the user. */
export function allowsOrigin({ cors }: Pick<Route, 'cors'>, origin: string | undefined): origin is string {
  return cors !== null && origin !== undefined && cors.origins.includes(origin)
}

/**
 * Returns the route that a CORS preflight request asks about, or `null` for other requests and for origins that may not
 * call that route. The route is that of the method that the page wants to use, not that of OPTIONS.
 * @see https://fetch.spec.whatwg.org/#cors-preflight-request
 */
export function preflightRoute(
  routes: Pick<RouteTable, 'match' | 'conflictingVariant'>,
  { method, path, headers, origin: publicOrigin }: Facts,
): CompiledRoute | null {
  if (method !== 'OPTIONS') return null
  const wanted = headers['access-control-request-method']
  if (headers.origin === undefined || wanted === undefined || !TOKEN.test(wanted)) return null
  const host = hostOf(publicOrigin)
  const route = routes.match(host, wanted, path)
  if (route === null || route === 'endpoint' || !allowsOrigin(route, headers.origin)) return null
  return routes.conflictingVariant(host, wanted, path, route) === null ? route : null
}

/** Returns the headers of the response to a preflight request for which `preflightRoute` has found a route. */
export function preflightHeaders({ headers }: Pick<Facts, 'headers'>): CorsHeaders {
  const names = headers['access-control-request-headers']
  return {
    'access-control-allow-origin': headers.origin ?? '',
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': headers['access-control-request-method'] ?? '',
    ...(names !== undefined && names.length <= MAX_LIST_CHARACTERS && TOKEN_LIST.test(names)
      ? { 'access-control-allow-headers': names }
      : {}),
    // https://wicg.github.io/private-network-access/#cors-preflight
    ...(headers['access-control-request-private-network'] === 'true'
      ? { 'access-control-allow-private-network': 'true' }
      : {}),
    'access-control-max-age': String(MAX_AGE_S),
    'vary': 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
  }
}

/** Returns the CORS headers of the gateway's own response to a request of the route. */
export function corsHeaders(route: Pick<Route, 'cors'>, origin: string | undefined): CorsHeaders {
  if (route.cors === null) return NONE
  if (!allowsOrigin(route, origin)) return VARY_ONLY
  return {
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': EXPOSED,
    ...VARY_ONLY,
  }
}

export function compileCors(routes: Pick<RouteTable, 'match'>, origins: PublicOrigins): FindCors {
  return (method, path, headers, host = hostOf(origins.find(headers.host ?? '') ?? origins.fallback)) => {
    if (!path.startsWith('/')) return NONE
    const route = routes.match(host, method, path)
    return route === null || route === 'endpoint' ? NONE : corsHeaders(route, headers.origin)
  }
}

/**
 * Adds the CORS headers to an application's response, a list of name, value, name, value …. Changes nothing if the
 * application sends `Access-Control-Allow-Origin` itself. Adds `Vary` even if the request has no `Origin`, because a
 * cache would use the response for other origins.
 * @see https://fetch.spec.whatwg.org/#cors-protocol-and-http-caches
 */
export function addCorsHeaders(headers: string[], route: Pick<Route, 'cors'>, origin: string | undefined): void {
  let varyAt = -1
  let varies = false
  let credentialsAt = -1
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]?.toLowerCase()
    if (name === 'access-control-allow-origin') return
    if (name === 'access-control-allow-credentials') credentialsAt = i
    if (name === 'vary') {
      varyAt = i
      varies ||= /(?:^|[\s,])(?:\*|origin)(?=$|[\s,])/i.test(headers[i + 1] ?? '')
    }
  }
  if (varyAt === -1) headers.push('Vary', 'Origin')
  else if (!varies) headers[varyAt + 1] = [headers[varyAt + 1], 'Origin'].join(', ')
  if (!allowsOrigin(route, origin)) return
  // Browsers reject a repeated value (`true, true`).
  if (credentialsAt === -1) headers.push('Access-Control-Allow-Credentials', 'true')
  else headers[credentialsAt + 1] = 'true'
  headers.push('Access-Control-Allow-Origin', origin, 'Access-Control-Expose-Headers', EXPOSED)
}
