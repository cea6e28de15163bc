import type { IncomingMessage } from 'node:http'
import { upgradeOf } from './upgrade.ts'

/**
 * Whether nothing that follows a request on its connection may be taken for another one: it asks for a protocol that it
 * does not get (Node's parser loses what has come behind it), or its framing is one that HTTP/1.0 does not have (RFC
 * 9112, section 6.1).
 */
export function isLastOnConnection(request: IncomingMessage): boolean {
  return (request.headers.upgrade !== undefined && upgradeOf(request) === null) || isChunkedInOld(request)
}

/** Whether an HTTP/1.0 request says that it is chunked: another reader would find its end elsewhere. */
export function isChunkedInOld({ httpVersion, headers }: IncomingMessage): boolean {
  return httpVersion === '1.0' && headers['transfer-encoding'] !== undefined
}
