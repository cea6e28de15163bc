import type { Config } from '../config/schema.ts'

/** The maximum length of a return URL's path, query and fragment together. */
export const MAX_TARGET_LENGTH = 8192

/** Browsers drop or replace these characters, so a URL that contains one could lead to another destination. */
// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f\\]/

/**
 * Returns the path, query and fragment of a return URL, or `null` if it leads away from `origin` or could be understood
 * to do so. A return URL on another origin that `isAllowed` accepts is returned with that origin. Parses the URL like a
 * browser.
 */
export function returnTarget(
  target: string | null | undefined,
  origin: string,
  isAllowed: (origin: string) => boolean = () => false,
): string | null {
  if (target === null || target === undefined || target === '' || UNSAFE.test(target)) return null
  if (!URL.canParse(target, origin)) return null
  const url = new URL(target, origin)
  // The `origin` of a `blob:` URL is that of the URL inside it, and its `pathname` is the whole URL inside it.
  if (!/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') return null
  if (!/^\/(?!\/)/.test(url.pathname)) return null
  const path = url.pathname + url.search + url.hash
  if (path.length > MAX_TARGET_LENGTH) return null
  if (url.origin === origin) return path
  return isAllowed(url.origin) ? url.origin + path : null
}

/** Returns the path of the start page, the default return URL: the root of the paths that have the session cookie. */
export function startPageOf({
  session,
}: {
  readonly session: { readonly cookie: Pick<Config['session']['cookie'], 'path'> }
}): string {
  const { path } = session.cookie
  return path === '/' ? path : `${path}/`
}

/**
 * Returns a return URL of `origin` as it reads at the origin of the login: without its origin only if they are the
 * same.
 */
export function targetAtLogin(target: string, origin: string, loginOrigin: string): string {
  return origin === loginOrigin || !target.startsWith('/') ? target : origin + target
}
