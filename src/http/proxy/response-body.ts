import type { ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'

/** An answer's body on its way from the upstream to the client. */
export interface ResponseBody {
  readonly response: ServerResponse
  /** Pauses and resumes the upstream; `null` before it is connected. */
  readonly controller: Dispatcher.DispatchController | null
  /**
   * The first chunk, until it is known whether it is the only one: most are, and go out in one piece with their head.
   */
  held: Buffer | null
  /** Head and first chunk are out. */
  begun: boolean
}

/** Passes a chunk on, as fast as the client takes it. */
export function deliver(body: ResponseBody, chunk: Buffer): void {
  if (!body.begun && body.held === null) {
    body.held = chunk
    return
  }
  begin(body)
  write(body, chunk)
}

/**
 * Shows the client the head, and the first chunk where it has come: an event stream's first event may be long in
 * coming.
 */
export function begin(body: ResponseBody): void {
  const { response, held, begun } = body
  if (begun || response.destroyed) return
  body.begun = true
  body.held = null
  // `flushHeaders` would encode the head as UTF-8: its strings have one character a byte.
  if (held === null) response.write('', 'latin1')
  else write(body, held)
}

/** Ends the body with what is still held. */
export function complete(body: ResponseBody): void {
  const { response, held } = body
  body.begun = true
  body.held = null
  if (held === null) response.end()
  else response.end(held)
}

function write(body: ResponseBody, chunk: Buffer): void {
  const { response } = body
  if (response.write(chunk)) return
  body.controller?.pause()
  response.once('drain', () => {
    // The end of another answer of this connection may have called it, inside undici's parser, which can't be entered
    // again from there.
    process.nextTick(resume, body)
  })
}

function resume(body: ResponseBody): void {
  body.controller?.resume()
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
