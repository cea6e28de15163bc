import type { Session } from '../session/session.ts'
import { allowsOrigin } from './cors.ts'
import type { CompiledRoute, Facts } from './verdict.ts'

/** The safe methods that applications use. @see https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1 */
export const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Returns whether a request passes the CSRF check. The check fails if the request has a session and an unsafe method
 * and the browser reports another origin that `cors` does not list. A WebSocket upgrade counts as unsafe, although it is
 * a GET.
 */
export function passesCsrfCheck(facts: Facts, route: CompiledRoute, session: Session | null): boolean {
  if (session === null || route.csrf === 'off') return true
  // A proxy that uses forward-auth may not pass Upgrade on, because it is a hop-by-hop header.
  const { method, headers } = facts
  const upgrade = headers.upgrade !== undefined || headers['sec-websocket-key'] !== undefined
  if ((SAFE_METHODS.has(method) && !upgrade) || allowsOrigin(route, headers.origin)) return true
  // Browsers send Origin with every WebSocket: https://www.rfc-editor.org/rfc/rfc6455#section-4.1.
  return !isCrossOrigin(facts) && !(upgrade && hasForeignOrigin(facts))
}

/** Returns whether the browser reports that another origin, even one of the same site, sent the request. */
export function isCrossOrigin({ headers, origin }: Pick<Facts, 'headers' | 'origin'>): boolean {
  const site = headers['sec-fetch-site']
  if (site === 'cross-site' || site === 'same-site') return true
  if (site === 'same-origin' || site === 'none') return false
  return hasForeignOrigin({ headers, origin })
}

function hasForeignOrigin({ headers, origin }: Pick<Facts, 'headers' | 'origin'>): boolean {
  return headers.origin !== undefined && headers.origin !== origin
}
