import type { ServerResponse } from 'node:http'

/** An answer's body on its way to the client. */
export interface Delivery {
  readonly response: ServerResponse
  /**
   * The first chunk, until it is known whether it is the only one: most are, and go out in one piece with their head.
   */
  held: Buffer | null
  /** Head and first chunk are out. */
  begun: boolean
  /** Holds the upstream back. */
  pause(): void
  /** Lets it go on. */
  resume(): void
}

/** Passes a chunk on, as fast as the client takes it. */
export function deliver(delivery: Delivery, chunk: Buffer): void {
  if (!delivery.begun && delivery.held === null) {
    delivery.held = chunk
    return
  }
  begin(delivery)
  write(delivery, chunk)
}

/**
 * Shows the client the head, and the first chunk where it has come: an event stream's first event may be long in
 * coming.
 */
export function begin(delivery: Delivery): void {
  const { response, held, begun } = delivery
  if (begun || response.destroyed) return
  delivery.begun = true
  delivery.held = null
  // `flushHeaders` would encode the head as UTF-8: its strings have one character a byte.
  if (held === null) response.write('', 'latin1')
  else write(delivery, held)
}

/** Ends the body with what is still held. */
export function complete(delivery: Delivery): void {
  const { response, held } = delivery
  delivery.begun = true
  delivery.held = null
  if (held === null) response.end()
  else response.end(held)
}

function write(delivery: Delivery, chunk: Buffer): void {
  const { response } = delivery
  if (response.write(chunk)) return
  delivery.pause()
  response.once('drain', () => {
    // The end of another answer of this connection may have called it, inside undici's parser, which can't be entered
    // again from there.
    process.nextTick(resume, delivery)
  })
}

function resume(delivery: Delivery): void {
  delivery.resume()
}

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
