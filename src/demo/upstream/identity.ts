import type { IncomingHttpHeaders } from 'node:http'

// What the demo's configuration sets, and what applications behind other proxies are used to.
const userHeaders = ['x-name', 'x-user', 'x-forwarded-preferred-username', 'x-forwarded-user', 'x-email']

const extendedValue = /^UTF-8'[\w-]*'(.*)$/i

/** What a header value says, where it is an extended value (RFC 8187, section 3.2) that can be decoded. */
export const decodeHeader = (value: string): string => {
  const encoded = extendedValue.exec(value)?.[1]
  if (encoded === undefined) return value
  try {
    return decodeURIComponent(encoded)
  } catch {
    return value
  }
}

/** Who is signed in according to the request's headers, or null. */
export const signedInUser = (headers: IncomingHttpHeaders): string | null => {
  const value = userHeaders.map((name) => headers[name]).find((found) => typeof found === 'string' && found !== '')
  return typeof value === 'string' ? decodeHeader(value) : null
}

/** A header value that can be shown: of a bearer token the first twelve characters. */
export const withoutSecret = (value: string): string => value.replace(/^(Bearer +)(\S{12})\S+$/i, '$1$2…')
