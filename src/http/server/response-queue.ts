import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { answerUnderWay } from './answer-under-way.ts'

/**
 * The answers that wait, by connection. Answers go out in the order of their requests, and Node.js assigns the connection
 * to one at a time.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2
 */
const queues = new WeakMap<Socket, Set<ServerResponse>>()

/**
 * Registers an answer that waits, so that it closes with its connection. Older versions of Node.js forget it:
 * https://github.com/nodejs/node/pull/62534
 */
export function enqueue(response: ServerResponse): void {
  const { socket } = response.req
  const queue = queues.get(socket) ?? openQueue(socket)
  queue.add(response)
  response.once('socket', () => {
    queue.delete(response)
  })
}

/** Returns how many answers wait on a connection. */
export function waitingOn(socket: Socket): number {
  return queues.get(socket)?.size ?? 0
}

/** Calls `ready` when the answer has the connection, which may be at once; never when the connection closes first. */
export function inTurn(response: ServerResponse, ready: () => void): void {
  if (response.socket === null) response.once('socket', ready)
  else ready()
}

/** Closes the connection instead of sending the rest of an answer, behind the answers before it. */
export function breakOff(response: ServerResponse): void {
  // In Node.js 24 a connection stays open without an answer when an answer that waits is destroyed.
  inTurn(response, () => {
    response.destroy()
  })
}

/** Returns the answer to the latest request on a connection, or `null` when it has ended. */
export function latestAnswer(socket: Socket): ServerResponse | null {
  return [...(queues.get(socket) ?? [])].at(-1) ?? answerUnderWay(socket)
}

/**
 * Tells whether an answer on this connection has announced that it is the last one: further requests must not be handled.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.6
 */
export function hasSaidClose(socket: Socket): boolean {
  if (socket.writableEnded) return true
  // Whether the head says `Connection: close` is in a private member only; https://nodejs.org/api/http.html has no
  // public one, and no issue is known.
  return [answerUnderWay(socket), ...(queues.get(socket) ?? [])].some(
    (answer) => answer?.headersSent === true && Reflect.get(answer, '_last') === true,
  )
}

/** Creates the queue of a connection, with one listener for all the answers that will wait. */
function openQueue(socket: Socket): Set<ServerResponse> {
  const queue = new Set<ServerResponse>()
  queues.set(socket, queue)
  socket.once('close', () => {
    for (const response of queue) {
      response.destroy()
      if (response.closed) continue
      // Node.js does the same for the answer that has the connection.
      Reflect.set(response, '_closed', true)
      response.emit('close')
    }
    queue.clear()
  })
  return queue
}
