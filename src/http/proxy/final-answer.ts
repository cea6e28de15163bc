import type { IncomingMessage } from 'node:http'

/**
 * Calls `late` when `timeout` ms have passed since an interim answer and, with a body, since the client has sent it:
 * undici begins to count anew with each one. Returns how to stop counting.
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
    }, timeout).unref()
  let timer = wait()
  return () => {
    clearTimeout(timer)
  }
}
