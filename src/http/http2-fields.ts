import type { OutgoingHttpHeaders } from 'node:http2'
import { cachedByName } from '../header-names.ts'

/** Options of node:http2 with which Node.js 24 sends repeated fields as they are. Earlier versions refuse some of them. */
export const REPEATED_FIELDS = { strictSingleValueFields: false }
const REFUSES_REPEATED = Number.parseInt(process.versions.node, 10) < 24

/** The lists among the fields that Node.js sends only once: https://www.rfc-editor.org/rfc/rfc9110#section-5.3 */
const LISTS = new Set(['content-encoding', 'content-language', 'if-match', 'if-none-match'])

/** The other fields that Node.js sends only once: https://nodejs.org/api/http2.html#headers-object */
const SINGLE = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-length',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'host',
  'if-modified-since',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
])

/** The error for different values of a field that Node.js sends only once over HTTP/2. */
export class RepeatedFieldError extends Error {
  constructor(name: string) {
    super(`the field ${name} has several values, but may occur only once`)
  }
}

const lowerCase = cachedByName((name) => name.toLowerCase())

/**
 * Returns fields (name, value, name, value …) as an object for node:http2, without the fields in `omitted`. Repeated
 * fields remain separate, except those that this version of Node.js sends only once: lists and equal values become one
 * field, and other values throw a `RepeatedFieldError`.
 */
export function headersOf(fields: readonly string[], omitted: ReadonlySet<string> | null = null): OutgoingHttpHeaders {
  // Names such as `constructor` must have no value yet, so the object has no prototype.
  const headers: OutgoingHttpHeaders = Object.create(null)
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = lowerCase(fields[i] ?? '')
    if (omitted !== null && omitted.has(name)) continue
    const value = withoutBlanksBehind(fields[i + 1] ?? '')
    const before = headers[name]
    if (before === undefined) headers[name] = value
    else if (Array.isArray(before)) before.push(value)
    else if (!REFUSES_REPEATED) headers[name] = [String(before), value]
    else if (LISTS.has(name)) headers[name] = `${String(before)}, ${value}`
    else if (!SINGLE.has(name)) headers[name] = [String(before), value]
    else if (before !== value) throw new RepeatedFieldError(name)
  }
  return headers
}

/** Returns the fields of raw headers without pseudo-header fields: name, value, name, value … */
export function fieldsOf(raw: unknown): string[] {
  if (!Array.isArray(raw)) return []
  const fields: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = String(raw[i])
    if (!name.startsWith(':')) fields.push(name, String(raw[i + 1]))
  }
  return fields
}

/** Returns the first value of a field in a list of fields, or an empty string. The name is in lower case. */
export function valueIn(fields: readonly string[], wanted: string): string {
  const at = fields.findIndex((name, i) => i % 2 === 0 && lowerCase(name) === wanted)
  return at === -1 ? '' : (fields[at + 1] ?? '')
}

/**
 * Returns whether a content type is gRPC's. gRPC-web has a type of its own.
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
 */
export function isGrpc(contentType: unknown): boolean {
  return typeof contentType === 'string' && /^application\/grpc(?:[+;]|$)/i.test(contentType)
}

/**
 * Removes trailing blanks, which are allowed only in HTTP/1.1.
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.2.1
 */
function withoutBlanksBehind(value: string): string {
  let end = value.length
  while (end > 0 && (value.charCodeAt(end - 1) === 0x20 || value.charCodeAt(end - 1) === 0x09)) end -= 1
  return end === value.length ? value : value.slice(0, end)
}
