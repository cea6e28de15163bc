import { STATUS_CODES } from 'node:http'
import { latin1 } from '../../bytes.ts'
import {
  announcedTrailers,
  cachedByName,
  connectionOptions,
  HOP_BY_HOP,
  isAllowedInTrailers,
} from '../../header-names.ts'

/** The headers that need more than forwarding, by lower-case name. */
const MEANINGS = [
  'connection',
  'transfer-encoding',
  'location',
  'content-type',
  'content-disposition',
  'www-authenticate',
  'set-cookie',
  'dpop-nonce',
  'trailer',
] as const
type Meaning = (typeof MEANINGS)[number] | 'dropped' | 'passes'

const meaningOf = cachedByName((name): Meaning => {
  const lower = name.toLowerCase()
  const isDropped = HOP_BY_HOP.has(lower) || lower === 'gatehouse' || lower === 'x-request-id'
  return MEANINGS.find((one) => one === lower) ?? (isDropped ? 'dropped' : 'passes')
})

interface AnswerHeaders {
  /** Name, value, name, value … for the client, with one character per byte. */
  readonly headers: string[]
  readonly transferEncoding: string | null
  readonly location: string | null
  readonly contentType: string | null
  readonly authenticate: readonly string[]
  readonly dpopNonce: string | null
  /** The value of `Trailer`, which may be sent only with a chunked body. */
  readonly trailer: string | null
}

/**
 * Returns an upstream's headers without hop-by-hop headers, `Gatehouse`, `X-Request-Id` and the gateway's cookies.
 */
export function clientHeaders(
  raw: readonly (Buffer | string)[],
  isOwnCookie: (name: string) => boolean,
): AnswerHeaders {
  const headers: string[] = []
  let transferEncoding: string | null = null
  let lengthLast = false
  let location: string | null = null
  let contentType: string | null = null
  let authenticate: string[] | null = null
  let dpopNonce: string | null = null
  let trailer: string | null = null
  let named: Set<string> | null = null
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i])
    const meaning = meaningOf(name)
    if (meaning === 'dropped') continue
    const value = latin1(raw[i + 1])
    switch (meaning) {
      case 'connection':
        named = connectionOptions(value, named)
        continue
      case 'transfer-encoding':
        transferEncoding = transferEncoding === null ? value : `${transferEncoding}, ${value}`
        continue
      case 'trailer':
        trailer = trailer === null ? value : `${trailer}, ${value}`
        continue
      case 'content-disposition':
        lengthLast ||= NOT_ASCII.test(value)
        break
      case 'set-cookie':
        if (isOwnCookie(cookieName(value))) continue
        break
      case 'location':
        location = value
        break
      case 'content-type':
        contentType = value
        break
      case 'www-authenticate':
        authenticate = append(authenticate, value)
        break
      case 'dpop-nonce':
        dpopNonce = value
        break
      case 'passes':
        break
    }
    headers.push(name, value)
  }
  if (lengthLast) putLengthLast(headers)
  return {
    headers: named === null ? headers : without(headers, named),
    transferEncoding,
    location,
    contentType,
    authenticate: authenticate ?? NONE,
    dpopNonce,
    trailer: trailer === null ? null : announcedTrailers(trailer, passesAsTrailer),
  }
}

/**
 * Returns an upstream's trailer fields for the client: name, value, name, value …, with one character per byte. Drops
 * fields that a recipient needs before the body, cookies and `Gatehouse`.
 */
export function clientTrailers(raw: readonly (Buffer | string)[]): string[] {
  const out: string[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i])
    if (passesAsTrailer(name)) out.push(name, latin1(raw[i + 1]))
  }
  return out
}

function passesAsTrailer(name: string): boolean {
  return isAllowedInTrailers(name.toLowerCase())
}

const NONE: readonly string[] = []
const NOT_ASCII = /[^\t -~]/

/**
 * Moves Content-Length to the end, because Node.js decodes a Content-Disposition after Content-Length as UTF-8:
 * https://github.com/nodejs/node/issues/58240
 */
function putLengthLast(headers: string[]): void {
  const at = headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'content-length')
  if (at !== -1) headers.push(...headers.splice(at, 2))
}

function append(list: string[] | null, value: string): string[] {
  if (list === null) return [value]
  list.push(value)
  return list
}

/** Returns the name under which a browser sends a cookie back: `=name=value` comes back as `name=value`. */
export function cookieName(setCookie: string): string {
  const [, name = ''] = /^[\s=]*([^=;]*)/.exec(setCookie) ?? []
  return name.trim()
}

function without(headers: readonly string[], names: ReadonlySet<string>): string[] {
  const kept: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (!names.has(name.toLowerCase())) kept.push(name, headers[i + 1] ?? '')
  }
  return kept
}

/**
 * Removes Content-Length from a response without a body, because a client might wait for the body.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-8.6
 */
export function dropLength(headers: string[]): void {
  for (let i = headers.length - 2; i >= 0; i -= 2)
    if (headers[i]?.toLowerCase() === 'content-length') headers.splice(i, 2)
}

/** A valid status text, with one character per byte: https://www.rfc-editor.org/rfc/rfc9112#section-4 */
const PHRASE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/

/** Returns the upstream's own status text, or the standard one if the upstream's cannot be sent. */
export function statusText(status: number, phrase: string | null): string {
  const usual = STATUS_CODES[status] ?? ''
  return phrase === null || phrase === usual || !PHRASE.test(phrase) ? usual : phrase
}
