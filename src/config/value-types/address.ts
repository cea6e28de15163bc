import { isIP } from 'node:net'
import { type ParseContext, quote, type ValueType } from '../value-type.ts'

/** The address that a server listens on: a host and port (0 for any free port), or the path of a Unix socket. */
export type Listen = { readonly host: string; readonly port: number } | { readonly path: string }

/** Where requests are sent: an origin without a trailing slash, reached at the Unix socket `socketPath` if set. */
export interface Upstream {
  readonly origin: string
  readonly socketPath: string | null
}

const SOCKET_URL = /^unix:(\/[^\0]+)$/
const HOST_NAME = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?$/

function isHost(host: string): boolean {
  return host.startsWith('[') ? host.endsWith(']') && isIP(host.slice(1, -1)) === 6 : HOST_NAME.test(host)
}

/** The operating system truncates a longer path, and the truncated path names another socket (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107

function isShortEnough(path: string, refuse: ParseContext['refuse']): boolean {
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return true
  refuse(`must be a socket with a path of at most ${MAX_SOCKET_PATH_BYTES} bytes, not ${Buffer.byteLength(path)}`)
  return false
}

/** `host:port`, `[::1]:port` or `unix:/path`. */
export const listen: ValueType<Listen> = {
  name: 'address',
  json: { type: 'string', pattern: '^(unix:/.+|(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9_.-]+):[0-9]{1,5})$' },
  parse(written, { refuse }) {
    const text = String(written)
    const path = SOCKET_URL.exec(text)?.[1]
    if (path !== undefined) return isShortEnough(path, refuse) ? { path } : undefined
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

/** The permissions of a Unix socket in octal digits. A number is refused, because YAML reads `0660` as 660. */
export const socketMode: ValueType<number> = {
  name: 'octal mode',
  json: { type: 'string', pattern: '^0?[0-7]{3}$' },
  parse(written, { refuse }) {
    if (typeof written === 'string' && /^0?[0-7]{3}$/.test(written)) return Number.parseInt(written, 8)
    return refuse(
      `must be three octal digits in quotes, such as "0660", not ${quote(written)}`,
      typeof written === 'number' ? 'put the value in quotes' : null,
    )
  },
  format: (value) => value.toString(8).padStart(4, '0'),
}

type Origin = { origin: string } | { problem: string; instead: string | null }

/** Parses an http or https origin. For other text, returns the part that is wrong, and a correction or null. */
function readOrigin(text: string): Origin {
  const url = /^https?:\/\/[^/\\?#\s]/i.test(text) && URL.canParse(text) ? new URL(text) : null
  if (url === null || text.includes('\\')) return { problem: 'scheme', instead: null }
  const instead = isHost(url.hostname) ? url.origin : null
  if (/^[^:]+:\/\/[^/?#]*@/.test(text)) return { problem: 'credentials', instead }
  if (text.includes('?')) return { problem: 'a query', instead }
  if (text.includes('#')) return { problem: 'a fragment', instead }
  if (!/^[^:]+:\/\/[^/]+\/?$/.test(text)) return { problem: 'a path', instead }
  if (instead === null) return { problem: 'host', instead: null }
  return { origin: url.origin }
}

function parseOrigin(
  written: unknown,
  example: string,
  refuse: ParseContext['refuse'],
  why?: string,
): string | undefined {
  const read = typeof written === 'string' ? readOrigin(written) : { problem: 'scheme', instead: null }
  if ('origin' in read) return read.origin
  if (read.problem === 'scheme') return refuse(`must be an origin such as ${example}, not ${quote(written)}`, null)
  if (read.problem === 'host') return refuse(`must name one host, not ${quote(written)}`, null)
  const instead = [read.instead, why].filter((part) => part !== null && part !== undefined).join('; ')
  return refuse(`must be an origin without ${read.problem}, not ${quote(written)}`, instead === '' ? null : instead)
}

/**
 * An http or https origin, stored without a trailing slash or default port.
 * @see https://www.rfc-editor.org/rfc/rfc6454#section-6.2
 */
export const origin: ValueType<string> = {
  name: 'origin',
  json: { type: 'string', pattern: '^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\\\s]+/?$' },
  parse: (written, { refuse }) => parseOrigin(written, 'https://orders.example.com', refuse),
  format: (value) => value,
}

/** An origin whose pages may call with cookies. Browsers accept no wildcard in the response to such a call. */
export const callingOrigin: ValueType<string> = {
  name: 'origin',
  json: { type: 'string', pattern: '^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@*\\\\\\s]+/?$' },
  parse(written, context) {
    const instead = 'write each origin in full, such as https://app.example.org'
    if (written === 'null')
      return context.refuse('must not be null, because any page can have this origin in a sandboxed frame', instead)
    if (typeof written === 'string' && written.includes('*'))
      return context.refuse(`must be an origin without *, not ${quote(written)}`, instead)
    return parseOrigin(written, 'https://app.example.org', context.refuse)
  },
  format: (value) => value,
}

const WILDCARD_ORIGIN = /^(https?:\/\/)\*(\.[^*]*)$/i

/** An origin of `publicUrl`, whose first label may be `*`, which stands for exactly one label. */
export const publicOrigin: ValueType<string> = {
  name: 'origin',
  json: origin.json,
  parse(written, context) {
    if (typeof written !== 'string' || !written.includes('*')) return origin.parse(written, context)
    const [, scheme = '', rest] = WILDCARD_ORIGIN.exec(written) ?? []
    // The label takes the place of the wildcard while the rest is checked.
    const read = readOrigin(`${scheme}x${rest ?? ''}`)
    if (rest === undefined || !('origin' in read) || !new URL(read.origin).hostname.startsWith('x.'))
      return context.refuse(
        `must have * as the whole first label and nowhere else, such as https://*.example.com, not ${quote(written)}`,
      )
    return read.origin.replace('//x.', '//*.')
  },
  format: (value) => value,
}

export function isWildcard(publicUrl: string): boolean {
  return publicUrl.includes('*')
}

const FIRST_LABEL = /^(https?:\/\/)?[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?=\.[a-z0-9_])/

/**
 * Returns the wildcard that covers an origin or a host, such as `https://*.example.com` for `https://app.example.com`.
 * Returns `null` if the first label is malformed.
 */
export function wildcardOf(originOrHost: string): string | null {
  const wildcard = originOrHost.replace(FIRST_LABEL, '$1*')
  return wildcard === originOrHost ? null : wildcard
}

export const upstream: ValueType<Upstream> = {
  name: 'origin or `unix:/path`',
  json: { type: 'string', pattern: '^([Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\\\s]+/?|unix:/.+)$' },
  parse(written, { refuse }) {
    const socketPath = typeof written === 'string' ? SOCKET_URL.exec(written)?.[1] : undefined
    if (socketPath !== undefined)
      return isShortEnough(socketPath, refuse) ? { origin: 'http://localhost', socketPath } : undefined
    const example = 'http://127.0.0.1:3000 or unix:/run/app.sock'
    const value = parseOrigin(written, example, refuse, 'to change the path, use rewritePrefix on a route')
    return value === undefined ? undefined : { origin: value, socketPath: null }
  },
  format: ({ origin, socketPath }) => (socketPath === null ? origin : `unix:${socketPath}`),
}

/**
 * A range of addresses in CIDR notation; an address without a prefix is a range of one address.
 * @see https://www.rfc-editor.org/rfc/rfc4632#section-3.1
 */
export const addressRange: ValueType<string> = {
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

/**
 * The provider's issuer identifier, stored as written because issuers are compared as exact strings.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
 */
export const issuer: ValueType<string> = {
  name: 'URL',
  json: { type: 'string', pattern: '^https?://[^?#@\\\\\\s]+$' },
  parse(written, { refuse }) {
    const value = typeof written === 'string' && /^https?:\/\/[^/\\\s]+[^\\\s]*$/.test(written) ? written : ''
    if (!URL.canParse(value)) return refuse(`must be a URL such as https://login.example.com, not ${quote(written)}`)
    const url = new URL(value)
    if (url.username !== '' || url.password !== '') {
      return refuse('must not contain credentials', 'use clientId and clientSecret')
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

/** A URL of the provider, which may have a query. */
export const providerUrl: ValueType<string> = {
  name: 'URL',
  json: { type: 'string', pattern: '^https?://[^/?#@\\\\\\s]+([/?][^#\\\\\\s]*)?$' },
  parse(written, { refuse }) {
    const isUrl = typeof written === 'string' && /^https?:\/\/[^/?#@\\\s]+(?:[/?][^#\\\s]*)?$/.test(written)
    if (isUrl && URL.canParse(written)) return written
    return refuse(
      `must be a URL such as https://login.example.com/token, without credentials or a fragment, not ${quote(written)}`,
    )
  },
  format: (value) => value,
}

/** Stands for the address of the provider's end session endpoint, at the start of a logout URL. */
export const END_SESSION_ENDPOINT = '{end_session_endpoint}'

const LOGOUT_URL =
  /^(?:https?:\/\/[^?#@\\\s{}]+|\{end_session_endpoint\})(?:\?(?:[^#\\\s{}]|\{(?:client_id|post_logout_redirect_uri|id_token_hint|state)\})*)?$/

/** The URL of a logout at the provider: a template with placeholders in the query. */
export const logoutUrl: ValueType<string> = {
  name: 'URL with placeholders',
  json: { type: 'string', pattern: LOGOUT_URL.source },
  parse(written, { refuse }) {
    if (typeof written === 'string' && LOGOUT_URL.test(written)) {
      const base = written.replace(/\?.*$/, '')
      if (base === END_SESSION_ENDPOINT || URL.canParse(base)) return written
    }
    return refuse(
      'must be a URL such as https://login.example.com/logout?client_id={client_id}&returnTo={post_logout_redirect_uri}' +
        `, not ${quote(written)}`,
      'only {client_id}, {post_logout_redirect_uri}, {id_token_hint} and {state} in the query, and ' +
        '{end_session_endpoint} at the start, are filled in',
    )
  },
  format: (value) => value,
}

/** Returns whether a text is a URL whose credentials are percent-encoded correctly. */
export function isProxyUrl(text: string): boolean {
  try {
    const { username, password } = new URL(text)
    decodeURIComponent(`${username}:${password}`)
    return true
  } catch {
    return false
  }
}

/** `env`, `off`, or the URL of a forward proxy, which may have credentials. */
export const outgoingProxy: ValueType<string> = {
  name: 'URL, `env` or `off`',
  json: { anyOf: [{ enum: ['env', 'off', false] }, { type: 'string', pattern: '^https?://[^/\\\\\\s]+/?$' }] },
  parse(written, { refuse }) {
    if (written === 'env' || written === 'off') return written
    if (written === false || written === 'false') return 'off'
    if (typeof written === 'string' && /^https?:\/\/[^/\\\s]+\/?$/.test(written) && isProxyUrl(written)) return written
    return refuse(`must be env, off or a URL such as http://proxy.example.com:3128, not ${quote(written)}`)
  },
  format: (value) => value,
}

/**
 * Returns whether a URL's host is a loopback address: 127.0.0.0/8, ::1 or localhost.
 * @see https://www.rfc-editor.org/rfc/rfc6761#section-6.3
 */
export function isLoopback(hostname: string): boolean {
  const bare = withoutBrackets(hostname).toLowerCase()
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'))
}

/**
 * Returns whether two origins may belong to one site. Without the list of public suffixes, the answer is certain only if
 * it is `false`.
 * @see https://html.spec.whatwg.org/#same-site
 */
export function mayBeSameSite(one: string, other: string): boolean {
  return siteOf(one) === siteOf(other)
}

/** Returns the scheme and the last two labels of an origin, or its whole host if it is an address. */
function siteOf(written: string): string {
  const { protocol, hostname } = new URL(written)
  const isAddress = hostname.startsWith('[') || isIP(hostname) !== 0
  return `${protocol}//${isAddress ? hostname : hostname.split('.').slice(-2).join('.')}`
}

/** Returns a URL's host without the brackets of an IPv6 address, because sockets and certificates use none. */
export function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '')
}
