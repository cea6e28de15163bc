import type { ServerResponse } from 'node:http'

/** Media types of answers that have no end of their own. */
const STREAM =
  /^(?:text\/event-stream|multipart\/x-mixed-replace|application\/(?:x-ndjson|stream\+json|json-seq|grpc-web))\b/i
/** How long a client may take to read the end of a stream, ms. */
const LAST_WORDS = 1_000

/** Whether an answer of this media type goes on until somebody ends it. */
export function isEventStream(contentType: string | null): boolean {
  return contentType !== null && STREAM.test(contentType)
}

/** Cuts a client off that does not read the end of its stream within a second. */
export function allowLastWords(response: ServerResponse): void {
  setTimeout(() => {
    // One that waits behind another answer ends when its turn comes.
    if (response.socket !== null && !response.writableFinished) response.destroy()
  }, LAST_WORDS).unref()
}
