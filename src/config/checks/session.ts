import type { Finding, Rule } from './rule.ts'
import type { Config } from '../schema.ts'
import { formatDuration } from '../units.ts'

const allSecure = (urls: readonly string[]): boolean => urls.every((url) => url.startsWith('https:'))

function findSameSite({ session, publicUrl }: Config): Finding[] {
  if (session.cookie.sameSite !== 'none' || allSecure(publicUrl)) return []
  return [
    {
      path: ['session', 'cookie', 'sameSite'],
      message: 'none needs an https publicUrl, because browsers refuse such a cookie without Secure',
      instead: 'use lax',
    },
  ]
}

function findName({ session, publicUrl }: Config): Finding[] {
  const { name, domain } = session.cookie
  const path = ['session', 'cookie', 'name']
  const prefix = /^__(host|secure)-/i.exec(name)?.[0]
  if (prefix === undefined) return []
  const bare = name.slice(prefix.length) || 'gatehouse'
  if (!allSecure(publicUrl)) {
    return [{ path, message: `browsers refuse ${prefix} without https`, instead: `use ${bare}, or an https publicUrl` }]
  }
  if (prefix.toLowerCase() === '__host-' && domain !== null) {
    const message = `browsers refuse ${prefix} together with a domain`
    return [{ path, message, instead: `use ${bare}, or leave domain out` }]
  }
  return []
}

function findDomain({ session, publicUrl }: Config): Finding[] {
  const { domain } = session.cookie
  const outside = publicUrl
    .map((url) => new URL(url).hostname)
    .find((host) => domain !== null && host !== domain && !host.endsWith(`.${domain}`))
  if (outside === undefined) return []
  return [
    {
      path: ['session', 'cookie', 'domain'],
      message: `does not cover ${outside} of publicUrl`,
      instead: 'use a domain that all of publicUrl are under, or leave it out',
    },
  ]
}

function findTimes({ session }: Config): Finding[] {
  if (session.idleTimeout === null || session.idleTimeout <= session.lifetime) return []
  return [
    {
      path: ['session', 'idleTimeout'],
      message: `is longer than the lifetime, ${formatDuration(session.lifetime)}, and never ends a session`,
      instead: 'make it shorter, or write off',
      warning: true,
    },
  ]
}

function findKeys({ session }: Config): Finding[] {
  if (session.keys.length > 0) return []
  return [
    {
      path: ['session', 'keys'],
      part: 'key',
      message: 'are not given: a random key is used, and every restart ends all sessions',
      instead: 'make one with: gatehouse keygen',
      warning: true,
    },
  ]
}

/** The rules about sessions and their cookie. */
export const checkSession: readonly Rule[] = [
  { reads: ['session.cookie.sameSite', 'publicUrl'], find: findSameSite },
  { reads: ['session.cookie.name', 'session.cookie.domain', 'publicUrl'], find: findName },
  { reads: ['session.cookie.domain', 'publicUrl'], find: findDomain },
  { reads: ['session.idleTimeout', 'session.lifetime'], find: findTimes },
  { reads: ['session.keys'], find: findKeys },
]
