import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { answerUnderWay } from './answer-under-way.ts'

/**
 * Answers go out in the order of their requests (RFC 9112, section 9.3.2): one to a pipelined request has no connection
 * until those before it have ended. By connection, the answers that wait.
 */
const queues = new WeakMap<Socket, Set<ServerResponse>>()

/**
 * Follows an answer that waits, so that it is closed with its connection: not every Node.js tells it
 * (nodejs/node#62534).
 */
export function enqueue(response: ServerResponse): void {
  const { socket } = response.req
  const queue = queues.get(socket) ?? openQueue(socket)
  queue.add(response)
  response.once('socket', () => {
    queue.delete(response)
  })
}

/** How many answers wait on a connection. */
export function waitingOn(socket: Socket): number {
  return queues.get(socket)?.size ?? 0
}

/** Calls `ready` when it is the answer's turn: at once where it has the connection, never where that closes first. */
export function inTurn(response: ServerResponse, ready: () => void): void {
  if (response.socket === null) response.once('socket', ready)
  else ready()
}

/** Closes the connection in place of the rest of an answer, once the answers before it have ended. */
export function breakOff(response: ServerResponse): void {
  // To destroy an answer that waits would leave its connection open without another answer (Node.js 24).
  inTurn(response, () => {
    response.destroy()
  })
}

/** The answer to the latest request on a connection, unless that has ended. */
export function latestAnswer(socket: Socket): ServerResponse | null {
  return [...(queues.get(socket) ?? [])].at(-1) ?? answerUnderWay(socket)
}

/**
 * Whether no further request on a connection may be carried out: an answer has said that it is the last one (RFC 9112,
 * section 9.6).
 */
export function hasSaidClose(socket: Socket): boolean {
  if (socket.writableEnded) return true
  // Node.js keeps for itself what it has written into the head.
  return [answerUnderWay(socket), ...(queues.get(socket) ?? [])].some(
    (answer) => answer?.headersSent === true && Reflect.get(answer, '_last') === true,
  )
}

/** One listener a connection, however many answers wait on it. */
function openQueue(socket: Socket): Set<ServerResponse> {
  const queue = new Set<ServerResponse>()
  queues.set(socket, queue)
  socket.once('close', () => {
    for (const response of queue) {
      response.destroy()
      if (response.closed) continue
      // What Node.js does for the answer that has the connection.
      Reflect.set(response, '_closed', true)
      response.emit('close')
    }
    queue.clear()
  })
  return queue
}
