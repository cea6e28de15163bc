import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * Returns the answer that a connection is sending, or `null`. Node.js stores it in a private member, which its own error
 * handler reads for the same purpose: https://github.com/nodejs/node/pull/44818
 */
export function answerUnderWay(socket: Socket): ServerResponse | null {
  const answer: unknown = Reflect.get(socket, '_httpMessage')
  return answer instanceof ServerResponse ? answer : null
}

/** Passes `drain` to the answer, in place of the listener that Node.js removes at an upgrade. */
export function passDrain(this: Socket): void {
  const answer = answerUnderWay(this)
  if (answer?.writableNeedDrain === true) answer.emit('drain')
}
