import type { ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Dispatcher } from 'undici'

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
  if (trailers.length > 0) addTrailers(response, trailers)
  body.begun = true
  body.held = null
  if (held === null) response.end()
  else response.end(held)
}

/** The response of HTTP/2 has a stream. */
type Response = ServerResponse & { readonly stream?: ServerHttp2Stream }

function addTrailers(response: Response, fields: readonly string[]): void {
  const pairs: [string, string][] = []
  for (let i = 0; i + 1 < fields.length; i += 2) pairs.push([fields[i] ?? '', fields[i + 1] ?? ''])
  // Only the response of HTTP/1.1 takes pairs, which keep their order and the case of their names.
  response.addTrailers(response.stream === undefined ? pairs : byName(fields))
}

/**
 * Sends an interim response to a client that can use the hints at once: to an HTTP/1.0 client, to one that does not
 * read, and behind a response that has not ended, the function sends nothing.
 *
 * The function writes to the socket because `writeEarlyHints` of Node.js rejects some valid `Link` headers:
 * https://github.com/nodejs/node/pull/46464
 * @see https://www.rfc-editor.org/rfc/rfc8297#section-2
 */
export function sendEarlyHints(response: Response, headers: readonly string[]): void {
  const { socket, req, stream } = response
  if (response.headersSent) return
  if (stream !== undefined) {
    if (!stream.closed && !stream.destroyed) stream.additionalHeaders({ ':status': 103, ...byName(headers) })
    return
  }
  if (socket === null || req.httpVersion === '1.0' || socket.writableNeedDrain) return
  let head = 'HTTP/1.1 103 Early Hints\r\n'
  for (let i = 0; i + 1 < headers.length; i += 2) head += `${headers[i] ?? ''}: ${headers[i + 1] ?? ''}\r\n`
  socket.write(`${head}\r\n`, 'latin1')
}

/** Returns the values by name. Names with different cases are the same name. */
function byName(fields: readonly string[]): Record<string, string[]> {
  const found = new Map<string, [name: string, values: string[]]>()
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? ''
    const value = fields[i + 1] ?? ''
    const same = found.get(name.toLowerCase())
    if (same === undefined) found.set(name.toLowerCase(), [name, [value]])
    else same[1].push(value)
  }
  return Object.fromEntries(found.values())
}

function write(body: ResponseBody, chunk: Buffer): void {
  const { response } = body
  if (response.write(chunk)) return
  body.controller?.pause()
  response.once('drain', () => {
    // `drain` may be emitted from within undici's parser, if another response on this connection ends. The parser is
    // not re-entrant.
    process.nextTick(resume, body)
  })
}

function resume(body: ResponseBody): void {
  body.controller?.resume()
}

/** Media types of responses that do not end by themselves. */
const STREAM =
  /^(?:text\/event-stream|multipart\/x-mixed-replace|application\/(?:x-ndjson|stream\+json|json-seq|grpc-web))\b/i
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
