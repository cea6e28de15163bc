import type { RequestListener } from 'node:http'
import type { Socket } from 'node:net'
import { enqueue, inTurn, waitingOn } from './answer-queue.ts'

/** How many requests of one connection are worked on behind one whose answer has not ended. */
const MAX_AHEAD = 100

/**
 * Routes requests at once, but of those that are pipelined only a hundred: further ones wait for their turn, and nothing
 * more is read from the connection, which closes when no turn comes within `patience()` ms.
 */
export function limitPipelining(route: RequestListener, patience: () => number): RequestListener {
  const stopped = new WeakMap<Socket, NodeJS.Timeout>()

  function stopReading(socket: Socket): void {
    if (stopped.has(socket) || waitingOn(socket) <= MAX_AHEAD) return
    socket.pause()
    const close = (): void => {
      // Its client may have left: a connection that is not read does not tell.
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
    if (response.socket !== null) {
      route(request, response)
      return
    }
    const { socket } = request
    enqueue(response)
    if (waitingOn(socket) <= MAX_AHEAD) {
      route(request, response)
      return
    }
    // The parser starts reading again behind each request that it finds in a piece.
    process.nextTick(stopReading, socket)
    inTurn(response, () => {
      goOn(socket)
      // Node.js is not done with the answer before.
      process.nextTick(route, request, response)
    })
  }
}
