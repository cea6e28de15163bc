import type { IncomingHttpHeaders } from 'node:http'

// The headers of the demo's configuration, and those of other proxies.
const USER_HEADERS = ['x-name', 'x-user', 'x-forwarded-preferred-username', 'x-forwarded-user', 'x-email']

// An extended value: https://www.rfc-editor.org/rfc/rfc8187#section-3.2
const EXTENDED_VALUE = /^UTF-8'[\w-]*'(.*)$/i

/** Decodes a header value in extended notation; returns other values unchanged. */
export function decodeHeader(value: string): string {
  const encoded = EXTENDED_VALUE.exec(value)?.[1]
  if (encoded === undefined) return value
  try {
    return decodeURIComponent(encoded)
  } catch {
    return value
  }
}

export function signedInUser(headers: IncomingHttpHeaders): string | null {
  const value = USER_HEADERS.map((name) => headers[name]).find((found) => typeof found === 'string' && found !== '')
  return typeof value === 'string' ? decodeHeader(value) : null
}
