import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { IncomingMessage, type IncomingHttpHeaders, type OutgoingHttpHeader, type OutgoingHttpHeaders } from 'node:http'
import { constants, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import { Fault } from '../../errors.ts'
import { HOP_BY_HOP } from '../../header-names.ts'
import { headersOf, isGrpc } from '../http2-fields.ts'

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants

const kResponse = Symbol('response')

/**
 * A stream with its response. All listeners of the stream find the response here. A closed stream survives the minor
 * collections of V8, so it must not keep its request and response alive.
 */
interface Stream extends ServerHttp2Stream {
  [kResponse]?: Http2Response | undefined
}

const MAX_STATUS = 599
const HANDSHAKE_KEY_BYTES = 16
/** The headers of a WebSocket's opening handshake that HTTP/2 does not have. */
const ONLY_IN_HANDSHAKE = new Set(['sec-websocket-accept', 'connection', 'upgrade'])
const RESET_CONTENT = 205
/** The limit of interim responses to a request. Node.js keeps them in memory for a client that does not read. */
const MAX_INTERIM = 16
/** `Trailer` is allowed in HTTP/2, because it describes the message, not the connection. */
const NOT_IN_HTTP2 = [...HOP_BY_HOP, 'http2-settings'].filter((name) => name !== 'trailer')

/**
 * The request of an HTTP/2 stream, in the form of an HTTP/1.1 request. `:authority` becomes Host, and the cookies are
 * one header again.
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1
 */
export class Http2Request extends IncomingMessage {
  readonly stream: ServerHttp2Stream
  /** Whether the client requests a WebSocket. The stream then carries the WebSocket in place of a body. */
  readonly wantsTunnel: boolean
  /** The bytes of the body that have arrived. */
  received = 0
  #isReading = false

  /** `isBodyless`: the header section ends the stream. */
  constructor(
    stream: ServerHttp2Stream,
    connection: Socket,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
    isBodyless: boolean,
  ) {
    super(connection)
    this.stream = stream
    this.httpVersion = '2.0'
    this.httpVersionMajor = 2
    this.httpVersionMinor = 0
    this.method = String(headers[':method'])
    // CONNECT has no path.
    this.url = String(headers[':path'] ?? '')
    this.wantsTunnel = this.method === 'CONNECT' && headers[':protocol'] === 'websocket'
    this.rawHeaders = http1Headers(rawHeaders)
    this.headers = http1HeadersByName(headers)
    if (this.wantsTunnel) this.#becomeHandshake()
    if (isBodyless || this.wantsTunnel) {
      this.complete = true
      this.push(null)
      return
    }
    stream.on('trailers', onTrailers)
  }

  /** Returns whether the client sends a body, which may be empty. */
  get hasBody(): boolean {
    return !this.stream.endAfterHeaders && !this.wantsTunnel
  }

  /**
   * Gives the request the form of the opening handshake of HTTP/1.1. HTTP/2 ignores the client's keys, but upstreams need
   * exactly one.
   * @see https://www.rfc-editor.org/rfc/rfc8441#section-5
   */
  #becomeHandshake(): void {
    const key = randomBytes(HANDSHAKE_KEY_BYTES).toString('base64')
    const added = { 'connection': 'Upgrade', 'upgrade': 'websocket', 'sec-websocket-key': key }
    this.method = 'GET'
    const others = this.rawHeaders.filter((_, i, fields) => fields[i - (i % 2)] !== 'sec-websocket-key')
    this.rawHeaders = others.concat(Object.entries(added).flat())
    Object.assign(this.headers, added)
  }

  override _read(): void {
    if (this.complete) return
    const { stream } = this
    if (this.#isReading) {
      stream.resume()
      return
    }
    this.#isReading = true
    stream.on('data', onData).on('end', onEnd)
  }

  takeChunk(chunk: Buffer): void {
    this.received += chunk.length
    if (!this.push(chunk)) this.stream.pause()
  }

  takeEnd(): void {
    if (this.aborted) return
    this.complete = true
    this.push(null)
  }

  /** Resets the stream if the body has not arrived. The connection stays open for the other streams. */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.complete) {
      this.aborted = true
      this.emit('aborted')
      this.stream.close(NGHTTP2_CANCEL)
    }
    // Like a request of HTTP/1.1, reports the error only to listeners. They may be removed before it is emitted.
    process.nextTick(callback, this.listenerCount('error') === 0 ? null : error)
    this.on('error', ignore)
  }
}

/**
 * The response on an HTTP/2 stream, with the members of an HTTP/1.1 response that the gateway and Fastify use. The head
 * is sent together with the first bytes of the body, so that a response without a body is one frame.
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.1
 */
export class Http2Response extends EventEmitter {
  readonly req: Http2Request
  readonly socket: Socket
  statusCode = 200
  /** Without effect: the connection stays open for other streams. */
  shouldKeepAlive = true
  destroyed = false
  writableEnded = false
  /** The bytes of the body that were written. */
  written = 0
  slot = -1
  readonly #stream: Stream
  readonly #headers: OutgoingHttpHeaders = {}
  #head: OutgoingHttpHeaders | null = null
  #isHeadSent = false
  #interimCount = 0
  #endsWithTrailers = false
  #trailers: OutgoingHttpHeaders | null = null

  constructor(request: Http2Request) {
    super()
    const stream: Stream = request.stream
    this.req = request
    this.socket = request.socket
    this.#stream = stream
    stream[kResponse] = this
    stream.on('close', onClose).on('drain', onDrain).on('error', ignore)
  }

  get headersSent(): boolean {
    return this.#head !== null
  }

  get writableFinished(): boolean {
    const { writableFinished, closed, rstCode } = this.#stream
    // A stream that is reset counts as finished in Node.js. A client may disconnect after the last frame, before Node.js
    // has noticed that the frame was sent.
    return this.writableEnded && (closed ? rstCode === NGHTTP2_NO_ERROR : writableFinished)
  }

  get writableLength(): number {
    return this.#stream.writableLength
  }

  get writableNeedDrain(): boolean {
    return this.#stream.writableNeedDrain
  }

  setHeader(name: string, value: OutgoingHttpHeader): this {
    this.#headers[name.toLowerCase()] = value
    return this
  }

  getHeader(name: string): OutgoingHttpHeader | undefined {
    return this.#headers[name.toLowerCase()]
  }

  getHeaders(): OutgoingHttpHeaders {
    return { ...this.#headers }
  }

  hasHeader(name: string): boolean {
    return name.toLowerCase() in this.#headers
  }

  removeHeader(name: string): void {
    // eslint-disable-next-line @typescript-eslint/no-dynamic-delete
    delete this.#headers[name.toLowerCase()]
  }

  /**
   * Sets the head, and sends it at once if it is a list of fields. HTTP/2 has no status text, and no headers that
   * concern a connection; both are left out. Throws if Node.js cannot send the status or a field, such as two
   * different values of a field that may occur only once.
   * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2
   */
  writeHead(
    status: number,
    text?: string | OutgoingHttpHeaders | readonly string[],
    more?: OutgoingHttpHeaders | readonly string[],
  ): this {
    if (status > MAX_STATUS) {
      throw new Fault('upstream_unreachable', { cause: new Error(`HTTP/2 responses cannot have the status ${status}`) })
    }
    const given = typeof text === 'string' || text === undefined ? more : text
    const head = isList(given) ? headersOf(given) : {}
    const others = isList(given) ? this.#headers : { ...this.#headers, ...given }
    for (const [name, value] of Object.entries(others)) head[name.toLowerCase()] ??= value
    for (const name of NOT_IN_HTTP2) if (name in head) head[name] = undefined
    // Node.js ends the stream after the head of a 205: https://www.rfc-editor.org/rfc/rfc9110#section-15.3.6
    if (status === RESET_CONTENT && Number(head['content-length'] ?? 0) > 0) head['content-length'] = undefined
    head[':status'] = status
    this.statusCode = status
    this.#head = head
    // Node.js may refuse the application's fields, which the caller answers with a 502.
    if (isList(given)) {
      try {
        // A gRPC response with the status in its head consists of the head only:
        // https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
        this.#sendHead(isGrpc(head['content-type']) && 'grpc-status' in head)
      } catch (error) {
        this.#head = null
        throw error
      }
    }
    return this
  }

  /** Sends an interim response, if the response has not begun and not too many were sent. */
  writeInterim(status: number, headers: readonly string[]): void {
    if (this.#isHeadSent || this.#stream.closed || this.#interimCount >= MAX_INTERIM) return
    this.#interimCount += 1
    const head = headersOf(headers)
    head[':status'] = status
    this.#stream.additionalHeaders(head)
  }

  writeContinue(): void {
    this.writeInterim(100, [])
  }

  addTrailers(trailers: readonly (readonly [name: string, value: string])[]): void {
    try {
      this.#trailers = headersOf(trailers.flat())
    } catch {
      // A recipient may discard trailers: https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
    }
  }

  /** Returns `false` if the caller must wait for `drain`. */
  write(chunk: Buffer | string, encoding: BufferEncoding = 'utf8'): boolean {
    if (this.#stream.closed) return false
    this.#sendHead(false)
    if (chunk.length === 0 || this.statusCode === RESET_CONTENT) return true
    this.written += chunk.length
    return this.#stream.write(chunk, encoding)
  }

  end(chunk?: Buffer | string | null, encoding?: BufferEncoding | null): this {
    if (this.writableEnded) return this
    this.writableEnded = true
    if (this.#stream.closed) return this
    const hasChunk = chunk !== undefined && chunk !== null && chunk.length > 0 && this.statusCode !== RESET_CONTENT
    this.#sendHead(!hasChunk && this.#trailers === null)
    if (hasChunk) {
      this.written += chunk.length
      this.#stream.end(chunk, encoding ?? 'utf8')
    } else this.#stream.end()
    if (!this.req.complete || this.req.wantsTunnel) this.#endUpload()
    return this
  }

  /**
   * Answers that the WebSocket is open, and returns the stream, which the caller then owns. The request ends.
   * @see https://www.rfc-editor.org/rfc/rfc8441#section-5
   */
  openTunnel(headers: readonly string[]): void {
    const stream = this.#stream
    stream.respond({ ...headersOf(headers, ONLY_IN_HANDSHAKE), ':status': 200 })
    this.#isHeadSent = true
    this.#head = {}
    this.statusCode = 101
    stream.off('drain', onDrain).off('close', onClose)
    stream[kResponse] = undefined
    this.emit('finish')
    process.nextTick(() => this.emit('close'))
  }

  /** Resets the stream. The connection stays open for the other streams. */
  destroy(): this {
    if (!this.destroyed) {
      this.destroyed = true
      this.#stream.close(NGHTTP2_INTERNAL_ERROR)
    }
    return this
  }

  /** Sends the head, unless it was sent. `isLast`: neither a body nor trailers follow. */
  #sendHead(isLast: boolean): void {
    if (this.#isHeadSent || this.#stream.closed || this.#stream.destroyed) return
    if (this.#head === null) this.writeHead(this.statusCode)
    const head = this.#head ?? {}
    // Waiting for trailers takes one more frame.
    const mayHaveTrailers = !isLast && (this.#trailers !== null || (!this.writableEnded && allowsTrailers(head)))
    const options = { endStream: isLast, waitForTrailers: mayHaveTrailers }
    this.#stream.respond(head, options)
    this.#isHeadSent = true
    this.#endsWithTrailers = mayHaveTrailers
    if (mayHaveTrailers) this.#stream.on('wantTrailers', onWantTrailers)
  }

  sendTrailers(): void {
    // Node.js also ends a stream that it resets. Without trailers, the client does not consider the response complete.
    if (this.#stream.closed) return
    try {
      this.#stream.sendTrailers(this.#trailers ?? {})
    } catch {
      this.destroy()
      return
    }
    // Node.js hands the trailers to nghttp2 in the next phase of the event loop, and sends them in the one after it.
    if (!this.req.complete) setImmediate(setImmediate, this.#stopUpload)
  }

  /**
   * Tells the client to stop its upload once the response is complete.
   * @see https://www.rfc-editor.org/rfc/rfc9113#section-8.1-13
   */
  #endUpload(): void {
    // A reset before the trailers would discard them.
    if (this.#endsWithTrailers) return
    if (this.#stream.writableFinished) this.#stopUpload()
    else this.#stream.once('finish', this.#stopUpload)
  }

  readonly #stopUpload = (): void => {
    this.#stream.close(NGHTTP2_NO_ERROR)
  }

  /** Ends the request and the response of a closed stream. */
  takeClose(): void {
    if (!this.req.complete) this.req.destroy(new Error('the stream was closed'))
    if (this.writableFinished) this.emit('finish')
    this.destroyed = true
    this.emit('close')
    this.#stream[kResponse] = undefined
  }
}

/** A stream that carries a WebSocket, with the members that the connection of a WebSocket has in HTTP/1.1. */
export interface Http2Tunnel extends ServerHttp2Stream {
  /** The bytes that were written. Streams of HTTP/2 have no counter of their own. */
  bytesWritten: number
  slot: number
}

/** Makes a stream count the bytes that are written to it. */
export function tunnelOf(stream: ServerHttp2Stream): Http2Tunnel {
  const write = stream.write.bind(stream)
  const tunnel: Http2Tunnel = Object.assign(stream, {
    bytesWritten: 0,
    slot: -1,
    write(chunk: Buffer): boolean {
      tunnel.bytesWritten += chunk.length
      return write(chunk)
    },
  })
  return tunnel
}

function onTrailers(this: Stream, _headers: unknown, _flags: unknown, rawTrailers: string[]): void {
  const response = this[kResponse]
  if (response !== undefined) response.req.rawTrailers = rawTrailers
}

function onData(this: Stream, chunk: Buffer): void {
  this[kResponse]?.req.takeChunk(chunk)
}

function onEnd(this: Stream): void {
  this[kResponse]?.req.takeEnd()
}

function onDrain(this: Stream): void {
  this[kResponse]?.emit('drain')
}

function onWantTrailers(this: Stream): void {
  this[kResponse]?.sendTrailers()
}

function onClose(this: Stream): void {
  this[kResponse]?.takeClose()
}

/** `close` follows each error of a stream. */
function ignore(): void {}

function isList(headers: OutgoingHttpHeaders | readonly string[] | undefined): headers is readonly string[] {
  return Array.isArray(headers)
}

/** Returns whether trailers may follow a body: always for gRPC, otherwise without a length. */
function allowsTrailers(head: OutgoingHttpHeaders): boolean {
  return !('content-length' in head) || 'trailer' in head || isGrpc(head['content-type'])
}

/** Returns the fields of a request with Host first, one Cookie, and no pseudo-header fields. */
function http1Headers(fields: readonly string[]): string[] {
  const out = ['host', '']
  let authority: string | null = null
  let cookieAt = -1
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? ''
    const value = fields[i + 1] ?? ''
    if (name.startsWith(':')) {
      if (name === ':authority') authority = value
    } else if (name === 'cookie' && cookieAt !== -1) out[cookieAt] += `; ${value}`
    else if (name !== 'host' || value !== authority) {
      if (name === 'cookie') cookieAt = out.length + 1
      out.push(name, value)
    }
  }
  if (authority === null) return out.slice(2)
  out[1] = authority
  return out
}

function http1HeadersByName(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const authority = headers[':authority']
  if (typeof authority === 'string') headers.host ??= authority
  for (const name of [':method', ':path', ':scheme', ':authority', ':protocol']) headers[name] = undefined
  return headers
}
