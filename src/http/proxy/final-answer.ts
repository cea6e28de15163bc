import type { IncomingMessage } from 'node:http'
import type { CompiledRoute } from '../../gate/verdict.ts'

/**
 * How long undici is to wait for an answer's head, ms. Without a body there is no limit (0): its clock ticks twice a
 * second, and what it has kept in mind for requests that are over, each collection of memory carries along. Their time is
 * kept by `waitForFinal` instead.
 */
export function headersTimeout({ timeout }: Pick<CompiledRoute, 'timeout'>, hasBody: boolean): number {
  return hasBody ? timeout : 0
}

/**
 * Calls `late` when `timeout` ms have passed. With a body, for which undici's clock starts anew at each interim answer, it
 * looks again as often as that until the client has sent it. Returns how to stop counting.
 */
export function waitForFinal(
  request: IncomingMessage,
  hasBody: boolean,
  timeout: number,
  late: () => void,
): () => void {
  let last: NodeJS.Immediate | undefined
  const wait = (): NodeJS.Timeout =>
    setTimeout(() => {
      if (hasBody && !request.complete) timer = wait()
      // A process that was stopped for a while hears of its timers before it looks at its sockets.
      else last = setImmediate(late)
    }, timeout)
  let timer = wait()
  return () => {
    clearTimeout(timer)
    clearImmediate(last)
  }
}
