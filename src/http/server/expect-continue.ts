import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { inTurn } from './response-queue.ts'

const kWaiting = Symbol('waiting for 100 Continue')
const kContinueSent = Symbol('100 Continue goes out in its turn')

interface Waiting extends IncomingMessage {
  [kWaiting]?: ServerResponse
  [kContinueSent]?: true
}

/**
 * Routes requests with `Expect: 100-continue` like all others. Without a listener, Node.js would send 100 Continue
 * before the gate has decided.
 */
export function routeExpectations(server: Server): void {
  server.on('checkContinue', (request, response) => {
    waitForContinue(request, response)
    // Node.js closes the connection after a response without 100 Continue, even if the body has arrived. No issue
    // reports this. Node.js sets the flag before this event: https://nodejs.org/api/http.html#event-checkcontinue
    Object.defineProperty(response, '_expect_continue', { get: () => !request.complete })
    server.emit('request', request, response)
  })
  // A proxy need not understand other expectations: https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1
  server.on('checkExpectation', (request, response) => {
    server.emit('request', request, response)
  })
}

/** Marks a request whose client sends its body only after `100 Continue`. */
export function waitForContinue(request: Waiting, response: ServerResponse): void {
  request[kWaiting] = response
}

/** Returns whether the client sends its body only after `100 Continue`. */
export function waitsToBeAsked(request: Waiting): boolean {
  return request[kWaiting] !== undefined
}

/** Sends `100 Continue` once to a client that waits for it, after the responses to earlier requests. */
export function askForBody(request: Waiting): void {
  const response = request[kWaiting]
  if (response === undefined || request[kContinueSent] === true) return
  request[kContinueSent] = true
  inTurn(response, () => {
    delete request[kWaiting]
    if (!response.headersSent) response.writeContinue()
  })
}
