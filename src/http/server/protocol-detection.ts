import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** The first bytes of an HTTP/2 connection: https://www.rfc-editor.org/rfc/rfc9113#section-3.4 */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/**
 * Removes the listener with which an HTTP server serves its connections, and returns it. `readyEvent` is the event of a
 * connection that is ready for HTTP.
 *
 * Node.js documents that programs may emit `connection` with any socket. It does not document that a server serves its
 * connections in a listener of that event: https://nodejs.org/api/http.html#event-connection
 */
export function takeConnections(
  server: Server,
  readyEvent: 'connection' | 'secureConnection',
): (connection: Socket) => void {
  const listeners = server.listeners(readyEvent)
  server.removeAllListeners(readyEvent)
  return (connection) => {
    for (const listener of listeners) listener.call(server, connection)
  }
}

/**
 * Reads the first bytes of a connection until `read` returns something else than `null`. The first `length` bytes are
 * consumed, the others stay in the socket's buffer, and the connection is paused. Closes the connection if this takes
 * longer than `timeout` ms, and after calling `onProblem` if `read` throws.
 */
export function readAhead<T extends { readonly length: number }>(
  connection: Socket,
  timeout: number,
  read: (bytes: Buffer) => T | null,
  done: (found: T) => void,
  onProblem: (problem: Error) => void = () => {},
): void {
  let bytes: Buffer = Buffer.alloc(0)
  const close = (): void => {
    connection.destroy()
  }
  const fail = (problem: unknown): void => {
    onProblem(problem instanceof Error ? problem : new Error(String(problem)))
    close()
  }
  const timer = setTimeout(() => {
    fail(new Error('the first bytes of the connection did not arrive in time'))
  }, timeout).unref()
  const onData = (chunk: Buffer): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    let found: T | null
    try {
      found = read(bytes)
    } catch (problem) {
      fail(problem)
      return
    }
    if (found === null) return
    connection.off('data', onData).off('end', close).off('error', close)
    clearTimeout(timer)
    connection.pause()
    if (found.length < bytes.length) connection.unshift(bytes.subarray(found.length))
    done(found)
  }
  connection.on('data', onData).on('end', close).on('error', close)
  connection.once('close', () => {
    clearTimeout(timer)
  })
  connection.resume()
}

/**
 * Finds out whether a client speaks HTTP/2: over TLS by the negotiated protocol, otherwise by the first bytes, which stay
 * in the socket's buffer. Closes the connection if these bytes take longer than `timeout` ms.
 */
export function detectHttp2(connection: Socket, timeout: number, tell: (isHttp2: boolean) => void): void {
  if (connection instanceof TLSSocket) {
    tell(connection.alpnProtocol === 'h2')
    return
  }
  readAhead(connection, timeout, findPreface, ({ isPreface }) => {
    tell(isPreface)
    // HTTP/1.1 servers expect a flowing connection. HTTP/2 servers have already taken over the connection.
    if (!isPreface) connection.resume()
  })
}

/** Returns `null` if more bytes are needed. The preface is not consumed. */
function findPreface(bytes: Buffer): { readonly isPreface: boolean; readonly length: 0 } | null {
  const seen = Math.min(bytes.length, PREFACE.length)
  const isPreface = bytes.compare(PREFACE, 0, seen, 0, seen) === 0
  return isPreface && seen < PREFACE.length ? null : { isPreface, length: 0 }
}
