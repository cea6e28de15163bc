import { createSecureContext } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import type { Finding, PlacedRoute, Rule } from './rule.ts'
import { isLoopback, withoutBrackets } from '../kinds/address.ts'
import type { Config, Listen, Route } from '../schema.ts'

const anyHost = new Set(['0.0.0.0', '::'])

/** The listener of the name takes all of these. */
const localhost = new Set(['localhost', '127.0.0.1', '::1'])

function sameAddress(a: Listen, b: Listen): boolean {
  if ('path' in a || 'path' in b) return 'path' in a && 'path' in b && a.path === b.path
  if (a.port === 0 || a.port !== b.port) return false
  const hosts = [a.host, b.host]
  if (hosts.includes('localhost') && hosts.every((host) => localhost.has(host))) return true
  return a.host === b.host || hosts.some((host) => anyHost.has(host))
}

function findOrigins({ publicUrl }: Config): Finding[] {
  const secure = publicUrl.filter((url) => url.startsWith('https:')).length
  const mixed: Finding[] =
    secure === 0 || secure === publicUrl.length
      ? []
      : [
          {
            path: ['publicUrl'],
            message: 'mixes http and https, which cannot share one cookie',
            instead: 'use https for all of them',
          },
        ]
  const findings = publicUrl.flatMap((url, index): Finding[] => {
    const path = ['publicUrl', index]
    if (publicUrl.indexOf(url) !== index) return [{ path, message: `names ${url} twice`, instead: 'keep one of them' }]
    if (url.startsWith('https:') || isLoopback(new URL(url).hostname)) return []
    const message = `${url} is plain http: the session cookie travels in clear`
    return [{ path, message, instead: 'use https', warning: true }]
  })
  return [...mixed, ...findings]
}

function findListeners({ listen, admin, forwardAuth, tls }: Config): Finding[] {
  const findings: Finding[] = []
  if (tls !== null && 'path' in listen) {
    const instead = 'leave tls out, or listen on host:port'
    findings.push({ path: ['tls'], part: 'key', message: 'does not go with a Unix socket', instead })
  }
  if (admin !== null && sameAddress(listen, admin.listen)) {
    findings.push({
      path: ['admin', 'listen'],
      message: 'is the address of the public listener',
      instead: 'give it a port of its own, such as 127.0.0.1:9090',
    })
  }
  if (forwardAuth === null) return findings
  const taken = sameAddress(listen, forwardAuth.listen)
    ? 'public'
    : admin !== null && sameAddress(admin.listen, forwardAuth.listen)
      ? 'admin'
      : null
  if (taken !== null) {
    findings.push({
      path: ['forwardAuth', 'listen'],
      message: `is the address of the ${taken} listener`,
      instead: 'give it a port of its own, such as 127.0.0.1:8081',
    })
  }
  return findings
}

/** Every address at which the gateway itself listens, by its key. */
function listenersOf({ listen, admin, forwardAuth }: Config): readonly (readonly [key: string, at: Listen])[] {
  return [
    ['listen', listen],
    ...(admin === null ? [] : [['admin.listen', admin.listen] as const]),
    ...(forwardAuth === null ? [] : [['forwardAuth.listen', forwardAuth.listen] as const]),
  ]
}

/** Whether requests to an upstream arrive at a listener; what names of other machines stand for is not asked. */
function leadsTo({ origin, socketPath }: Route['upstream'], at: Listen): boolean {
  if (socketPath !== null || 'path' in at) return 'path' in at && at.path === socketPath
  const { protocol, hostname, port } = new URL(origin)
  if (at.port === 0 || at.port !== Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port)) return false
  const host = withoutBrackets(hostname)
  if (host === at.host) return true
  return addressesOf(host).some((address) =>
    anyHost.has(at.host)
      ? isLoopback(address) && (at.host === '::' || !address.includes(':'))
      : addressesOf(at.host).includes(address),
  )
}

/** What a client that connects to a host of this machine may mean. */
function addressesOf(host: string): string[] {
  if (host === 'localhost' || host === '::') return ['127.0.0.1', '::1']
  return [host === '0.0.0.0' ? '127.0.0.1' : host]
}

function findLoops(config: Config, routes: readonly PlacedRoute[]): Finding[] {
  const found = new Map<string, Finding>()
  for (const { route, at } of routes) {
    // A missing upstream is another rule's finding.
    const upstream = route.upstream as Route['upstream'] | null
    if (upstream === null) continue
    const own = listenersOf(config).find(([, address]) => leadsTo(upstream, address))
    const key =
      own?.[0] ?? (upstream.socketPath === null && config.publicUrl.includes(upstream.origin) ? 'publicUrl' : null)
    if (key === null) continue
    const path = isDeepStrictEqual(upstream, config.upstream) ? ['upstream'] : [...at, 'upstream']
    found.set(JSON.stringify(path), {
      path,
      message: `is the gateway's own address (${key}): its requests would come back to it`,
      instead: 'name the address where the application itself listens, such as http://127.0.0.1:3000',
    })
  }
  return [...found.values()]
}

function findTls({ tls }: Config): Finding[] {
  if (tls === null) return []
  try {
    createSecureContext({ cert: tls.certFile.content, key: tls.keyFile.content })
    return []
  } catch {
    const instead = 'give the two that belong together'
    return [{ path: ['tls', 'keyFile'], message: 'is not the key of the certificate in certFile', instead }]
  }
}

function findTrust({ trustedProxies }: Config): Finding[] {
  return trustedProxies.flatMap((range, index): Finding[] =>
    range.endsWith('/0')
      ? [
          {
            path: ['trustedProxies', index],
            message: `${range} believes the X-Forwarded-* headers of every client`,
            instead: 'name the addresses of the proxies in front',
            warning: true,
          },
        ]
      : [],
  )
}

function findWorkers({ workers, session }: Config): Finding[] {
  if (workers === 1 || session.store.kind !== 'memory') return []
  const instead = 'give session.store a redis:// URL'
  return [{ path: ['workers'], message: 'more than one needs a store that they share', instead }]
}

/** The rules about where and how the gateway is reached. */
export const checkServing: readonly Rule[] = [
  { reads: ['publicUrl'], find: findOrigins },
  { reads: ['listen', 'admin', 'forwardAuth', 'tls'], find: findListeners },
  { reads: ['listen', 'admin', 'forwardAuth', 'publicUrl', 'upstream'], routeReads: ['upstream'], find: findLoops },
  { reads: ['tls'], find: findTls },
  { reads: ['trustedProxies'], find: findTrust },
  { reads: ['workers', 'session.store'], find: findWorkers },
]
