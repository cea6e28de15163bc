/**
 * Hop-by-hop headers, in lower case: those that the RFC names, and Trailer, which describes the framing of a body.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
 */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/**
 * Request headers that the gateway handles in place of the application: credentials for a proxy, `Expect`, and the
 * settings of an HTTP/2 upgrade. In a response, these names are for the client.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-11.7
 */
export const FOR_THE_GATEWAY: ReadonlySet<string> = new Set([
  'proxy-authorization',
  'proxy-authenticate',
  'expect',
  'http2-settings',
])

/** The fields, in lower case, that a recipient needs before the body, besides those of the two sets above. */
const NEEDED_BEFORE_BODY: ReadonlySet<string> = new Set([
  // Framing and routing.
  'content-length',
  'host',
  // Request modifiers.
  'cache-control',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'max-forwards',
  'pragma',
  'range',
  // Authentication.
  'authorization',
  'cookie',
  'dpop',
  'set-cookie',
  'www-authenticate',
  // Response controls.
  'age',
  'date',
  'expires',
  'gatehouse',
  'location',
  'retry-after',
  'vary',
  'warning',
  'x-request-id',
  // Content format.
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-range',
  'content-type',
])

/**
 * Returns whether a field may be sent as a trailer field. The name is in lower case.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
 */
export function isAllowedInTrailers(name: string): boolean {
  return !HOP_BY_HOP.has(name) && !FOR_THE_GATEWAY.has(name) && !NEEDED_BEFORE_BODY.has(name)
}

/** Returns the names in a `Trailer` value for which `passes` is true, or `null` if there are none. */
export function announcedTrailers(value: string, passes: (name: string) => boolean): string | null {
  const names = value.split(',').map((name) => name.trim())
  const kept = names.filter((name) => name !== '' && passes(name))
  return kept.length === 0 ? null : kept.join(', ')
}

/** A `Connection` value that names only headers in `HOP_BY_HOP`. */
const USUAL_CONNECTION = /^(?:keep-alive|close|upgrade)$/i

/**
 * Adds the header names that a `Connection` value lists, in lower case, to `others`, and returns the set. Returns
 * `others` unchanged for the usual values.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
 */
export function connectionOptions(value: string, others: Set<string> | null = null): Set<string> | null {
  if (USUAL_CONNECTION.test(value)) return others
  const names = others ?? new Set<string>()
  for (const name of value.toLowerCase().split(',')) names.add(name.trim())
  return names
}

/**
 * Folds a header name like CGI: lower case, with `-` for every character that is not a letter or a digit. Servers with
 * such an interface treat two names with the same folded form as the same header.
 * @see https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18
 */
export function foldHeaderName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-')
}

const MAX_CACHED_NAMES = 1000
const MAX_CACHED_LENGTH = 100

/** Returns a function with the results of `find`, which remembers them for a limited number of names. */
export function cachedByName<T extends string>(find: (name: string) => T): (name: string) => T {
  const cache = new Map<string, T>()
  return (name) => {
    const cached = cache.get(name)
    if (cached !== undefined) return cached
    const found = find(name)
    if (cache.size < MAX_CACHED_NAMES && name.length <= MAX_CACHED_LENGTH) cache.set(name, found)
    return found
  }
}
