/** The host part of a public origin, as routes name it. */
export function hostOf(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2)
}

const DEFAULT_PORT = { 'https:': ':443', 'http:': ':80' }

/**
 * Which of the public origins a Host (RFC 9110, section 7.2) names, port included; without a port also the one of that
 * name on another port, where there is just one.
 */
export function originsByHost(publicUrls: readonly string[]): (host: string) => string | null {
  const byHost = new Map<string, string>()
  for (const origin of publicUrls) {
    const { hostname, port, protocol } = new URL(origin)
    if (port === '') byHost.set(hostname + DEFAULT_PORT[protocol === 'http:' ? 'http:' : 'https:'], origin)
    const ofThatName = publicUrls.filter((other) => new URL(other).hostname === hostname)
    if (ofThatName.length === 1) byHost.set(hostname, origin)
  }
  // Last, so that a name without a port is first of all that of the origin without one.
  for (const origin of publicUrls) byHost.set(hostOf(origin), origin)
  return (host) => byHost.get(host.toLowerCase()) ?? null
}
