/**
 * Hop-by-hop headers, in lower case: those that the RFC names, and Trailer, because the next hop frames a chunked body
 * itself.
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
