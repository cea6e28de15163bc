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
 * Finds out whether a client speaks HTTP/2: over TLS by the negotiated protocol, otherwise by the first bytes, which stay
 * in the socket's buffer. Closes the connection if these bytes take longer than `timeout` ms.
 */
export function detectHttp2(connection: Socket, timeout: number, tell: (isHttp2: boolean) => void): void {
  if (connection instanceof TLSSocket) {
    tell(connection.alpnProtocol === 'h2')
    return
  }
  let read = Buffer.alloc(0)
  const close = (): void => {
    connection.destroy()
  }
  const timer = setTimeout(close, timeout).unref()
  const onData = (chunk: Buffer): void => {
    read = Buffer.concat([read, chunk])
    const seen = Math.min(read.length, PREFACE.length)
    const isPreface = read.compare(PREFACE, 0, seen, 0, seen) === 0
    if (isPreface && seen < PREFACE.length) return
    connection.off('data', onData).off('end', close).off('error', close)
    clearTimeout(timer)
    connection.pause()
    connection.unshift(read)
    tell(isPreface)
    // HTTP/1.1 servers expect a flowing connection. HTTP/2 servers have already taken over the connection.
    if (!isPreface) connection.resume()
  }
  connection.on('data', onData).on('end', close).on('error', close)
  connection.once('close', () => {
    clearTimeout(timer)
  })
}
