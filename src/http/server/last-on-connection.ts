import type { IncomingMessage } from 'node:http'
import { upgradeOf } from './upgrade.ts'

/**
 * Returns whether the bytes after a request can't be trusted to be another request: Node.js's parser loses bytes after a
 * request for another protocol, and HTTP/1.0 has no chunked encoding.
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
