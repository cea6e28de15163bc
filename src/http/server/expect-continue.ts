import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { inTurn } from './response-queue.ts'

const kWaiting = Symbol('waiting for 100 Continue')
const kAsked = Symbol('100 Continue goes out in its turn')

interface Waiting extends IncomingMessage {
  [kWaiting]?: ServerResponse
  [kAsked]?: true
}

/**
 * Leads requests with `Expect: 100-continue` to where all others go: Node would ask for their bodies before anybody has
 * decided.
 */
export function routeExpectations(server: Server): void {
  server.on('checkContinue', (request: Waiting, response) => {
    request[kWaiting] = response
    // Node would close behind an answer without 100 Continue, also when the body has come all the same.
    Object.defineProperty(response, '_expect_continue', { get: () => !request.complete })
    server.emit('request', request, response)
  })
  // What else somebody may expect is nothing that a proxy has to understand (RFC 9110, section 10.1.1).
  server.on('checkExpectation', (request, response) => {
    server.emit('request', request, response)
  })
}

/** Whether the client keeps its body until it is asked for it (RFC 9110, section 10.1.1). */
export function waitsToBeAsked(request: Waiting): boolean {
  return request[kWaiting] !== undefined
}

/**
 * Sends `100 Continue` to a client that waits for it, once and not before the answers to earlier requests, unless it has
 * had its own.
 */
export function askForBody(request: Waiting): void {
  const response = request[kWaiting]
  if (response === undefined || request[kAsked] === true) return
  request[kAsked] = true
  inTurn(response, () => {
    delete request[kWaiting]
    if (!response.headersSent) response.writeContinue()
  })
}
