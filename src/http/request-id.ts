import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

const kId = Symbol('id')

interface Identified extends IncomingMessage {
  [kId]?: string
}

/** The ids that are accepted from a trusted proxy. */
const GIVEN_ID = /^[\w.-]{1,64}$/
const MAX_COUNT = 0xfff

let millisecond = 0
let count = 0
let beginning = ''
let ending = ''

/**
 * Returns a new request id: a UUIDv7, greater than all earlier ids of this process. The ids of one millisecond differ
 * in a counter and share their random bits, because new random bits for each id would double its cost.
 * @see https://www.rfc-editor.org/rfc/rfc9562#section-6.2
 */
export function newRequestId(): string {
  const now = Date.now()
  count += 1
  if (now > millisecond) beginMillisecond(now)
  else if (count > MAX_COUNT) beginMillisecond(millisecond + 1)
  return `${beginning}${(0x7000 | count).toString(16)}${ending}`
}

function beginMillisecond(ms: number): void {
  const time = ms.toString(16).padStart(12, '0')
  millisecond = ms
  count = 0
  beginning = `${time.slice(0, 8)}-${time.slice(8)}-`
  // The variant and 62 random bits.
  ending = randomUUID().slice(18)
}

/** Returns the id of a request, and gives the request a new one if it has none. */
export function idOf(request: Identified): string {
  return (request[kId] ??= newRequestId())
}

/**
 * Gives a request the id that its trusted proxy has sent, and returns the id. The request keeps its own id if the proxy
 * has sent none, several or one with other characters.
 */
export function takeGivenId(request: Identified): string {
  const given = request.headers['x-request-id']
  // Node.js joins repeated fields with a comma, so that they do not match.
  if (typeof given === 'string' && GIVEN_ID.test(given)) request[kId] = given
  return idOf(request)
}
