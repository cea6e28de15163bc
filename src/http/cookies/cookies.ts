import { createHash, randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { LRUCache } from 'lru-cache'
import { withoutBrackets } from '../../config/value-types/address.ts'
import { providersOf, type Config } from '../../config/schema.ts'
import { hostOf } from '../../gate/match.ts'
import type { Facts, FinalDenial } from '../../gate/verdict.ts'
import { readTicket, type Ticket } from '../../session/ticket.ts'
import { createLongTargets, type LongTargets } from './long-targets.ts'
import { cookieNames, isSecure } from './names.ts'
import { createCookieSeal } from './seal.ts'

export const LOGIN_SECONDS = 600

const TRIES_SECONDS = 60
const CHOICE_SECONDS = 365 * 86_400
/** How long the next login after a logout asks for the account. */
const SIGNED_OUT_SECONDS = 86_400
/** How long the cookie outlives its session, so that an open page gets `session_expired` and not `login_required`. */
const COOKIE_GRACE_SECONDS = 3600
const MAX_CACHED_TICKETS = 20_000
const NONE: readonly Ticket[] = []

export interface Cookies {
  readonly isOwn: (name: string) => boolean
  /** Returns the ticket in a Cookie header, or `null` unless exactly one session cookie opens. */
  readonly ticket: (header: string | undefined) => Ticket | null
  /** Returns the tickets of all session cookies that open. There are several if an attacker has planted a cookie. */
  readonly tickets: (header: string | undefined) => readonly Ticket[]
  /**
   * Returns Set-Cookie values that clear the session cookie in every scope in which it may have been set. The values
   * also set a cookie that records the clearing for ten minutes.
   */
  clearEverywhere(host: string, path: string): string[]
  /** Returns whether `clearEverywhere` was recorded within the last ten minutes. */
  wereCleared(header: string | undefined): boolean
  /** Returns a Set-Cookie value, like all functions here that set or clear a cookie. */
  setTicket(ticket: Ticket): string
  clearTicket(): string
  /** Returns the secrets that bind logins to this browser, newest first. */
  bindings(header: string | undefined): readonly Binding[]
  /** Returns the binding for a new login: the browser's current one, so that all tabs share it, or a new one. */
  bind(header: string | undefined): { binding: string; setCookie: string }
  /** The long return URLs of logins. */
  readonly targets: LongTargets
  /**
   * Returns how many restarts of a login to this target followed in a row, each within a minute of the one before.
   * Logins to other targets, as in other tabs, do not count.
   */
  tries(header: string | undefined, target: string): number
  setTries(count: number, target: string, logins: number): string
  /** Returns how many logins to this target succeeded in a row, each within a minute of the one before. */
  logins(header: string | undefined, target: string): number
  setLogins(count: number, target: string): string
  /** Clears the counter. Returns `null` if the browser has none. */
  clearTries(header: string | undefined): string | null
  /** Returns the name of the provider that the browser last logged in at, or `undefined`. A browser can forge it. */
  choice(header: string | undefined): string | undefined
  setChoice(name: string): string
  /** Returns whether a logout set a cookie because the browser may still have a session at this provider. */
  wasSignedOut(header: string | undefined, provider: ProviderName): boolean
  /** Adds providers to the cookie. The cookie of the only provider names none. */
  setSignedOut(header: string | undefined, providers: readonly ProviderName[]): string
  /** Removes providers from the cookie, and clears the cookie after the last one. */
  clearSignedOut(header: string | undefined, providers: readonly ProviderName[]): string
}

/** The name of one of several providers, or `undefined` for the provider of the key `provider`. */
type ProviderName = string | undefined

interface Binding {
  readonly secret: string
  readonly slot: number
}

export async function createCookies(app: FastifyInstance, config: Config): Promise<Cookies> {
  const { session, publicUrl } = config
  const secure = isSecure(publicUrl)
  const names = cookieNames(config)
  const { session: name, logins: loginNames, tries: triesName, cleared: clearedName, all } = names
  const cookieSeconds = Math.ceil(session.lifetime / 1000) + COOKIE_GRACE_SECONDS
  const sealing = await createCookieSeal(app, session.keys, { ticket: cookieSeconds, login: LOGIN_SECONDS })
  const opened = new LRUCache<string, Ticket>({ max: MAX_CACHED_TICKETS })

  const { partitioned, path: cookiePath } = session.cookie
  const flags = `HttpOnly${secure ? '; Secure' : ''}`
  const always = `Path=${cookiePath}; ${flags}${partitioned ? '; Partitioned' : ''}`
  const domain = session.cookie.domain === null ? '' : `; Domain=${session.cookie.domain}`
  const life = session.cookie.persistent ? `; Max-Age=${cookieSeconds}` : ''
  const sameSite = { lax: 'Lax', strict: 'Strict', none: 'None' }[session.cookie.sameSite]
  // Browsers send only SameSite=None cookies with a form_post, because it comes from the provider's site, and in a
  // frame of another site.
  const postsForms = providersOf(config).some(({ responseMode }) => responseMode.startsWith('form_post'))
  const framedSameSite = partitioned ? 'None' : 'Lax'
  const loginSameSite = postsForms ? 'None' : framedSameSite

  const providerMarks = new Set(providersOf(config).map((provider) => markOfProvider(provider.name)))

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

  /** Returns the providers in the cookie. A browser can forge them. */
  function signedOutMarks(header: string | undefined): string[] {
    const marks = cookieValues(header, names.signedOut).flatMap((value) => value.split('.'))
    return marks.filter((mark) => providerMarks.has(mark))
  }

  function writeSignedOut(marks: readonly string[]): string {
    const value = [...new Set(marks)].join('.')
    const seconds = value === '' ? 0 : SIGNED_OUT_SECONDS
    return `${names.signedOut}=${value}; ${always}${domain}; SameSite=${framedSameSite}; Max-Age=${seconds}`
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
      // An attacker on a sibling domain may have planted one of two tickets. The gateway cannot tell which ticket.
      return tickets.length === 1 ? (tickets[0] ?? null) : null
    },
    tickets: openTickets,
    clearEverywhere: (host, path) => [
      ...placesOf(host, path)
        .filter((place) => !name.startsWith('__Host-') || (place.domain === null && place.path === '/'))
        // A partitioned cookie and one that is not are two cookies, and both may be there.
        .flatMap((place) => (partitioned ? ['', '; Partitioned'] : ['']).map((partition) => ({ ...place, partition })))
        .slice(0, MAX_PLACES)
        .map(
          (place) =>
            `${name}=; Path=${place.path}; ${flags}${place.partition}` +
            `${place.domain === null ? '' : `; Domain=${place.domain}`}; Max-Age=0`,
        ),
      `${clearedName}=1; ${always}; SameSite=${framedSameSite}; Max-Age=${LOGIN_SECONDS}`,
    ],
    wereCleared: (header) => cookieValues(header, clearedName).length > 0,
    setTicket: (ticket) =>
      `${name}=${sealing.seal('ticket', { id: ticket.id, key: ticket.key })}; ${always}${domain}; ` +
      `SameSite=${sameSite}${life}`,
    clearTicket: () => `${name}=; ${always}${domain}; SameSite=${sameSite}; Max-Age=0`,
    bindings,
    bind(header) {
      // Tabs that start at the same time do not have each other's cookie yet. Random slots avoid most collisions.
      const { secret, slot } = bindings(header)[0] ?? {
        secret: randomBytes(32).toString('base64url'),
        slot: randomBytes(1).readUInt8() % loginNames.length,
      }
      const value = sealing.seal('login', { secret })
      return {
        binding: secret,
        setCookie: `${loginNames[slot]}=${value}; ${always}; SameSite=${loginSameSite}; Max-Age=${LOGIN_SECONDS}`,
      }
    },
    targets: createLongTargets(
      session.keys,
      names.targets,
      `Path=${config.basePath}; ${flags}${partitioned ? '; Partitioned' : ''}; SameSite=${loginSameSite}`,
      LOGIN_SECONDS,
      cookieValues,
    ),
    tries: (header, target) => counted(header, target)[0],
    setTries: (count, target, logins) => setCounts(count, logins, target),
    logins: (header, target) => counted(header, target)[1],
    setLogins: (count, target) => setCounts(0, Math.min(count, 9), target),
    clearTries: (header) =>
      cookieValues(header, triesName).length === 0
        ? null
        : `${triesName}=; ${always}; SameSite=${loginSameSite}; Max-Age=0`,
    choice: (header) => cookieValues(header, names.choice)[0],
    setChoice: (chosen) =>
      `${names.choice}=${chosen}; ${always}; SameSite=${framedSameSite}; Max-Age=${CHOICE_SECONDS}`,
    wasSignedOut: (header, provider) => signedOutMarks(header).includes(markOfProvider(provider)),
    setSignedOut: (header, providers) => writeSignedOut([...signedOutMarks(header), ...providers.map(markOfProvider)]),
    clearSignedOut(header, providers) {
      const cleared = providers.map(markOfProvider)
      return writeSignedOut(signedOutMarks(header).filter((mark) => !cleared.includes(mark)))
    },
  }
}

/** Returns what stands for a provider in a cookie. Names of providers have no dot, which separates them. */
function markOfProvider(name: ProviderName): string {
  return name ?? '1'
}

function markOf(target: string): string {
  return createHash('sha256').update(target).digest('base64url').slice(0, 8)
}

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

/** The scope of a cookie: `domain` is `null` for a host-only cookie. */
interface Place {
  readonly domain: string | null
  readonly path: string
}

/** Some servers and proxies reject a response with more Set-Cookie fields than this. */
const MAX_PLACES = 24
/**
 * Browsers ignore a longer `Path`.
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-5.6
 */
const MAX_PATH_BYTES = 1024

/**
 * Returns the scopes in which a cookie of a request may have been set: at most 24, the likeliest first. `host` may have
 * a port.
 * @see https://www.rfc-editor.org/rfc/rfc6265#section-5.1.3
 */
export function placesOf(host: string, path: string): Place[] {
  const name = host.replace(/:\d+$/, '')
  const labels = isIP(withoutBrackets(name)) === 0 ? name.split('.') : []
  // Drops the last label, because a domain with a single label is a public suffix or the host itself.
  const domains = labels
    .slice(0, -1)
    .slice(0, MAX_PLACES)
    .map((_label, i) => labels.slice(i).join('.'))
  return pathsOf(path)
    .flatMap((at) => [null, ...domains].map((domain) => ({ domain, path: at })))
    .slice(0, MAX_PLACES)
}

/** Returns `/` and the directories of a path, each with and without a trailing slash. */
function pathsOf(path: string): string[] {
  const paths = ['/']
  for (let at = 0; paths.length < MAX_PLACES;) {
    const slash = path.indexOf('/', at + 1)
    paths.push(path.slice(0, slash === -1 ? undefined : slash))
    if (slash === -1) break
    paths.push(path.slice(0, slash + 1))
    at = slash
  }
  // A semicolon would end the Path attribute.
  return [...new Set(paths)].filter((one) => one.length <= MAX_PATH_BYTES && !one.includes(';'))
}

/**
 * Clears the session cookies in every scope if the request has two that open. Returns a denial if the browser sends two
 * such cookies again within ten minutes, because another login would have the same result. Otherwise returns `null`.
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
