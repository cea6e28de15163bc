import type { Config } from '../../config/schema.ts'

const PREFIX = /^__(?:Host|Secure)-/

/** Limits the size of the Cookie header. */
const LOGIN_SLOTS = 4
const MAX_TARGET_COOKIES = 6
/** How much of `limits.headers` each cookie of a return URL requires. Leaves room for all other headers. */
const HEADERS_PER_COOKIE_BYTES = 5 * 1024

export interface CookieNames {
  readonly session: string
  readonly logins: readonly string[]
  /** The cookies for long return URLs. They are sent to the gateway's own endpoints only. */
  readonly targets: readonly string[]
  readonly tries: string
  readonly cleared: string
  readonly choice: string
  readonly signedOut: string
  readonly all: ReadonlySet<string>
}

/**
 * Returns the names of the cookies, with the `__Host-` or `__Secure-` prefix that browsers enforce. `all` has the names
 * with both prefixes, because a gateway under another path of the same host may use the other one, and its cookies must
 * not reach the application either.
 */
export function cookieNames({
  session: { cookie },
  publicUrl,
  limits,
}: Pick<Config, 'session' | 'publicUrl' | 'limits'>): CookieNames {
  const session = prefixed(cookie, isSecure(publicUrl))
  const logins = Array.from({ length: LOGIN_SLOTS }, (_, slot) => `${session}-login-${slot}`)
  // `__Host-` would require `Path=/`, so browsers would send these cookies with every request.
  const targetNames = Array.from(
    { length: MAX_TARGET_COOKIES },
    (_, slot) => `${session.replace(/^__Host-/, '__Secure-')}-target-${slot}`,
  )
  const targets = targetNames.slice(0, Math.floor(limits.headers / HEADERS_PER_COOKIE_BYTES))
  const [tries, cleared, signedOut] = [`${session}-tries`, `${session}-cleared`, `${session}-signed-out`]
  const choice = `${session}-provider`
  const own = [session, tries, cleared, signedOut, choice, ...logins, ...targetNames]
  const prefixes = PREFIX.test(session) ? ['__Host-', '__Secure-'] : ['']
  const all = new Set(prefixes.flatMap((prefix) => own.map((name) => prefix + name.replace(PREFIX, ''))))
  return { session, logins, targets, tries, cleared, signedOut, choice, all }
}

/** Returns whether all public URLs use TLS, so that the cookies can be `Secure`. */
export function isSecure(publicUrls: readonly string[]): boolean {
  return publicUrls.every((url) => url.startsWith('https:'))
}

function prefixed({ name, domain, path }: Config['session']['cookie'], secure: boolean): string {
  if (!secure || PREFIX.test(name)) return name
  return domain === null && path === '/' ? `__Host-${name}` : `__Secure-${name}`
}
