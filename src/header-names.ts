/**
 * Headers that belong to one connection, in lower case: those that the RFC names, and Trailer, which announces fields
 * of a chunked body that the next hop frames for itself.
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
 * Request headers that the gateway answers in place of the application: credentials for a proxy, `Expect`, and the
 * settings of an HTTP/2 upgrade. A response may carry their names for the client.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-11.7
 */
export const FOR_THE_GATEWAY: ReadonlySet<string> = new Set([
  'proxy-authorization',
  'proxy-authenticate',
  'expect',
  'http2-settings',
])

/** A `Connection` that names no header beyond those in `HOP_BY_HOP`. */
const USUAL_CONNECTION = /^(?:keep-alive|close|upgrade)$/i

/**
 * Returns the header names that a `Connection` value lists, in lower case, added to `others`; `others` itself, for the
 * usual values.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
 */
export function connectionOptions(value: string, others: Set<string> | null = null): Set<string> | null {
  if (USUAL_CONNECTION.test(value)) return others
  const names = others ?? new Set<string>()
  for (const name of value.toLowerCase().split(',')) names.add(name.trim())
  return names
}

/**
 * Folds a header name as CGI does: lower case, with `-` for every character that is not a letter or a digit. Servers
 * with such an interface take two names that fold alike for the same header.
 * @see https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18
 */
export function foldHeaderName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '-')
}
