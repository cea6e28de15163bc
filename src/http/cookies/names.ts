import type { Config } from '../../config/schema.ts'

const PREFIX = /^__(?:Host|Secure)-/

/** Limits the size of the Cookie header. */
const LOGIN_SLOTS = 4

export interface CookieNames {
  readonly session: string
  readonly logins: readonly string[]
  readonly tries: string
  readonly cleared: string
  readonly signedOut: string
  readonly all: ReadonlySet<string>
}

/**
 * Returns the names of the cookies, with the `__Host-` or `__Secure-` prefix that browsers enforce. `all` has the names
 * with both prefixes, because a gateway under another path of the same host may use the other one, and its cookies must
 * not reach the application either.
 */
export function cookieNames({ session: { cookie }, publicUrl }: Pick<Config, 'session' | 'publicUrl'>): CookieNames {
  const session = prefixed(cookie, isSecure(publicUrl))
  const logins = Array.from({ length: LOGIN_SLOTS }, (_, slot) => `${session}-login-${slot}`)
  const [tries, cleared, signedOut] = [`${session}-tries`, `${session}-cleared`, `${session}-signed-out`]
  const own = [session, tries, cleared, signedOut, ...logins]
  const prefixes = PREFIX.test(session) ? ['__Host-', '__Secure-'] : ['']
  const all = new Set(prefixes.flatMap((prefix) => own.map((name) => prefix + name.replace(PREFIX, ''))))
  return { session, logins, tries, cleared, signedOut, all }
}

/** Returns whether all public URLs use TLS, so that the cookies can be `Secure`. */
export function isSecure(publicUrls: readonly string[]): boolean {
  return publicUrls.every((url) => url.startsWith('https:'))
}

function prefixed({ name, domain, path }: Config['session']['cookie'], secure: boolean): string {
  if (!secure || PREFIX.test(name)) return name
  return domain === null && path === '/' ? `__Host-${name}` : `__Secure-${name}`
}
