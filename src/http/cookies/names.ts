import type { Config } from '../../config/schema.ts'

/** Limits the size of the Cookie header. */
const LOGIN_SLOTS = 4

export interface CookieNames {
  readonly session: string
  readonly logins: readonly string[]
  readonly tries: string
  readonly cleared: string
  readonly choice: string
  readonly all: ReadonlySet<string>
}

/** Returns the names of the cookies, with the `__Host-` or `__Secure-` prefix that browsers enforce. */
export function cookieNames({ session: { cookie }, publicUrl }: Pick<Config, 'session' | 'publicUrl'>): CookieNames {
  const session = prefixed(cookie, isSecure(publicUrl))
  const logins = Array.from({ length: LOGIN_SLOTS }, (_, slot) => `${session}-login-${slot}`)
  const [tries, cleared, choice] = [`${session}-tries`, `${session}-cleared`, `${session}-provider`]
  return { session, logins, tries, cleared, choice, all: new Set([session, tries, cleared, choice, ...logins]) }
}

/** Returns whether all public URLs use TLS, so that the cookies can be `Secure`. */
export function isSecure(publicUrls: readonly string[]): boolean {
  return publicUrls.every((url) => url.startsWith('https:'))
}

function prefixed({ name, domain }: Config['session']['cookie'], secure: boolean): string {
  if (!secure || name.startsWith('__Host-') || name.startsWith('__Secure-')) return name
  return domain === null ? `__Host-${name}` : `__Secure-${name}`
}
