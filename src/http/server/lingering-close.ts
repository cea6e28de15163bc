import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { Http2Request } from './http2-stream.ts'

/** How long a client may pause while it sends the rest of its body after the response. */
const LINGER_MS = 5_000
/**
 * How long a client may continue to send after the response. Many browsers read a response only after they sent the
 * body.
 */
const MAX_LINGER_MS = 30_000

/** Reads and discards the rest of a body, even if an iterator has read a part of it. */
export function dropRest(request: IncomingMessage): void {
  const drop = (): void => {
    while (request.read() !== null) {
      /* Discarded. */
    }
  }
  request.on('readable', drop)
  drop()
}

/**
 * Changes how a connection closes if the request's body has not arrived completely. The gateway ends its side first
 * and discards what the client sends, for at most 30 s. An immediate close would reset the connection, and the client
 * would lose the response. Node.js closes immediately, in a private method: https://github.com/nodejs/node/pull/36205
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.6
 */
export function lingeringClose(request: IncomingMessage): void {
  // An HTTP/2 stream ends without its connection.
  if (request instanceof Http2Request) return
  const { socket } = request
  socket.destroySoon = () => {
    if (request.complete) {
      Socket.prototype.destroySoon.call(socket)
      return
    }
    const close = (): void => {
      socket.destroy()
    }
    socket.end()
    request.once('end', close)
    socket.setTimeout(LINGER_MS, close)
    setTimeout(close, MAX_LINGER_MS).unref()
    dropRest(request)
  }
}
