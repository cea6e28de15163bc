import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'

/** How long a client that has been answered may be silent before it sends on, ms. */
const LINGER = 5_000
/** How long it may go on sending at all, ms: many browsers look at an answer only when they have sent everything. */
const LINGER_MOST = 30_000

/** Whether a request announces a body (RFC 9112, section 6.3). */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Reads what is left of a body, for nobody, however much of it has been read in another way. */
export function dropRest(request: IncomingMessage): void {
  const drop = (): void => {
    while (request.read() !== null) {
      /* It is for nobody. */
    }
  }
  request.on('readable', drop)
  drop()
}

/**
 * Lets a connection that is closed before the request's body has come close in stages (RFC 9112, section 9.6): the
 * answer, the end of our side, and for 30 s at most what still comes is dropped. To close at once resets the
 * connection, and the client loses its answer.
 */
export function lingeringClose(request: IncomingMessage): void {
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
    socket.setTimeout(LINGER, close)
    setTimeout(close, LINGER_MOST).unref()
    dropRest(request)
  }
}
