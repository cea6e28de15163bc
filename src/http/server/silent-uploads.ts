import type { IncomingMessage } from 'node:http'
import { waitsToBeAsked } from './expect-continue.ts'

/** A client that sends nothing of an expected body between two checks is refused. */
const CHECK_MS = 30_000

export interface Upload {
  readonly request: IncomingMessage
  /** The number of bytes that have arrived. */
  readonly received: number
  readonly refuse: () => void
}

/**
 * Refuses uploads on which nothing arrives. An upload may take hours while data arrives, and the client is not at fault
 * if the application does not read the body. Returns the timer of the checks.
 */
export function watchSilentUploads(uploads: () => Iterable<Upload>): NodeJS.Timeout {
  const before = new WeakMap<IncomingMessage, number>()
  return setInterval(() => {
    for (const { request, received, refuse } of uploads()) {
      if (request.complete || waitsToBeAsked(request)) continue
      const isSilent = before.get(request) === received && request.readableLength === 0
      before.set(request, received)
      if (isSilent) refuse()
    }
  }, CHECK_MS).unref()
}
