import { createSecureContext } from 'node:tls'
import type { Finding, Rule } from './check.ts'
import { isLoopback } from './loopback.ts'
import type { Config, Listen } from './schema.ts'

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
  { reads: ['tls'], find: findTls },
  { reads: ['trustedProxies'], find: findTrust },
  { reads: ['workers', 'session.store'], find: findWorkers },
]
