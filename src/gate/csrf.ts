import type { Session } from '../session/session.ts'
import type { CompiledRoute, Facts } from './verdict.ts'

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Whether a request with a session may have its effect: safe methods (RFC 9110, section 9.2.1) always, others only when
 * the browser does not say that another origin sent them. WebSocket upgrades are GETs with an effect.
 */
export function provesOrigin(facts: Facts, route: CompiledRoute, session: Session | null): boolean {
  if (session === null || route.csrf === 'off') return true
  // A proxy that asks for a verdict may have kept Upgrade, which is for one hop only, to itself.
  const { method, headers } = facts
  const upgrade = headers.upgrade !== undefined || headers['sec-websocket-key'] !== undefined
  if (SAFE.has(method) && !upgrade) return true
  // A browser names the origin of every WebSocket (RFC 6455, section 4.1), whatever else it says.
  return !isCrossOrigin(facts) && !(upgrade && namesAnother(facts))
}

/** Whether the browser says that another origin, a neighbouring one included, sent the request. */
export function isCrossOrigin({ headers, origin }: Pick<Facts, 'headers' | 'origin'>): boolean {
  const site = headers['sec-fetch-site']
  if (site === 'cross-site' || site === 'same-site') return true
  if (site === 'same-origin' || site === 'none') return false
  return namesAnother({ headers, origin })
}

function namesAnother({ headers, origin }: Pick<Facts, 'headers' | 'origin'>): boolean {
  return headers.origin !== undefined && headers.origin !== origin
}
