import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * Returns the answer that occupies a connection, or `null`. Node.js keeps it in a private member, which its own error
 * handler reads for the same reason: https://github.com/nodejs/node/pull/44818
 */
export function answerUnderWay(socket: Socket): ServerResponse | null {
  const answer: unknown = Reflect.get(socket, '_httpMessage')
  return answer instanceof ServerResponse ? answer : null
}

/** A listener for `drain` in place of the one that Node.js removes at an upgrade; it passes the event to the answer. */
export function passDrain(this: Socket): void {
  const answer = answerUnderWay(this)
  if (answer?.writableNeedDrain === true) answer.emit('drain')
}
