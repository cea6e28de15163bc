import type { IncomingHttpHeaders } from 'node:http'

/** The token that a client brings itself in `Authorization: Bearer` (RFC 6750, section 2.1), or `null`. */
export function bearerToken(headers: IncomingHttpHeaders): string | null {
  const [, token = null] = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(headers.authorization ?? '') ?? []
  return token
}
