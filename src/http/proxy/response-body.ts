import type { ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'

/** An answer's body on its way from the upstream to the client. */
export interface ResponseBody {
  readonly response: ServerResponse
  /** Pauses and resumes the upstream; `null` before it is connected. */
  readonly controller: Dispatcher.DispatchController | null
  /** The first chunk, until it is known whether it is the only one: most are, and are written together with the head. */
  held: Buffer | null
  /** The head and the first chunk are written. */
  begun: boolean
}

/** Passes a chunk on, and pauses the upstream while the client does not read. */
export function deliver(body: ResponseBody, chunk: Buffer): void {
  if (!body.begun && body.held === null) {
    body.held = chunk
    return
  }
  begin(body)
  write(body, chunk)
}

/** Writes the head, and the first chunk if it has arrived: an event stream's first event may come late. */
export function begin(body: ResponseBody): void {
  const { response, held, begun } = body
  if (begun || response.destroyed) return
  body.begun = true
  body.held = null
  // `flushHeaders` would encode the head as UTF-8, but its strings have one character for each byte.
  if (held === null) response.write('', 'latin1')
  else write(body, held)
}

/** Ends the body with the chunk that is still held. */
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
    // `drain` may come from within undici's parser, when another answer of this connection ends; the parser can't be
    // entered again from there.
    process.nextTick(resume, body)
  })
}

function resume(body: ResponseBody): void {
  body.controller?.resume()
}

/** Media types of answers that do not end by themselves. */
const STREAM =
  /^(?:text\/event-stream|multipart\/x-mixed-replace|application\/(?:x-ndjson|stream\+json|json-seq|grpc-web))\b/i
/** How long a client may take to read the end of a stream. */
const LAST_BYTES_MS = 1_000

/** Tells whether an answer of this media type goes on until one side ends it. */
export function isEventStream(contentType: string | null): boolean {
  return contentType !== null && STREAM.test(contentType)
}

/** Destroys the connection of a client that does not read the end of its stream within a second. */
export function limitLastBytes(response: ServerResponse): void {
  setTimeout(() => {
    // An answer that waits behind another one ends in its turn.
    if (response.socket !== null && !response.writableFinished) response.destroy()
  }, LAST_BYTES_MS).unref()
}
