import type { Route } from '../../config/schema.ts'

/** Returns the path that goes upstream: the raw path, except for a prefix that the route strips or rewrites. */
export function upstreamPath(route: Pick<Route, 'stripPrefix' | 'rewritePrefix'>, path: string): string {
  const from = route.rewritePrefix?.from ?? route.stripPrefix
  if (from === null || !startsWithPrefix(path, from)) return path
  const rest = path.slice(from.endsWith('/') ? from.length - 1 : from.length)
  const to = route.rewritePrefix?.to.replace(/\/$/, '') ?? ''
  return `${to}${rest}` === '' ? '/' : `${to}${rest}`
}

function startsWithPrefix(path: string, prefix: string): boolean {
  return (
    path.startsWith(prefix) && (prefix.endsWith('/') || path.length === prefix.length || path[prefix.length] === '/')
  )
}
