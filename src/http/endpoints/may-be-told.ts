import type { Facts } from '../../gate/verdict.ts'

/** What only a browser sends, or a proxy adds that passes somebody's request on. */
const PASSED_ON = ['sec-fetch-mode', 'sec-fetch-site', 'sec-fetch-dest', 'forwarded', 'via', 'x-real-ip']

/** How nginx, Traefik and Caddy say which request they ask about. */
const DESCRIPTIONS = ['x-original-url', 'x-original-uri', 'x-forwarded-uri']

/**
 * Whether whoever calls the forward-auth endpoint (`own` is its path) may hear what would go upstream: a trusted proxy
 * that asks about another request, `described`. A load balancer that passes on what a browser sends here describes
 * none, or this very one; and for a path behind this one's anybody may ask.
 */
export function mayBeTold({ path, headers, client }: Facts, described: Facts, own: string): boolean {
  if (!client.trusted || described.path.endsWith(own)) return false
  if (path === own && DESCRIPTIONS.some((name) => headers[name] !== undefined)) return true
  const passedOn = client.address !== client.peer || PASSED_ON.some((name) => headers[name] !== undefined)
  return !passedOn || (path !== own && isEnvoys(headers))
}

/** Envoy's own request says so, and announces an empty body whatever its method: no browser does that with a GET. */
function isEnvoys(headers: Facts['headers']): boolean {
  return headers['x-envoy-internal'] !== undefined && headers['content-length'] === '0'
}
