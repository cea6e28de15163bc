import { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * The answer that a connection is busy with, or `null`. Node keeps a note of it for itself, and tells it in no other
 * way.
 */
export function answerUnderWay(socket: Socket): ServerResponse | null {
  const answer: unknown = Reflect.get(socket, '_httpMessage')
  return answer instanceof ServerResponse ? answer : null
}

/** A `drain` listener that Node.js takes off a connection with an upgrade: it tells the answer under way. */
export function passDrain(this: Socket): void {
  const answer = answerUnderWay(this)
  if (answer?.writableNeedDrain === true) answer.emit('drain')
}
