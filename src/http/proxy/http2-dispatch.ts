import { createHash } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import {
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import type { Readable } from 'node:stream'
import { errors, type Dispatcher } from 'undici'
import { Fault } from '../../errors.ts'
import { fieldsOf, headersOf, isGrpc, RepeatedFieldError, valueIn } from '../http2-fields.ts'
import { markUsedConnection, resetError, sessionError, unusable } from './upstream-errors.ts'
import type { Upload } from './upload.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants

/**
 * The limits of a header section and of each name or value in it, in bytes. nghttp2, as the sender's peer or in the
 * gateway, closes the connection with all its streams when it receives more than 9 frames or 64 kB, respectively:
 * https://nghttp2.org/documentation/nghttp2_option_set_max_continuations.html
 */
export const MAX_HEADERS_BYTES = 131_072
const MAX_VALUE_BYTES = 65_536
/** How many bytes of a body are kept until the response begins, so that a refused request can be sent again. */
const MAX_KEPT_BYTES = 65_536
/** How often a request that the upstream has not processed is sent again. */
const MAX_RESENDS = 3

export interface Http2Connection {
  readonly session: ClientHttp2Session
  /** The number of requests on this connection. */
  active: number
  /** Whether a response has begun on this connection. */
  used: boolean
  /** Whether something has arrived since the last check. */
  receivedSinceCheck: boolean
  /** The highest stream that the upstream may have processed, from its GOAWAY frame. */
  lastStreamId: number
  /** Why the connection has ended, if the reason is known. */
  error: Error | null
}

/** The connections to an upstream. */
interface ConnectionPool {
  /** Sends the request on a connection with a free stream, or later. */
  enqueue(request: Http2Dispatch): void
  /** Called when a request no longer uses its connection. */
  release(connection: Http2Connection): void
  /** Called when a request that waits for a connection has ended. */
  forget(request: Http2Dispatch): void
}

const ENDED_SESSION = new Set(['ERR_HTTP2_INVALID_SESSION', 'ERR_HTTP2_GOAWAY_SESSION'])

const kDispatch = Symbol('dispatch')

type Handler = Dispatcher.DispatchHandler

export interface Http2Options extends Dispatcher.DispatchOptions {
  /** Replaces `body`. The stream stays open if the upstream fails, so that the client gets a response. */
  readonly upload?: Upload | null
}

interface UpstreamStream extends ClientHttp2Stream {
  [kDispatch]?: Http2Dispatch | undefined
}

/**
 * A request on an HTTP/2 stream. Calls undici's handler interface, with the raw header fields of the stream.
 *
 * Replaces `push` of the stream, which Node.js calls for each chunk and at the end. The usual events do not distinguish
 * the end of a response from a reset with NO_ERROR, and the stream's own buffer would hold every chunk once more.
 */
export class Http2Dispatch implements Dispatcher.DispatchController {
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders: string[] = []
  rawTrailers: string[] = []
  readonly #pool: ConnectionPool
  readonly #options: Http2Options
  readonly #scheme: string
  readonly #handler: Handler
  readonly #upload: Upload | null
  #connection: Http2Connection | null = null
  #stream: UpstreamStream | null = null
  /** The body's chunks that have been sent, or `null` if the request cannot be sent again. */
  #kept: Buffer[] | null = []
  #bodyBytes = 0
  #bodyEnded = false
  /** Stops reading the body. */
  #leaveBody: (() => void) | null = null
  #resendsLeft = MAX_RESENDS
  /** Chunks that arrived before the head was handled or while the client does not read. */
  readonly #queue: Buffer[] = []
  #headArrived = false
  /** Whether END_STREAM has arrived. */
  #responseEnded = false
  #isOver = false
  #timer: NodeJS.Timeout | undefined

  constructor(pool: ConnectionPool, options: Http2Options, scheme: string, handler: Handler) {
    this.#pool = pool
    this.#options = options
    this.#scheme = scheme
    this.#handler = handler
    this.#upload = options.upload ?? null
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Begins the request. Its timeouts include the time that it waits for a connection. */
  begin(): void {
    this.#call(() => this.#handler.onRequestStart?.(this, {}))
    if (this.#isOver) return
    this.#pool.enqueue(this)
    const { headersTimeout } = this.#options
    if (!this.#isOver && typeof headersTimeout === 'number' && headersTimeout > 0)
      this.#timer = setTimeout(Http2Dispatch.#onTimer, headersTimeout, this)
  }

  /** Sends the request. The caller has checked that the connection has a free stream. */
  start(connection: Http2Connection): void {
    try {
      const upgrade = this.#options.upgrade === 'websocket'
      if (upgrade && connection.session.remoteSettings.enableConnectProtocol !== true) throw noWebSockets()
      const headers = streamHeaders(this.#options, this.#scheme)
      const upload = this.#upload
      const waitForTrailers = upload !== null && mayHaveTrailers(headers)
      const stream: UpstreamStream = connection.session.request(headers, {
        endStream: upload === null && !upgrade,
        waitForTrailers,
      })
      if (waitForTrailers) stream.on('wantTrailers', onWantTrailers)
      if (connection.active === 0) connection.receivedSinceCheck = true
      connection.active += 1
      this.#connection = connection
      this.#stream = stream
      this.#listen(stream, upgrade)
    } catch (error) {
      if (isEndedSession(error) && this.#mayResend()) this.#resend()
      else this.#refuse(error)
      return
    }
    if (this.#upload !== null) this.#send(this.#upload)
  }

  /** Ends the request with an error, and resets its stream. */
  fail(error: Error): void {
    if (this.#isOver) return
    this.#finish()
    this.#handler.onResponseError?.(this, error)
  }

  /** Fails with an error of the request itself. */
  #refuse(error: unknown): void {
    const isRepeated = error instanceof RepeatedFieldError
    this.fail(
      isRepeated ? new Fault('bad_request', { text: 'bad_request.repeated_header', cause: error }) : asError(error),
    )
  }

  abort(reason: Error): void {
    this.aborted = true
    this.reason = reason
    this.fail(reason)
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.#deliver()
    // `push` returned false, so Node.js has stopped to read the stream.
    if (this.paused || this.#responseEnded || this.#stream?.destroyed !== false) return
    // eslint-disable-next-line no-underscore-dangle -- `read` does not call it again without the stream's own buffer
    this.#stream._read(0)
  }

  #listen(stream: UpstreamStream, upgrade: boolean): void {
    stream[kDispatch] = this
    stream.on('response', onResponse).on('headers', onInterim).on('trailers', onTrailers)
    stream.on('error', onError).on('close', onClose)
    if (!upgrade) this.#read(stream)
  }

  /** Starts reading. */
  #read(stream: ClientHttp2Stream): void {
    stream.push = push
    stream.read(0)
  }

  /** Takes the head of the response or of an interim response. */
  takeHead(stream: UpstreamStream, headers: IncomingHttpHeaders, raw: unknown): void {
    const upgrade = this.#options.upgrade === 'websocket'
    const connection = this.#connection
    if (this.#isOver || connection === null) return
    const status = Number(headers[':status'] ?? 0)
    connection.receivedSinceCheck = true
    this.#timer?.refresh()
    this.rawHeaders = fieldsOf(raw)
    if (status >= 200) {
      connection.used = true
      this.#headArrived = true
      this.#kept = null
      clearTimeout(this.#timer)
      this.#timer = undefined
      this.#handler.onResponseStarted?.()
    }
    if (upgrade && status === 200) {
      this.#switchToWebSocket(stream)
      return
    }
    if (upgrade && status >= 200) {
      // The response denies the WebSocket, and has a body like any other response.
      this.#read(stream)
      stream.end()
    }
    this.#call(() => this.#handler.onResponseStart?.(this, status, headers, STATUS_CODES[status] ?? ''))
    if (this.#headArrived) this.#deliver()
  }

  /** Takes a chunk, or the end of the stream, in place of the stream's own buffer. Returns whether to read on. */
  take(stream: ClientHttp2Stream, chunk: Buffer | null): boolean {
    if (stream !== this.#stream) return false
    if (chunk === null) {
      this.#responseEnded = true
      // Node.js emits the head and the trailers on the next tick.
      process.nextTick(Http2Dispatch.#onEnd, this)
      return false
    }
    const connection = this.#connection
    if (connection !== null) connection.receivedSinceCheck = true
    if (this.#isOver) return true
    if (this.paused || !this.#headArrived || this.#queue.length > 0) this.#queue.push(chunk)
    else this.#pass(chunk)
    return !this.paused
  }

  static #onEnd(this: void, request: Http2Dispatch): void {
    request.#deliver()
  }

  #deliver(): void {
    while (this.#queue.length > 0 && !this.paused && !this.#isOver) {
      const chunk = this.#queue.shift()
      if (chunk !== undefined) this.#pass(chunk)
    }
    if (!this.#responseEnded || !this.#headArrived || this.#queue.length > 0 || this.#isOver) return
    this.#finish()
    this.#call(() => this.#handler.onResponseEnd?.(this, {}))
  }

  #pass(chunk: Buffer): void {
    try {
      this.#handler.onResponseData?.(this, chunk)
    } catch (error) {
      this.fail(asError(error))
    }
  }

  #call(handle: () => void): void {
    try {
      handle()
    } catch (error) {
      this.fail(asError(error))
    }
  }

  /** Sends the body. If an earlier stream was refused, first sends the chunks of that stream again. */
  #send(upload: Upload): void {
    const body = upload.stream
    const stream = this.#stream
    if (stream === null) return
    stream.on('drain', onDrain)
    if (this.#leaveBody === null) {
      this.#listenToBody(body)
      upload.start()
      return
    }
    for (const chunk of this.#kept ?? []) stream.write(chunk)
    if (this.#bodyEnded) stream.end()
    else if (!stream.writableNeedDrain) body.resume()
  }

  resumeUpload(): void {
    this.#upload?.stream.resume()
  }

  sendTrailers(stream: ClientHttp2Stream): void {
    try {
      stream.sendTrailers(headersOf(checkSize(this.#upload?.trailers() ?? [])))
    } catch (error) {
      this.#refuse(error)
    }
  }

  #listenToBody(body: Readable): void {
    const onData = (chunk: Buffer): void => {
      this.#sendChunk(chunk)
    }
    const onEnd = (): void => {
      this.#bodyEnded = true
      this.#timer?.refresh()
      if (this.#stream?.destroyed === false) this.#stream.end()
    }
    const onBodyError = (error: Error): void => {
      this.fail(error)
    }
    body.on('data', onData).on('end', onEnd).on('error', onBodyError)
    this.#leaveBody = () => {
      // A client that has reset its connection ends this request first. The body emits its error afterwards.
      body.off('data', onData).off('end', onEnd).off('error', onBodyError).on('error', ignore)
      if (!this.#bodyEnded) body.pause()
    }
  }

  #sendChunk(chunk: Buffer): void {
    const upload = this.#upload
    if (upload === null) return
    this.#timer?.refresh()
    this.#bodyBytes += chunk.length
    if (this.#bodyBytes > upload.maxBytes) {
      this.fail(new Fault('payload_too_large'))
      return
    }
    if (this.#bodyBytes > MAX_KEPT_BYTES) this.#kept = null
    this.#kept?.push(chunk)
    const stream = this.#stream
    if (stream === null || stream.destroyed || !stream.write(chunk)) upload.stream.pause()
  }

  /** Gives up if no response has begun in time, unless the upstream waits for the rest of the client's body. */
  static #onTimer(this: void, request: Http2Dispatch): void {
    const stream = request.#stream
    const waitsForBody = request.#upload !== null && !request.#bodyEnded && stream?.writableNeedDrain === false
    if (waitsForBody) request.#timer?.refresh()
    else request.fail(new errors.HeadersTimeoutError())
  }

  /** Called when a stream has been closed, with an error or without. */
  closed(stream: ClientHttp2Stream, error: Error | null): void {
    if (stream !== this.#stream || this.#isOver || this.#responseEnded) return
    const connection = this.#connection
    if (connection === null) return
    if (this.#isUnprocessed(stream, error, connection) && this.#mayResend()) {
      this.#release()
      this.#resend()
      return
    }
    this.#failReset(stream, error, connection)
  }

  #resend(): void {
    this.#resendsLeft -= 1
    this.#pool.enqueue(this)
  }

  /** https://www.rfc-editor.org/rfc/rfc9113#section-8.7 */
  #isUnprocessed(stream: ClientHttp2Stream, error: Error | null, { lastStreamId }: Http2Connection): boolean {
    if (stream.rstCode === NGHTTP2_REFUSED_STREAM || stream.id === undefined || stream.id > lastStreamId) return true
    return error !== null && 'code' in error && error.code === 'ERR_HTTP2_GOAWAY_SESSION'
  }

  #mayResend(): boolean {
    return this.#resendsLeft > 0 && !this.#headArrived && (this.#upload === null || this.#kept !== null)
  }

  #failReset(stream: ClientHttp2Stream, error: Error | null, connection: Http2Connection): void {
    if (connection.session.destroyed) {
      // The session emits its error after the errors of its streams.
      this.fail(socketError(connection.error ?? sessionError(error), connection))
      return
    }
    // An upstream that ends a connection may reset its streams before. Node.js does it with NO_ERROR.
    const isEnding = stream.rstCode === NGHTTP2_NO_ERROR || connection.lastStreamId !== Number.POSITIVE_INFINITY
    if (isEnding && !this.#headArrived) {
      this.fail(socketError(resetError(stream.rstCode), connection))
      return
    }
    // Another reset counts as a response that cannot be passed on.
    this.#handler.onResponseStarted?.()
    this.fail(resetError(stream.rstCode))
  }

  /** https://www.rfc-editor.org/rfc/rfc8441#section-5 */
  #switchToWebSocket(stream: UpstreamStream): void {
    const connection = this.#connection
    const pool = this.#pool
    this.#isOver = true
    this.#stream = null
    this.#connection = null
    // An open WebSocket does not need its request.
    stream[kDispatch] = undefined
    stream.once('close', () => {
      if (connection !== null) pool.release(connection)
    })
    const { headers } = this.#options
    const key = valueIn(Array.isArray(headers) ? headers : [], 'sec-websocket-key')
    this.rawHeaders.push('Sec-WebSocket-Accept', acceptKey(key))
    this.#handler.onRequestUpgrade?.(this, 101, {}, stream)
  }

  #finish(): void {
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#kept = null
    const stream = this.#stream
    this.#leaveBody?.()
    // Without the reset, the upstream would wait for the rest of the body, or send the rest of its response.
    if (
      stream !== null &&
      !stream.closed &&
      !(this.#responseEnded && (this.#upload === null || stream.writableFinished))
    )
      stream.close(NGHTTP2_CANCEL)
    this.#release()
  }

  #release(): void {
    const connection = this.#connection
    // A closed stream survives the fast collections of V8, so it must not keep the exchange alive.
    if (this.#stream !== null) this.#stream[kDispatch] = undefined
    this.#stream = null
    this.#connection = null
    if (connection === null) this.#pool.forget(this)
    else this.#pool.release(connection)
  }
}

function onResponse(this: UpstreamStream, headers: IncomingHttpHeaders, _flags: number, raw?: unknown): void {
  const status = String(headers[':status'])
  if (Number(status) >= 200) this[kDispatch]?.takeHead(this, headers, raw)
  else this[kDispatch]?.fail(unusable(new Error(`the application responded with the invalid status ${status}`)))
}

function onInterim(this: UpstreamStream, headers: IncomingHttpHeaders, _flags: number, raw?: unknown): void {
  if (Number(headers[':status']) < 200) this[kDispatch]?.takeHead(this, headers, raw)
}

function onTrailers(this: UpstreamStream, _headers: IncomingHttpHeaders, _flags: number, raw?: unknown): void {
  if (this[kDispatch] !== undefined) this[kDispatch].rawTrailers = fieldsOf(raw)
}

function onError(this: UpstreamStream, error: Error): void {
  this[kDispatch]?.closed(this, error)
}

function onClose(this: UpstreamStream): void {
  this[kDispatch]?.closed(this, null)
}

function onWantTrailers(this: UpstreamStream): void {
  this[kDispatch]?.sendTrailers(this)
}

function onDrain(this: UpstreamStream): void {
  this[kDispatch]?.resumeUpload()
}

function push(this: UpstreamStream, chunk: Buffer | null): boolean {
  // A stream that is closed before END_STREAM has been reset.
  if (chunk === null && this.closed) {
    process.nextTick(destroy, this)
    return false
  }
  return this[kDispatch]?.take(this, chunk) ?? false
}

function ignore(): void {}

/** A stream whose `push` is replaced never ends by itself. Node.js still uses the stream after it has called `push`. */
function destroy(stream: ClientHttp2Stream): void {
  stream.destroy()
}

function socketError({ message }: Error, { used }: Http2Connection): Error {
  const ended = new errors.SocketError(message)
  if (used) markUsedConnection(ended)
  return ended
}

/** Returns whether Node.js has refused a request before anything was sent, because its session has ended. */
function isEndedSession(error: unknown): boolean {
  return error instanceof Error && 'code' in error && ENDED_SESSION.has(String(error.code))
}

/** Headers that HTTP/2 does not have, because `:authority` or the framing replaces them. */
const REPLACED = new Set(['host', 'connection', 'upgrade', 'sec-websocket-key'])

function streamHeaders({ headers, method, path, upgrade }: Http2Options, scheme: string): OutgoingHttpHeaders {
  const fields = checkSize(Array.isArray(headers) ? headers : [])
  const out = headersOf(fields, REPLACED)
  out[':method'] = upgrade === 'websocket' ? 'CONNECT' : method
  out[':scheme'] = scheme
  out[':authority'] = valueIn(fields, 'host')
  out[':path'] = path
  if (upgrade === 'websocket') out[':protocol'] = 'websocket'
  // gRPC servers require the header, which a proxy before the gateway may have dropped.
  if (isGrpc(out['content-type'])) out['te'] = 'trailers'
  return out
}

/** Returns whether trailers may follow the body. Waiting for them takes one more frame, and gRPC requests have none. */
function mayHaveTrailers(headers: OutgoingHttpHeaders): boolean {
  return headers['content-length'] === undefined && !isGrpc(headers['content-type'])
}

/** Returns the fields, with large cookies separated. Throws a fault if they are larger than HTTP/2 can carry. */
function checkSize(fields: readonly string[]): readonly string[] {
  let [size, largest] = [0, 0]
  for (const { length } of fields) {
    size += length
    if (length > largest) largest = length
  }
  if (size > MAX_HEADERS_BYTES) throw tooLarge(`the headers have ${size} bytes`, MAX_HEADERS_BYTES)
  if (largest <= MAX_VALUE_BYTES) return fields
  const separated = separateCookies(fields)
  const at = separated.findIndex(({ length }) => length > MAX_VALUE_BYTES)
  if (at === -1) return separated
  throw tooLarge(`the header ${separated[at - 1] ?? ''} has ${separated[at]?.length ?? 0} bytes`, MAX_VALUE_BYTES)
}

/** https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3 */
function separateCookies(fields: readonly string[]): readonly string[] {
  const out: string[] = []
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [name = '', value = ''] = fields.slice(i, i + 2)
    const values = name.toLowerCase() === 'cookie' ? value.split('; ') : [value]
    for (const one of values) out.push(name, one)
  }
  return out
}

function tooLarge(what: string, limit: number): Fault {
  return new Fault('bad_request', {
    status: 431,
    text: 'bad_request.large_head_upstream',
    cause: new Error(`${what}, but at most ${limit} pass over HTTP/2`),
  })
}

function noWebSockets(): Fault {
  return new Fault('upstream_unreachable', {
    text: 'upstream_unreachable.no_websockets',
    cause: new Error('the application does not accept WebSockets over HTTP/2 (RFC 8441)'),
  })
}

/** https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2 */
function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
