import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import { enqueue, hasSaidClose, inTurn, waitingOn } from './response-queue.ts'

/** How many requests of a connection are handled while an earlier response has not ended. */
const MAX_AHEAD = 100

/**
 * Routes requests immediately, but at most a hundred pipelined requests per connection. The next request waits, and the
 * gateway does not read the connection during the wait. If the wait is longer than `patience()` ms, the gateway closes
 * the connection. A request whose response is destroyed during the wait is still routed, to get an access line.
 */
export function limitPipelining(route: RequestListener, patience: () => number): RequestListener {
  const stopped = new WeakMap<Socket, NodeJS.Timeout>()

  function stopReading(socket: Socket): void {
    if (stopped.has(socket) || waitingOn(socket) <= MAX_AHEAD) return
    socket.pause()
    const close = (): void => {
      // The client may have disconnected unnoticed, because the connection is not read.
      socket.destroy()
    }
    stopped.set(socket, setTimeout(close, patience()).unref())
  }

  function goOn(socket: Socket): void {
    clearTimeout(stopped.get(socket))
    stopped.delete(socket)
    if (waitingOn(socket) > MAX_AHEAD) stopReading(socket)
    else socket.resume()
  }

  return (request, response) => {
    const { socket } = request
    const isFirst = response.socket !== null
    if (isFirst && !socket.writableEnded) {
      route(request, response)
      return
    }
    const mayBegin = !hasSaidClose(socket)
    if (!isFirst) enqueue(response)
    if (mayBegin && waitingOn(socket) <= MAX_AHEAD) {
      route(request, response)
      return
    }
    let routed = false
    const routeOnce = (): void => {
      if (routed) return
      routed = true
      route(request, response)
    }
    response.once('close', routeOnce)
    if (!mayBegin) return
    // The parser resumes the connection after each request in a chunk.
    process.nextTick(stopReading, socket)
    inTurn(response, () => {
      goOn(socket)
      // Node.js has not yet finished with the previous response.
      process.nextTick(routeOnce)
    })
  }
}
