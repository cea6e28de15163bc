import type { Finding } from '../problems.ts'
import type { ResolvedConfig } from '../schema.ts'
import { formatDuration } from '../units.ts'
import type { Rule } from './rule.ts'

function areAllHttps(urls: readonly string[]): boolean {
  return urls.every((url) => url.startsWith('https:'))
}

function findSameSite({ session, publicUrl }: ResolvedConfig): Finding[] {
  if (session.cookie.sameSite !== 'none' || areAllHttps(publicUrl)) return []
  return [
    {
      path: ['session', 'cookie', 'sameSite'],
      message: 'none needs an https publicUrl, because browsers refuse such a cookie without Secure',
      instead: 'use lax',
    },
  ]
}

function findName({ session, publicUrl }: ResolvedConfig): Finding[] {
  const { name, domain, path: cookiePath } = session.cookie
  const path = ['session', 'cookie', 'name']
  const prefix = /^__(host|secure)-/i.exec(name)?.[0]
  if (prefix === undefined) return []
  const bare = name.slice(prefix.length) || 'gatehouse'
  if (!areAllHttps(publicUrl)) {
    return [{ path, message: `browsers refuse ${prefix} without https`, instead: `use ${bare}, or an https publicUrl` }]
  }
  if (prefix.toLowerCase() === '__host-' && domain !== null) {
    const message = `browsers refuse ${prefix} together with a domain`
    return [{ path, message, instead: `use ${bare}, or leave domain out` }]
  }
  if (prefix.toLowerCase() === '__host-' && cookiePath !== null && cookiePath !== '/') {
    const message = `browsers refuse ${prefix} together with the path ${cookiePath}`
    return [{ path, message, instead: `use ${bare}, or set session.cookie.path: /` }]
  }
  return []
}

function findDomain({ session, publicUrl }: ResolvedConfig): Finding[] {
  const { domain } = session.cookie
  const outside = publicUrl
    .map((url) => new URL(url).hostname)
    .find((host) => domain !== null && host !== domain && !host.endsWith(`.${domain}`))
  if (outside === undefined) return []
  return [
    {
      path: ['session', 'cookie', 'domain'],
      message: `does not cover ${outside} in publicUrl`,
      instead: 'use a parent domain of every publicUrl, or leave this key out',
    },
  ]
}

function findCookiePath({ session, basePath }: ResolvedConfig): Finding[] {
  const { path } = session.cookie
  if (path === null || isBelow(basePath, path)) return []
  return [
    {
      path: ['session', 'cookie', 'path'],
      message: `${path} does not cover basePath, ${basePath}, so the gateway's own endpoints would get no cookie`,
      instead: 'use / or a path above basePath, or leave this key out',
    },
  ]
}

/** Returns whether the browser sends a cookie with `cookiePath` to a path. */
export function isBelow(path: string, cookiePath: string): boolean {
  return cookiePath === '/' || path === cookiePath || path.startsWith(`${cookiePath}/`)
}

function findPartitioned({ session, publicUrl }: ResolvedConfig): Finding[] {
  const { partitioned, sameSite } = session.cookie
  const path = ['session', 'cookie', 'partitioned']
  if (!partitioned) return []
  if (sameSite !== 'none') {
    const message = 'needs sameSite: none, because a frame of another site gets no other cookie'
    return [{ path, message, instead: 'set session.cookie.sameSite: none, or leave this key out' }]
  }
  if (areAllHttps(publicUrl)) return []
  const message = 'needs an https publicUrl, because browsers refuse such a cookie without Secure'
  return [{ path, message, instead: 'use an https publicUrl, or leave this key out' }]
}

function findTimes({ session }: ResolvedConfig): Finding[] {
  if (session.idleTimeout === null || session.idleTimeout <= session.lifetime) return []
  return [
    {
      path: ['session', 'idleTimeout'],
      message: `is longer than the lifetime, ${formatDuration(session.lifetime)}, so it never ends a session`,
      instead: 'use a shorter duration, or off',
      warning: true,
    },
  ]
}

function findKeys({ session }: ResolvedConfig): Finding[] {
  if (session.keys.length > 0) return []
  return [
    {
      path: ['session', 'keys'],
      part: 'key',
      message: 'is not set: a random key is used, and every restart ends all sessions',
      instead: 'generate one with: gatehouse keygen',
      warning: true,
    },
  ]
}

export const sessionRules: readonly Rule[] = [
  { reads: ['session.cookie.sameSite', 'publicUrl'], find: findSameSite },
  {
    reads: ['session.cookie.name', 'session.cookie.domain', 'session.cookie.path', 'basePath', 'publicUrl'],
    find: findName,
  },
  { reads: ['session.cookie.domain', 'publicUrl'], find: findDomain },
  { reads: ['session.cookie.path', 'basePath'], find: findCookiePath },
  { reads: ['session.cookie.partitioned', 'session.cookie.sameSite', 'publicUrl'], find: findPartitioned },
  { reads: ['session.idleTimeout', 'session.lifetime'], find: findTimes },
  { reads: ['session.keys'], find: findKeys },
]
