import { X509Certificate } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { normalize } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Finding } from '../problems.ts'
import type { Listen, ResolvedConfig } from '../schema.ts'
import { isLoopback, isWildcard, type Upstream, wildcardOf, withoutBrackets } from '../value-types/address.ts'
import { findKeyMismatch, type PlacedRoute, type Rule } from './rule.ts'

const WILDCARD_HOSTS = new Set(['0.0.0.0', '::'])

/** A listener on `localhost` may occupy its port on all of these hosts. */
const LOCALHOST = new Set(['localhost', '127.0.0.1', '::1'])

function isSamePath(a: string, b: string): boolean {
  return normalize(a) === normalize(b)
}

function collide(a: Listen, b: Listen): boolean {
  if ('path' in a || 'path' in b) return 'path' in a && 'path' in b && isSamePath(a.path, b.path)
  if (a.port === 0 || a.port !== b.port) return false
  const hosts = [a.host, b.host]
  if (hosts.includes('localhost') && hosts.every((host) => LOCALHOST.has(host))) return true
  return a.host === b.host || hosts.some((host) => WILDCARD_HOSTS.has(host))
}

function findOrigins({ publicUrl }: ResolvedConfig): Finding[] {
  const secure = publicUrl.filter((url) => url.startsWith('https:')).length
  const mixed: Finding[] =
    secure === 0 || secure === publicUrl.length
      ? []
      : [
          {
            path: ['publicUrl'],
            message: 'mixes http and https, which cannot share a cookie',
            instead: 'use https for all of them',
          },
        ]
  const findings = publicUrl.flatMap((url, index): Finding[] => {
    const path = ['publicUrl', index]
    if (publicUrl.indexOf(url) !== index) return [{ path, message: `names ${url} twice`, instead: 'keep one of them' }]
    if (url.startsWith('https:') || isLoopback(new URL(url).hostname)) return []
    const message = `${url} is plain http: the session cookie is sent unencrypted`
    return [{ path, message, instead: 'use https', warning: true }]
  })
  return [...mixed, ...findings]
}

function findLoginHost({ publicUrl, loginHost, session }: ResolvedConfig): Finding[] {
  const wildcard = publicUrl.findIndex(isWildcard)
  if (loginHost === null) {
    if (wildcard === -1) return []
    const message =
      `must name one host, not ${publicUrl[wildcard]}, unless loginHost is set: ` +
      'a provider redirects to registered hosts only'
    const instead = `set loginHost to one origin, such as ${publicUrl[wildcard]?.replace('*', 'auth')}`
    return [{ path: ['publicUrl', wildcard], message, instead }]
  }
  if (!publicUrl.includes(loginHost) && !publicUrl.includes(wildcardOf(loginHost) ?? '')) {
    const instead = 'add it to publicUrl, or use one of the origins there'
    return [{ path: ['loginHost'], message: `${loginHost} is not in publicUrl`, instead }]
  }
  if (session.cookie.domain !== null) return []
  return [
    {
      path: ['loginHost'],
      message: 'needs session.cookie.domain, so that all hosts get the session cookie',
      instead: 'set session.cookie.domain to a parent domain of every publicUrl, such as example.com',
    },
  ]
}

/** The listeners besides the public one, each with what to do if its address is taken. */
const OTHER_LISTENERS = [
  { path: ['admin', 'listen'], name: 'admin', instead: 'give it a port of its own, such as 127.0.0.1:9090' },
  {
    path: ['forwardAuth', 'listen'],
    name: 'forward-auth',
    instead: 'give it a port of its own, such as 127.0.0.1:8081',
  },
  { path: ['tls', 'redirectFrom'], name: 'redirecting', instead: 'use different ports, such as listen: 0.0.0.0:8443' },
] as const

function findListeners(config: ResolvedConfig): Finding[] {
  const { listen, tls } = config
  const findings: Finding[] = []
  if (tls !== null && 'path' in listen) {
    const instead = 'remove tls, or listen on host:port'
    findings.push({ path: ['tls'], part: 'key', message: 'cannot be combined with a Unix socket', instead })
  }
  const all = new Map(listenersOf(config))
  const earlier: { readonly name: string; readonly at: Listen }[] = [{ name: 'public', at: listen }]
  for (const { path, name, instead } of OTHER_LISTENERS) {
    const at = all.get(path.join('.'))
    if (at === undefined) continue
    const taken = earlier.find((other) => collide(other.at, at))
    if (taken !== undefined) {
      const message = `is the address of the ${taken.name} listener`
      findings.push({ path: [...path], message, instead })
    }
    earlier.push({ name, at })
  }
  return findings
}

function findRedirect({ tls, publicUrl }: ResolvedConfig): Finding[] {
  if ((tls?.redirectFrom ?? null) === null || publicUrl.every((url) => url.startsWith('https:'))) return []
  const message = 'needs an https publicUrl, because it redirects there'
  return [{ path: ['tls', 'redirectFrom'], part: 'key', message, instead: 'use an https publicUrl' }]
}

function findProxyProtocol({ listenProxyProtocol, trustedProxies }: ResolvedConfig): Finding[] {
  if (!listenProxyProtocol || trustedProxies.length > 0) return []
  const message = 'needs trustedProxies: the gateway would close every connection'
  const instead = 'list the addresses of the proxies that send the header'
  return [{ path: ['listenProxyProtocol'], part: 'key', message, instead }]
}

function findListenMode({ listen, listenMode }: ResolvedConfig): Finding[] {
  if (listenMode === null || 'path' in listen) return []
  const instead = 'leave it out, or listen on unix:/path'
  return [{ path: ['listenMode'], part: 'key', message: 'needs a Unix socket in listen', instead }]
}

function listenersOf({
  listen,
  admin,
  forwardAuth,
  tls,
}: ResolvedConfig): readonly (readonly [key: string, at: Listen])[] {
  const redirectFrom = tls?.redirectFrom ?? null
  return [
    ['listen', listen],
    ...(admin === null ? [] : [['admin.listen', admin.listen] as const]),
    ...(forwardAuth === null ? [] : [['forwardAuth.listen', forwardAuth.listen] as const]),
    ...(redirectFrom === null ? [] : [['tls.redirectFrom', redirectFrom] as const]),
  ]
}

/**
 * Returns whether requests to an upstream arrive at a listener. Does not resolve host names, except `localhost`, and
 * assumes that the gateway will run on this machine.
 */
function leadsTo({ origin, socketPath }: Upstream, at: Listen): boolean {
  if (socketPath !== null || 'path' in at) return socketPath !== null && 'path' in at && isSamePath(at.path, socketPath)
  const { protocol, hostname, port } = new URL(origin)
  if (at.port === 0 || at.port !== Number(port === '' ? (protocol === 'https:' ? 443 : 80) : port)) return false
  const host = plainHost(withoutBrackets(hostname))
  const listening = plainHost(at.host)
  if (host === listening) return true
  return addressesOf(host).some((address) =>
    WILDCARD_HOSTS.has(listening)
      ? isOfThisMachine(address) && (listening === '::' || !address.includes(':'))
      : addressesOf(listening).includes(address),
  )
}

/** Returns a host name without its trailing dot, and an IP address in canonical form, an IPv4-mapped one as IPv4. */
function plainHost(host: string): string {
  if (!isIPv6(host)) return host.replace(/\.$/, '')
  const shortened = withoutBrackets(new URL(`http://[${host}]`).hostname)
  const [, high, low] = /^::ffff:([\da-f]+):([\da-f]+)$/.exec(shortened) ?? []
  if (high === undefined || low === undefined) return shortened
  const [left, right] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return [left >> 8, left & 0xff, right >> 8, right & 0xff].join('.')
}

function isOfThisMachine(address: string): boolean {
  if (isLoopback(address)) return true
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return interfaces.some((own) => own.address === address)
}

/** Returns the addresses that a client may connect to for a host of this machine. */
function addressesOf(host: string): string[] {
  if (host === 'localhost' || host === '::') return ['127.0.0.1', '::1']
  return [host === '0.0.0.0' ? '127.0.0.1' : host]
}

function findLoops(config: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  const found = new Map<string, Finding>()
  for (const { route, at } of routes) {
    const { upstream } = route
    // Another rule reports a missing upstream.
    if (upstream === null) continue
    const own = listenersOf(config).find(([, address]) => leadsTo(upstream, address))
    const key =
      own?.[0] ?? (upstream.socketPath === null && config.publicUrl.includes(upstream.origin) ? 'publicUrl' : null)
    if (key === null) continue
    const path = isDeepStrictEqual(upstream, config.upstream) ? ['upstream'] : [...at, 'upstream']
    found.set(JSON.stringify(path), {
      path,
      message: `is the gateway's own address (${key}): requests would loop back to the gateway`,
      instead: 'use the address that the application itself listens on, such as http://127.0.0.1:3000',
    })
  }
  return [...found.values()]
}

function findTls({ tls }: ResolvedConfig): Finding[] {
  if (tls === null) return []
  const { certFile, keyFile, minVersion, ciphers } = tls
  const findings = findKeyMismatch(certFile, keyFile, ['tls'])
  const { validFrom, validTo } = new X509Certificate(certFile.content)
  const [begins, ends, now] = [Date.parse(validFrom), Date.parse(validTo), Date.now()]
  if (now < begins || now > ends) {
    const message = now > ends ? `expired on ${dateOf(ends)}` : `is not valid before ${dateOf(begins)}`
    findings.push({ path: ['tls', 'certFile'], message, instead: 'renew the certificate', warning: true })
  }
  if (minVersion === '1.3' && ciphers !== null && !/(?:^|:)TLS_/.test(ciphers)) {
    const message = 'has no cipher suite of TLS 1.3, so with minVersion 1.3 it has no effect'
    const instead = 'use suites of TLS 1.3, such as TLS_AES_256_GCM_SHA384, or leave it out'
    findings.push({ path: ['tls', 'ciphers'], message, instead, warning: true })
  }
  return findings
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

function findTrust({ trustedProxies }: ResolvedConfig): Finding[] {
  return trustedProxies.flatMap((range, index): Finding[] =>
    range.endsWith('/0')
      ? [
          {
            path: ['trustedProxies', index],
            message: `${range} trusts the X-Forwarded-* headers of every client`,
            instead: 'list the addresses of the proxies in front',
            warning: true,
          },
        ]
      : [],
  )
}

function findWorkers({ workers, session }: ResolvedConfig): Finding[] {
  if (workers === 1 || session.store.kind !== 'memory') return []
  const instead = 'set session.store to a redis:// URL'
  return [{ path: ['workers'], message: 'several workers need a shared store', instead }]
}

export const servingRules: readonly Rule[] = [
  { reads: ['publicUrl'], find: findOrigins },
  { reads: ['publicUrl', 'loginHost', 'session.cookie.domain'], find: findLoginHost },
  { reads: ['listen', 'admin', 'forwardAuth', 'tls'], find: findListeners },
  { reads: ['listen', 'listenMode'], find: findListenMode },
  { reads: ['tls', 'publicUrl'], find: findRedirect },
  { reads: ['listenProxyProtocol', 'trustedProxies'], find: findProxyProtocol },
  {
    reads: ['listen', 'admin', 'forwardAuth', 'tls', 'publicUrl', 'upstream'],
    routeReads: ['upstream'],
    find: findLoops,
  },
  { reads: ['tls'], find: findTls },
  { reads: ['trustedProxies'], find: findTrust },
  { reads: ['workers', 'session.store'], find: findWorkers },
]
