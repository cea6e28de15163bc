import { isIP } from 'node:net'
import { type Input, type Kind, quote } from '../kind.ts'

/** Where a server listens: a host and port (0: any free port), or a Unix socket. */
export type Listen = { host: string; port: number } | { path: string }

/** Where requests go: an origin without a trailing slash, through a Unix socket when one is named. */
export interface Upstream {
  origin: string
  socketPath: string | null
}

const socketPattern = /^unix:(\/[^\0]+)$/
const hostName = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?$/

function isHost(host: string): boolean {
  return host.startsWith('[') ? host.endsWith(']') && isIP(host.slice(1, -1)) === 6 : hostName.test(host)
}

/** What is longer the system cuts off, and another socket is meant (unix(7)). */
const LONGEST_SOCKET_PATH = 107

function fits(path: string, refuse: Input['refuse']): boolean {
  if (Buffer.byteLength(path) <= LONGEST_SOCKET_PATH) return true
  refuse(`must be a socket with a path of at most ${LONGEST_SOCKET_PATH} bytes, not ${Buffer.byteLength(path)}`)
  return false
}

/** `host:port`, `[::1]:port` or `unix:/path`. */
export const listen: Kind<Listen> = {
  name: 'address',
  json: { type: 'string', pattern: '^(unix:/.+|(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9_.-]+):[0-9]{1,5})$' },
  parse(written, { refuse }) {
    const text = String(written)
    const path = socketPattern.exec(text)?.[1]
    if (path !== undefined) return fits(path, refuse) ? { path } : undefined
    const [, host = '', digits = ''] = /^(.+):(\d{1,5})$/.exec(text) ?? []
    const port = Number(digits)
    if (typeof written === 'string' && isHost(host.toLowerCase()) && digits !== '' && port <= 65535) {
      return { host: withoutBrackets(host).toLowerCase(), port }
    }
    const bare = /^:?(\d{1,5})$/.exec(text)?.[1]
    return refuse(
      `must be an address such as 0.0.0.0:8080, [::1]:8080 or unix:/run/gatehouse.sock, not ${quote(written)}`,
      bare === undefined ? null : `0.0.0.0:${bare}`,
    )
  },
  format: (value) =>
    'path' in value
      ? `unix:${value.path}`
      : `${value.host.includes(':') ? `[${value.host}]` : value.host}:${value.port}`,
}

type Origin = { origin: string } | { trouble: string; instead: string | null }

/** Reads an http or https origin and says what else the text holds, if anything. */
function readOrigin(text: string): Origin {
  const url = /^https?:\/\/[^/\\?#\s]/i.test(text) && URL.canParse(text) ? new URL(text) : null
  if (url === null || text.includes('\\')) return { trouble: 'scheme', instead: null }
  const instead = isHost(url.hostname) ? url.origin : null
  if (/^[^:]+:\/\/[^/?#]*@/.test(text)) return { trouble: 'credentials', instead }
  if (text.includes('?')) return { trouble: 'a query', instead }
  if (text.includes('#')) return { trouble: 'a fragment', instead }
  if (!/^[^:]+:\/\/[^/]+\/?$/.test(text)) return { trouble: 'a path', instead }
  if (instead === null) return { trouble: 'host', instead: null }
  return { origin: url.origin }
}

function parseOrigin(written: unknown, example: string, refuse: Input['refuse'], why?: string): string | undefined {
  const read = typeof written === 'string' ? readOrigin(written) : { trouble: 'scheme', instead: null }
  if ('origin' in read) return read.origin
  if (read.trouble === 'scheme') return refuse(`must be an origin such as ${example}, not ${quote(written)}`, null)
  if (read.trouble === 'host') return refuse(`must name one host, not ${quote(written)}`, null)
  const instead = [read.instead, why].filter((part) => part !== null && part !== undefined).join('; ')
  return refuse(`must be an origin without ${read.trouble}, not ${quote(written)}`, instead === '' ? null : instead)
}

/** An http or https origin, kept without a trailing slash or default port (RFC 6454 section 6.2). */
export const origin: Kind<string> = {
  name: 'origin',
  json: { type: 'string', pattern: '^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\\\s]+/?$' },
  parse: (written, { refuse }) => parseOrigin(written, 'https://orders.example.com', refuse),
  format: (value) => value,
}

/** An origin that requests are passed to, or a Unix socket. */
export const upstream: Kind<Upstream> = {
  name: 'origin or `unix:/path`',
  json: { type: 'string', pattern: '^([Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\\\s]+/?|unix:/.+)$' },
  parse(written, { refuse }) {
    const socketPath = typeof written === 'string' ? socketPattern.exec(written)?.[1] : undefined
    if (socketPath !== undefined)
      return fits(socketPath, refuse) ? { origin: 'http://localhost', socketPath } : undefined
    const example = 'http://127.0.0.1:3000 or unix:/run/app.sock'
    const value = parseOrigin(written, example, refuse, 'to change the path, use rewritePrefix on a route')
    return value === undefined ? undefined : { origin: value, socketPath: null }
  },
  format: ({ origin, socketPath }) => (socketPath === null ? origin : `unix:${socketPath}`),
}

/** A range of addresses in CIDR notation (RFC 4632 section 3.1); a bare address is a range of one. */
export const addressRange: Kind<string> = {
  name: 'CIDR',
  json: { type: 'string', pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$' },
  parse(written, { refuse }) {
    const [, address = '', prefix] = /^([0-9A-Fa-f.:]+)(?:\/(0|[1-9]\d{0,2}))?$/.exec(String(written)) ?? []
    const version = typeof written === 'string' ? isIP(address) : 0
    if (version === 0) return refuse(`must be an address range such as 10.0.0.0/8 or fd00::/8, not ${quote(written)}`)
    const bits = version === 4 ? 32 : 128
    if (prefix !== undefined && Number(prefix) > bits) {
      return refuse(`must have a prefix of at most ${bits} bits, not ${quote(written)}`)
    }
    return `${address}/${prefix ?? bits}`
  },
  format: (value) => value,
}

/** The provider's issuer identifier, as given: it is compared character by character (OpenID Connect Core 16.15). */
export const issuer: Kind<string> = {
  name: 'URL',
  json: { type: 'string', pattern: '^https?://[^?#@\\\\\\s]+$' },
  parse(written, { refuse }) {
    const value = typeof written === 'string' && /^https?:\/\/[^/\\\s]+[^\\\s]*$/.test(written) ? written : ''
    if (!URL.canParse(value)) return refuse(`must be a URL such as https://login.example.com, not ${quote(written)}`)
    const url = new URL(value)
    if (url.username !== '' || url.password !== '') {
      return refuse('must not hold credentials', 'use clientId and clientSecret')
    }
    if (/[?#]/.test(value)) {
      return refuse(`must have neither query nor fragment, not ${quote(value)}`, value.replace(/[?#].*$/, ''))
    }
    if (value.includes('/.well-known/')) {
      const instead = value.replace(/\/\.well-known\/.*$/, '')
      return refuse(`must be the issuer, not its discovery document ${quote(value)}`, instead)
    }
    return value
  },
  format: (value) => value,
}

/** Whether a URL's host is this machine alone: 127.0.0.0/8, ::1 or localhost (RFC 6761 section 6.3). */
export function isLoopback(hostname: string): boolean {
  const bare = withoutBrackets(hostname).toLowerCase()
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'))
}

/** A URL's host as sockets and certificates want it: an IPv6 address without its brackets. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '')
}
