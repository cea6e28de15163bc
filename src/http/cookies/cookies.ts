import { createHash, randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { LRUCache } from 'lru-cache'
import { withoutBrackets } from '../../config/kinds/address.ts'
import type { Config } from '../../config/schema.ts'
import { hostOf } from '../../gate/match.ts'
import type { Facts, FinalDenial } from '../../gate/verdict.ts'
import { readTicket, type Ticket } from '../../session/ticket.ts'
import { cookieNames, isSecure } from './names.ts'
import { createCookieSeal } from './seal.ts'

/** How long a login may take, seconds. */
export const LOGIN_SECONDS = 600

const TRIES_SECONDS = 60
/**
 * The cookie outlives its session by so much, seconds: a page that is still open hears that it has ended, not that it
 * never was.
 */
const COOKIE_GRACE = 3600
const MAX_OPENED = 20_000
const NONE: readonly Ticket[] = []

/** The gateway's cookies: one session ticket, a few login bindings, a counter of logins. */
export interface Cookies {
  /** Whether a cookie of this name is the gateway's. */
  readonly isOwn: (name: string) => boolean
  /** The ticket in a Cookie header; `null` without exactly one that opens. */
  readonly ticket: (header: string | undefined) => Ticket | null
  /** Every ticket in a Cookie header that opens: more than one where a cookie has been planted beside the user's own. */
  readonly tickets: (header: string | undefined) => readonly Ticket[]
  /** Set-Cookie values that clear the session cookie wherever it may have been set, and note that for ten minutes. */
  clearEverywhere(host: string, path: string): string[]
  /** Whether that was noted. */
  wereCleared(header: string | undefined): boolean
  /** Set-Cookie values. */
  setTicket(ticket: Ticket): string
  clearTicket(): string
  /** The secrets that bind logins to this browser, newest first. */
  bindings(header: string | undefined): readonly Binding[]
  /** The binding for a new login: the browser's own where it has one, so that all its tabs share it. */
  bind(header: string | undefined): { binding: string; setCookie: string }
  /** How often a login to that target has been begun anew within the last minute. Other tabs' targets do not count. */
  tries(header: string | undefined, target: string): number
  setTries(count: number, target: string, logins: number): string
  /** How often one has succeeded, each within a minute of the one before. */
  logins(header: string | undefined, target: string): number
  setLogins(count: number, target: string): string
  /** Clears the counter; `null` where there is none. */
  clearTries(header: string | undefined): string | null
}

interface Binding {
  readonly secret: string
  readonly slot: number
}

/** Makes the gateway's cookies, sealed by @fastify/secure-session. */
export async function createCookies(app: FastifyInstance, config: Config): Promise<Cookies> {
  const { session, publicUrl, provider } = config
  const secure = isSecure(publicUrl)
  const { session: name, logins: loginNames, tries: triesName, cleared: clearedName, all } = cookieNames(config)
  const cookieSeconds = Math.ceil(session.lifetime / 1000) + COOKIE_GRACE
  const sealing = await createCookieSeal(app, session.keys, { ticket: cookieSeconds, login: LOGIN_SECONDS })
  const opened = new LRUCache<string, Ticket>({ max: MAX_OPENED })

  const always = `Path=/; HttpOnly${secure ? '; Secure' : ''}`
  const domain = session.cookie.domain === null ? '' : `; Domain=${session.cookie.domain}`
  const sameSite = { lax: 'Lax', strict: 'Strict', none: 'None' }[session.cookie.sameSite]
  // A form_post comes from the provider's site: only a SameSite=None cookie is sent with it.
  const loginSameSite = provider.responseMode === 'form_post' ? 'None' : 'Lax'

  function openTicket(value: string): Ticket | null {
    const known = opened.get(value)
    if (known !== undefined) return known
    const data = sealing.open('ticket', value)
    const ticket = data === null ? null : readTicket({ id: data.get('id'), key: data.get('key') })
    if (ticket !== null) opened.set(value, ticket)
    return ticket
  }

  function counted(header: string | undefined, target: string): [tries: number, logins: number] {
    const [, tries = '0', mark, logins = '0'] =
      /^(\d)\.([\w-]{8})\.(\d)$/.exec(cookieValues(header, triesName)[0] ?? '') ?? []
    return mark === markOf(target) ? [Number(tries), Number(logins)] : [0, 0]
  }

  function setCounts(tries: number, logins: number, target: string): string {
    return (
      `${triesName}=${tries}.${markOf(target)}.${logins}; ${always}; SameSite=${loginSameSite}; ` +
      `Max-Age=${TRIES_SECONDS}`
    )
  }

  function openTickets(header: string | undefined): readonly Ticket[] {
    const values = cookieValues(header, name)
    return values.length === 0 ? NONE : values.map(openTicket).filter((ticket) => ticket !== null)
  }

  function bindings(header: string | undefined): Binding[] {
    return loginNames.flatMap((loginName, slot) =>
      cookieValues(header, loginName).flatMap((value) => {
        const secret = sealing.open('login', value)?.get('secret')
        return typeof secret === 'string' ? [{ secret, slot }] : []
      }),
    )
  }

  return {
    isOwn: (other) => all.has(other),
    ticket(header) {
      const tickets = openTickets(header)
      // Two that open: one of them may have been planted from a neighbouring host. Nobody can tell which.
      return tickets.length === 1 ? (tickets[0] ?? null) : null
    },
    tickets: openTickets,
    clearEverywhere: (host, path) => [
      ...placesOf(host, path)
        .filter((place) => !name.startsWith('__Host-') || (place.domain === null && place.path === '/'))
        .map(
          (place) =>
            `${name}=; Path=${place.path}; ` +
            `HttpOnly${secure ? '; Secure' : ''}${place.domain === null ? '' : `; Domain=${place.domain}`}; Max-Age=0`,
        ),
      `${clearedName}=1; ${always}; SameSite=Lax; Max-Age=${LOGIN_SECONDS}`,
    ],
    wereCleared: (header) => cookieValues(header, clearedName).length > 0,
    setTicket: (ticket) =>
      `${name}=${sealing.seal('ticket', { id: ticket.id, key: ticket.key })}; ${always}${domain}; ` +
      `SameSite=${sameSite}; Max-Age=${cookieSeconds}`,
    clearTicket: () => `${name}=; ${always}${domain}; SameSite=${sameSite}; Max-Age=0`,
    bindings,
    bind(header) {
      const present = bindings(header)[0]
      // Tabs that start at the same moment do not see each other's cookie yet: a random place keeps most of them apart.
      const { secret, slot } = present ?? {
        secret: randomBytes(32).toString('base64url'),
        slot: randomBytes(1).readUInt8() % loginNames.length,
      }
      const value = sealing.seal('login', { secret })
      return {
        binding: secret,
        setCookie: `${loginNames[slot]}=${value}; ${always}; SameSite=${loginSameSite}; Max-Age=${LOGIN_SECONDS}`,
      }
    },
    tries: (header, target) => counted(header, target)[0],
    setTries: (count, target, logins) => setCounts(count, logins, target),
    logins: (header, target) => counted(header, target)[1],
    setLogins: (count, target) => setCounts(0, Math.min(count, 9), target),
    clearTries: (header) =>
      cookieValues(header, triesName).length === 0
        ? null
        : `${triesName}=; ${always}; SameSite=${loginSameSite}; Max-Age=0`,
  }
}

function markOf(target: string): string {
  return createHash('sha256').update(target).digest('base64url').slice(0, 8)
}

/** All values of one name in a Cookie header (RFC 6265, section 5.4), as they were sent. */
function cookieValues(header: string | undefined, name: string): string[] {
  const values: string[] = []
  if (header === undefined) return values
  for (let at = header.indexOf(name); at !== -1; at = header.indexOf(name, at + name.length)) {
    const before = at === 0 ? ';' : header.slice(0, at).trimEnd().at(-1)
    const after = at + name.length
    if (before !== ';' || header[after] !== '=') continue
    const end = header.indexOf(';', after)
    values.push(header.slice(after + 1, end === -1 ? undefined : end).trim())
  }
  return values
}

/** Where a cookie may have been set that came with a request: `domain` is `null` for the host alone. */
interface Place {
  readonly domain: string | null
  readonly path: string
}

/** More would not fit into an answer's head everywhere. */
const MOST = 24
/** RFC 6265bis, section 5.6, bytes. */
const MAX_LENGTH = 1024

/**
 * The places from which cookies of one name can have come with a request (RFC 6265, sections 5.1.3 and 5.1.4), the
 * likeliest first, 24 at most. `host` may have a port.
 */
export function placesOf(host: string, path: string): Place[] {
  const name = host.replace(/:\d+$/, '')
  const labels = isIP(withoutBrackets(name)) === 0 ? name.split('.') : []
  // A domain of one label is a public suffix, or the host itself.
  const domains = labels
    .slice(0, -1)
    .slice(0, MOST)
    .map((_label, i) => labels.slice(i).join('.'))
  return pathsOf(path)
    .flatMap((at) => [null, ...domains].map((domain) => ({ domain, path: at })))
    .slice(0, MOST)
}

/** `/`, then the directories of the path, with a slash at their end and without, as many as count. */
function pathsOf(path: string): string[] {
  const paths = ['/']
  for (let at = 0; paths.length < MOST;) {
    const slash = path.indexOf('/', at + 1)
    paths.push(path.slice(0, slash === -1 ? undefined : slash))
    if (slash === -1) break
    paths.push(path.slice(0, slash + 1))
    at = slash
  }
  // A semicolon would end the attribute; a long one browsers ignore.
  return [...new Set(paths)].filter((one) => one.length <= MAX_LENGTH && !one.includes(';'))
}

/**
 * Clears two session cookies that both open, wherever they may have been set. Returns a denial when the browser sends two
 * again within ten minutes, because another login would end in the same way; otherwise `null`.
 */
export function clearTwoSessions(
  cookies: Cookies,
  { headers, origin, path }: Facts,
  reply: FastifyReply,
): FinalDenial | null {
  if (cookies.tickets(headers.cookie).length < 2) return null
  reply.header('set-cookie', cookies.clearEverywhere(hostOf(origin), path))
  return cookies.wereCleared(headers.cookie) ? { reason: 'two-sessions' } : null
}
