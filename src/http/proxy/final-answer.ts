import type { IncomingMessage } from 'node:http'
import type { CompiledRoute } from '../../gate/verdict.ts'

/**
 * How long undici is to wait for an answer's head, ms. Not at all (0) without a body: its clock ticks twice a second, and
 * what it has kept in mind for requests that are over, each collection of memory carries along. `waitForFinal` does it.
 */
export function headersTimeout({ timeout }: Pick<CompiledRoute, 'timeout'>, hasBody: boolean): number {
  return hasBody ? timeout : 0
}

/**
 * Calls `late` when `timeout` ms have passed from now and, with a body, since the client has sent it. Returns how to
 * stop counting.
 */
export function waitForFinal(
  request: IncomingMessage,
  hasBody: boolean,
  timeout: number,
  late: () => void,
): () => void {
  const wait = (): NodeJS.Timeout =>
    setTimeout(() => {
      if (hasBody && !request.complete) timer = wait()
      else late()
    }, timeout)
  let timer = wait()
  return () => {
    clearTimeout(timer)
  }
}
