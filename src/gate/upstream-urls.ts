import type { Route } from '../config/schema.ts'
import { hostOf } from './match.ts'
import type { CompiledRoute } from './verdict.ts'

/** Returns the prefix that the route strips or rewrites, or `null`. */
export function prefixOf({ rewritePrefix, stripPrefix }: Pick<Route, 'rewritePrefix' | 'stripPrefix'>): string | null {
  return rewritePrefix?.from ?? stripPrefix
}

/** Returns whether a path begins with all segments of a prefix. */
export function startsWithPrefix(path: string, prefix: string): boolean {
  return (
    path.startsWith(prefix) && (prefix.endsWith('/') || path.length === prefix.length || path[prefix.length] === '/')
  )
}

/** Returns the path that goes upstream: the raw path, except for a prefix that the route strips or rewrites. */
export function upstreamPath(route: Pick<Route, 'stripPrefix' | 'rewritePrefix'>, path: string): string {
  const from = prefixOf(route)
  if (from === null || !startsWithPrefix(path, from)) return path
  const rest = path.slice(from.endsWith('/') ? from.length - 1 : from.length)
  const to = route.rewritePrefix?.to.replace(/\/$/, '') ?? ''
  return `${to}${rest}` === '' ? '/' : `${to}${rest}`
}

/** Returns the Host that the application receives for a request to this public host. */
export function upstreamHostOf({ upstreamHost, upstream }: CompiledRoute, publicHost: string): string {
  if (upstreamHost === 'preserve') return publicHost
  return upstreamHost === 'upstream' ? hostOf(upstream.origin) : upstreamHost
}

/**
 * Returns the origin of the application's URLs as the application sees them: the public origin or, with `upstreamHost`,
 * the scheme of the connection and the Host that the gateway sends.
 */
export function upstreamOrigin(route: CompiledRoute, publicOrigin: string): string {
  if (route.upstreamHost === 'preserve') return publicOrigin
  return `${new URL(route.upstream.origin).protocol}//${upstreamHostOf(route, '')}`
}
