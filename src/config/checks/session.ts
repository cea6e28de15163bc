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
  const { name, domain } = session.cookie
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
  { reads: ['session.cookie.name', 'session.cookie.domain', 'publicUrl'], find: findName },
  { reads: ['session.cookie.domain', 'publicUrl'], find: findDomain },
  { reads: ['session.idleTimeout', 'session.lifetime'], find: findTimes },
  { reads: ['session.keys'], find: findKeys },
]
