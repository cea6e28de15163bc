import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** The two ends of a client's request. */
interface Ends {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** By connection, who waits for an answer behind one that has not ended. */
const queued = new WeakMap<Socket, Set<() => void>>()

/** Whether the client has gone. */
export function hasLeft({ request, response }: Ends): boolean {
  return response.destroyed || request.socket.destroyed
}

/** Calls `gone` when the client goes before its answer has ended. */
export function onDeparture({ request, response }: Ends, gone: () => void): void {
  response.on('close', gone)
  // Node gives a pipelined request's answer the connection only when its turn comes: until then it hears of nothing.
  if (response.socket === null) queue(request.socket, gone)
}

/** Calls it no more. */
export function offDeparture({ request, response }: Ends, gone: () => void): void {
  response.off('close', gone)
  queued.get(request.socket)?.delete(gone)
}

/** One listener a connection, however many requests wait on it. */
function queue(socket: Socket, gone: () => void): void {
  const waiting = queued.get(socket)
  if (waiting !== undefined) {
    waiting.add(gone)
    return
  }
  const first = new Set([gone])
  queued.set(socket, first)
  socket.once('close', () => {
    for (const leave of first) leave()
  })
}
