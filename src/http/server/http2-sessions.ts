import { METHODS, type RequestListener, type ServerResponse } from 'node:http'
import { constants, createServer, type ServerHttp2Session, type Settings } from 'node:http2'
import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { Config } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { wantsWebSocket } from '../../gate/classify.ts'
import { SlotList } from '../slot-list.ts'
import { peerOf } from '../facts.ts'
import { REPEATED_FIELDS } from '../http2-fields.ts'
import { waitForContinue } from './expect-continue.ts'
import { Http2Request, Http2Response, tunnelOf, type Http2Tunnel } from './http2-stream.ts'
import { watchIdleReaders } from './idle-readers.ts'
import { headTooLarge, uploadStopped, type Refusals } from './parser-errors.ts'
import { watchSilentUploads, type Upload } from './silent-uploads.ts'
import { offerUpgrade } from './upgrade.ts'

/** The HTTP/2 connections of a listener. */
export interface Http2Sessions {
  /** Serves a connection whose client speaks HTTP/2. The client's first bytes may be in the socket's buffer. */
  accept(connection: Socket): void
  /** Sets the limits of new connections. `keepAlive` and `idleRead` also apply to open connections. */
  limit(limits: Config['limits']): void
  /** Asks the clients to reconnect elsewhere. The open streams are finished. */
  drain(): void
  stop(): void
}

const { NGHTTP2_CANCEL, NGHTTP2_FLAG_END_STREAM } = constants

/** The errors of a session whose client has violated HTTP/2. */
const VIOLATIONS = new Set(['ERR_HTTP2_ERROR', 'ERR_HTTP2_TOO_MANY_INVALID_FRAMES'])
/** Methods that Fastify does not route. */
const REFUSED_METHODS = new Set(['CONNECT', 'TRACK'])
/** The number of requests that a connection may have open, as in nginx. */
const MAX_STREAMS = 128
/** How much of a body a client may send before the gateway has read it, in bytes per stream and per connection. */
const STREAM_WINDOW = 256 * 1024
const CONNECTION_WINDOW = 1024 * 1024
/** Node.js refuses new streams while the unsent responses of a connection exceed this size. */
const MAX_SESSION_MEMORY_MB = 32
/**
 * How many times as large as `limits.headers` a header section may be and still get a response. Node.js resets the
 * stream of a larger section.
 */
const HEADERS_FACTOR = 8
const MAX_HEADER_FIELDS = 4096
/** What a field adds to the size of a header section: https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2 */
const FIELD_OVERHEAD = 32
/** Above this size of a header section, in bytes, Node.js closes the connection with all its streams. */
const MAX_SENT_HEADERS = 8 * 1024 * 1024
const CHECK_IDLE_MS = 5_000
/** How long the first request of a connection that begins during the drain may take to arrive. */
const FIRST_REQUEST_MS = 1_000

interface Activity {
  streams: number
  /** When the last stream ended, in ms of `performance.now()`. */
  idleSince: number
}

/** Creates the HTTP/2 side of a listener. `route` answers every request. */
export function createHttp2Sessions(
  route: RequestListener,
  limits: Config['limits'],
  refusals: Refusals,
): Http2Sessions {
  const sessions = new Map<ServerHttp2Session, Activity>()
  const open = new SlotList<Http2Response>()
  /** The streams with an open WebSocket. */
  const tunnels = new SlotList<Http2Tunnel>()
  let { headers: maxHeaders, keepAlive } = limits
  let draining = false
  let readers: NodeJS.Timeout[] = []
  let connection: Socket | null = null

  const server = createServer({
    maxHeaderListPairs: MAX_HEADER_FIELDS,
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
    ...REPEATED_FIELDS,
    maxSendHeaderBlockLength: MAX_SENT_HEADERS,
    settings: settingsFor(limits),
  })

  server.on('session', (session) => {
    const socket = connection
    if (socket === null) {
      session.destroy()
      return
    }
    // Node.js caches the address once it has been read, so the log has it even after a disconnect.
    peerOf(socket)
    const activity: Activity = { streams: 0, idleSince: performance.now() }
    sessions.set(session, activity)
    session.setLocalWindowSize(CONNECTION_WINDOW)
    session.on('error', (error) => {
      // Other errors mean that the client has disconnected.
      if ('code' in error && VIOLATIONS.has(String(error.code))) refusals.onConnectionError(error, socket)
    })
    session.on('close', () => {
      sessions.delete(session)
    })
    session.on('stream', (stream, headers, flags, rawHeaders: string[]) => {
      activity.streams += 1
      const request = new Http2Request(stream, socket, headers, rawHeaders, (flags & NGHTTP2_FLAG_END_STREAM) !== 0)
      const response = new Http2Response(request)
      open.add(response)
      const done = (): void => {
        activity.streams -= 1
        activity.idleSince = performance.now()
      }
      response.on('close', () => {
        open.remove(response)
        // An open WebSocket has ended its request, but not its stream.
        if (request.wantsTunnel && !stream.closed) stream.once('close', done)
        else done()
      })
      if (request.wantsTunnel) offerTunnel(request, response)
      serve(request, response)
    })
    if (draining) shutDownAfterRequest(session)
  })

  function offerTunnel(request: Http2Request, response: Http2Response): void {
    const tunnel = tunnelOf(request.stream)
    offerUpgrade(request, {
      socket: tunnel,
      accept(headers) {
        response.openTunnel(headers)
        tunnels.add(tunnel)
        tunnel.once('close', () => {
          tunnels.remove(tunnel)
        })
      },
    })
  }

  function serve(request: Http2Request, response: Http2Response): void {
    const { method = '' } = request
    if (REFUSED_METHODS.has(method)) {
      refusals.refuseStream(new Fault('method_not_allowed', { cause: new Error(method) }), response, false)
      return
    }
    if (request.wantsTunnel && !wantsWebSocket(method, request.headers)) {
      const cause = new Error('a request for a WebSocket has a body')
      refusals.refuseStream(new Fault('bad_request', { cause }), response, false)
      return
    }
    // Node's HTTP/1.1 parser also knows only these methods.
    if (!METHODS.includes(method)) {
      refusals.refuseStream(new Fault('bad_request', { cause: new Error('an unknown method') }), response, false)
      return
    }
    if (method.length + (request.url ?? '').length + sizeOf(request.rawHeaders) > maxHeaders) {
      refusals.refuseStream(headTooLarge(), response, false)
      return
    }
    if (/^100-continue$/i.test(request.headers.expect ?? '')) waitForContinue(request, asHttp1(response))
    route(request, asHttp1(response))
  }

  function limit(next: Config['limits']): void {
    ;({ headers: maxHeaders, keepAlive } = next)
    server.updateSettings(settingsFor(next))
    for (const timer of readers) clearInterval(timer)
    // Node.js does not report how much of a chunk has been sent, so progress is measured in whole chunks.
    readers = [
      watchIdleReaders(
        open,
        next.idleRead,
        (response) => {
          response.req.stream.close(NGHTTP2_CANCEL)
        },
        (response) => (response.writableLength === 0 ? null : response.written - response.writableLength),
      ),
      watchIdleReaders(
        tunnels,
        next.idleRead,
        (tunnel) => {
          tunnel.close(NGHTTP2_CANCEL)
        },
        ({ writableLength, bytesWritten }) => (writableLength === 0 ? null : bytesWritten - writableLength),
      ),
    ]
  }

  function closeIdle(): void {
    const now = performance.now()
    for (const [session, { streams, idleSince }] of sessions)
      if (streams === 0 && now - idleSince >= keepAlive) session.close()
  }

  function* uploads(): Iterable<Upload> {
    for (const response of open) {
      const { req: request } = response
      const refuse = (): void => {
        refusals.refuseStream(uploadStopped(), response, true)
      }
      yield { request, received: request.received, refuse }
    }
  }

  const timers = [setInterval(closeIdle, CHECK_IDLE_MS).unref(), watchSilentUploads(uploads)]
  limit(limits)

  return {
    accept(socket) {
      // HTTP/1.1 servers keep a half-open connection for the response. With HTTP/2, no response could follow.
      socket.allowHalfOpen = false
      // Node.js emits `session` before this call returns.
      connection = socket
      server.emit('connection', socket)
      connection = null
    },
    limit,
    drain() {
      if (draining) return
      draining = true
      for (const session of sessions.keys()) shutDown(session)
    },
    stop() {
      for (const timer of [...timers, ...readers]) clearInterval(timer)
    },
  }
}

function settingsFor({ headers }: Config['limits']): Settings {
  return {
    // https://www.rfc-editor.org/rfc/rfc8441#section-3
    enableConnectProtocol: true,
    maxConcurrentStreams: MAX_STREAMS,
    initialWindowSize: STREAM_WINDOW,
    maxHeaderListSize: headers * HEADERS_FACTOR + MAX_HEADER_FIELDS * FIELD_OVERHEAD,
  }
}

/**
 * Sends GOAWAY with the id of the last request that has arrived, and closes the session after its open streams. Clients
 * send later requests again. A first GOAWAY with the highest id, which the RFC recommends, would only delay that: behind
 * any GOAWAY, nghttp2 ignores new streams, and Node.js does not expose `nghttp2_submit_shutdown_notice`.
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-6.8
 */
function shutDown(session: ServerHttp2Session): void {
  // The requests that have arrived already are read first.
  setImmediate(() => {
    if (!session.destroyed) session.close()
  })
}

/** Shuts down a session that begins during the drain, but not before its first requests. */
function shutDownAfterRequest(session: ServerHttp2Session): void {
  const begin = (): void => {
    clearTimeout(timer)
    shutDown(session)
  }
  const timer = setTimeout(begin, FIRST_REQUEST_MS).unref()
  session.once('stream', begin)
}

/** Returns the size of a head as HTTP/1.1 would send it, in bytes. */
function sizeOf(fields: readonly string[]): number {
  let size = 0
  for (const part of fields) size += part.length + 2
  return size
}

/** Fastify's types know one kind of response. `Http2Response` has the members that Fastify and the gateway use. */
function asHttp1(response: Http2Response): ServerResponse {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return response as unknown as ServerResponse
}
