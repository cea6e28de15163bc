import type { ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import { Http2Response } from '../server/http2-stream.ts'

export interface ResponseBody {
  readonly response: ServerResponse
  /** Pauses and resumes the upstream. `null` before the upstream is connected. */
  readonly controller: Dispatcher.DispatchController | null
  /**
   * The first chunk, which is held until the next chunk arrives. Most bodies have one chunk, which is written with the
   * head.
   */
  held: Buffer | null
  begun: boolean
}

/** Forwards a chunk, and pauses the upstream while the client does not read. */
export function deliver(body: ResponseBody, chunk: Buffer): void {
  if (!body.begun && body.held === null) {
    body.held = chunk
    return
  }
  begin(body)
  write(body, chunk)
}

/** Writes the head, and the first chunk if it has arrived. The first event of an event stream may arrive much later. */
export function begin(body: ResponseBody): void {
  const { response, held, begun } = body
  if (begun || response.destroyed) return
  body.begun = true
  body.held = null
  // `flushHeaders` would encode the head as UTF-8, but the header strings have one character per byte.
  if (held === null) response.write('', 'latin1')
  else write(body, held)
}

/**
 * Ends the response. Trailer fields (name, value, name, value …) are sent if the client's protocol and the framing of
 * the response have a place for them.
 */
export function complete(body: ResponseBody, trailers: readonly string[] = []): void {
  const { response, held } = body
  if (trailers.length > 0) response.addTrailers(pairsOf(trailers))
  body.begun = true
  body.held = null
  if (held === null) response.end()
  else response.end(held)
}

/**
 * Sends an interim response to a client that can use the hints at once: to an HTTP/1.0 client, to one that does not
 * read, and behind a response that has not ended, the function sends nothing.
 *
 * The function writes to the socket because `writeEarlyHints` of Node.js rejects some valid `Link` headers:
 * https://github.com/nodejs/node/pull/46464
 * @see https://www.rfc-editor.org/rfc/rfc8297#section-2
 */
export function sendEarlyHints(response: ServerResponse, headers: readonly string[]): void {
  const { socket, headersSent, req } = response
  const sender: unknown = response
  if (sender instanceof Http2Response) {
    try {
      sender.writeInterim(103, headers)
    } catch {
      // Node.js sends no repeated fields that may occur only once. The response does not depend on the hints.
    }
    return
  }
  if (socket === null || headersSent || req.httpVersion === '1.0' || socket.writableNeedDrain) return
  const lines = pairsOf(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`HTTP/1.1 103 Early Hints\r\n${lines.join('')}\r\n`, 'latin1')
}

function pairsOf(fields: readonly string[]): [name: string, value: string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i + 1 < fields.length; i += 2) pairs.push([fields[i] ?? '', fields[i + 1] ?? ''])
  return pairs
}

function write(body: ResponseBody, chunk: Buffer): void {
  const { response } = body
  if (response.write(chunk)) return
  body.controller?.pause()
  response.once('drain', () => {
    resumeOnceDrained(body)
  })
}

/**
 * Resumes the upstream when the connection to the client has room. Node.js also emits `drain` for a response when a
 * pipelined response behind it receives data, and when data is written after the client has closed its side.
 */
function resumeOnceDrained(body: ResponseBody): void {
  const { socket } = body.response
  // The response closes with the connection, and no more of it can be sent.
  if (socket?.writableEnded === true) return
  if (socket?.writableNeedDrain === true) {
    socket.once('drain', () => {
      resumeOnceDrained(body)
    })
    return
  }
  // `drain` may be emitted from within undici's parser, if another response on this connection ends. The parser is not
  // re-entrant.
  process.nextTick(resume, body)
}

function resume(body: ResponseBody): void {
  body.controller?.resume()
}

/** Media types of responses that do not end by themselves. */
const STREAM =
  /^(?:text\/event-stream|multipart\/x-mixed-replace|application\/(?:x-ndjson|stream\+json|json-seq|grpc-web|connect\+[a-z]+))\b/i
/** How long a client may take to read the end of a stream. */
const LAST_BYTES_MS = 1_000

export function isEventStream(contentType: string | null): boolean {
  return contentType !== null && STREAM.test(contentType)
}

export function limitLastBytes(response: ServerResponse): void {
  setTimeout(() => {
    // A response without a socket waits for an earlier response, and ends when its turn comes.
    if (response.socket !== null && !response.writableFinished) response.destroy()
  }, LAST_BYTES_MS).unref()
}
