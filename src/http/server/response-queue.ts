import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * The waiting responses of each connection. Responses are sent in the order of their requests, and Node.js assigns the
 * connection to one response at a time.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2
 */
const queues = new WeakMap<Socket, Set<ServerResponse>>()

/**
 * Registers a waiting response, so that it closes with its connection. Older versions of Node.js do not close it:
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

export function waitingOn(socket: Socket): number {
  return queues.get(socket)?.size ?? 0
}

/**
 * Calls `ready` when the response has the connection, possibly at once. Does not call it if the connection closes
 * first.
 */
export function inTurn(response: ServerResponse, ready: () => void): void {
  if (response.socket === null) response.once('socket', ready)
  else ready()
}

/** Closes the connection instead of sending the rest of a response, but only after the earlier responses. */
export function breakOff(response: ServerResponse): void {
  // In Node.js 24, a connection stays open without a response if a waiting response is destroyed.
  inTurn(response, () => {
    response.destroy()
  })
}

/** Returns the response to the latest request on a connection, or `null` if it has ended. */
export function latestAnswer(socket: Socket): ServerResponse | null {
  return [...(queues.get(socket) ?? [])].at(-1) ?? answerUnderWay(socket)
}

/**
 * Returns whether a response on this connection has announced that it is the last one, so that further requests must
 * not be handled.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-9.6
 */
export function hasSaidClose(socket: Socket): boolean {
  if (socket.writableEnded) return true
  // Only a private member tells whether the head has `Connection: close`. https://nodejs.org/api/http.html has no
  // public member for this, and no issue requests one.
  return [answerUnderWay(socket), ...(queues.get(socket) ?? [])].some(
    (answer) => answer?.headersSent === true && Reflect.get(answer, '_last') === true,
  )
}

function openQueue(socket: Socket): Set<ServerResponse> {
  const queue = new Set<ServerResponse>()
  queues.set(socket, queue)
  socket.once('close', () => {
    for (const response of queue) {
      response.destroy()
      if (response.closed) continue
      // Node.js also sets `_closed` and emits `close` for the response that has the connection.
      Reflect.set(response, '_closed', true)
      response.emit('close')
    }
    queue.clear()
  })
  return queue
}

/**
 * Returns the response that a connection is sending, or `null`. Node.js stores it in a private member, which its own
 * error handler reads for the same purpose: https://github.com/nodejs/node/pull/44818
 */
export function answerUnderWay(socket: Socket): ServerResponse | null {
  const answer: unknown = Reflect.get(socket, '_httpMessage')
  return answer instanceof ServerResponse ? answer : null
}

/** Passes `drain` to the response, in place of the listener that Node.js removes at an upgrade. */
export function passDrain(this: Socket): void {
  const answer = answerUnderWay(this)
  if (answer?.writableNeedDrain === true) answer.emit('drain')
}
