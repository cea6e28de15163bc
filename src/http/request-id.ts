import type { IncomingMessage } from 'node:http'
import { performance } from 'node:perf_hooks'

const kId = Symbol('id')

interface Identified extends IncomingMessage {
  [kId]?: string
}

let count = 0
const prefix = `${Math.floor(performance.timeOrigin).toString(36)}-${process.pid.toString(36)}-`

/** Returns a new request id, which is short and unique among the processes of a gateway. */
export function newRequestId(): string {
  count += 1
  return prefix + count.toString(36)
}

/** Returns the id of a request. Creates it on the first call. */
export function idOf(request: Identified): string {
  return (request[kId] ??= newRequestId())
}
