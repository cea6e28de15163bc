import type { IncomingMessage } from 'node:http'
import { Fault } from '../../errors.ts'
import { Http2Request } from './http2-stream.ts'
import { upgradeOf } from './upgrade.ts'

/**
 * Returns whether the bytes after a request cannot be trusted to be another request: Node.js's parser loses bytes after
 * a request for another protocol, and HTTP/1.0 has no chunked encoding.
 */
export function isLastOnConnection(request: IncomingMessage): boolean {
  return (request.headers.upgrade !== undefined && upgradeOf(request) === null) || isChunkedInOld(request)
}

/**
 * Returns whether an HTTP/1.0 request claims to be chunked: recipients disagree on where such a request ends.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-6.1
 */
export function isChunkedInOld({ httpVersion, headers }: IncomingMessage): boolean {
  return httpVersion === '1.0' && headers['transfer-encoding'] !== undefined
}

/**
 * Returns whether a Transfer-Encoding only frames the message. The gateway cannot decode other codings, and drops the
 * header that names them.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7
 */
export function isPlainCoding(transferEncoding: string): boolean {
  return /^[\s,]*(?:chunked|identity)[\s,]*$/i.test(transferEncoding)
}

/**
 * Creates the fault for a request with more than `most` header or trailer fields. Node.js's own limit silently drops
 * further fields, even Content-Length or Host.
 * @see https://www.rfc-editor.org/rfc/rfc6585#section-5
 */
export function tooManyFields(what: 'header' | 'trailer', most: number): Fault {
  return new Fault('bad_request', {
    status: 431,
    text: `bad_request.too_many_${what}s`,
    cause: new Error(`more than ${most} ${what} fields (limits.headerFields)`),
  })
}

/**
 * Returns whether a request announces a body.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-6.3
 */
export function hasBody(request: IncomingMessage): boolean {
  if (request instanceof Http2Request) return request.hasBody
  const { headers } = request
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}
