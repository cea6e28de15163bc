import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { Dispatcher, errors } from 'undici'
import { withoutBrackets } from '../../config/value-types/address.ts'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { REPEATED_FIELDS } from '../http2-fields.ts'
import { Http2Dispatch, MAX_HEADERS_BYTES, type Http2Connection } from './http2-dispatch.ts'
import { goawayError, violation } from './upstream-errors.ts'

export type TlsSettings = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized'>

interface UpstreamOptions {
  readonly upstream: CompiledRoute['upstream']
  readonly tls: TlsSettings
  /** The name for SNI and the certificate check, or an empty string if the upstream is an address. */
  readonly servername: string
  readonly connectTimeout: number
  readonly upstreamConnectionAge: number
  /** The limit of the response headers, in bytes. */
  readonly answerHeaders: number
}

/** The native part of a session. */
interface SessionHandle {
  /** Whether nghttp2 reads or writes on. */
  hasPendingData(): boolean
}

interface Connection extends Http2Connection {
  readonly socket: Socket
  readonly handle: SessionHandle | null
  /** The number of streams that the upstream allows at a time. */
  maxStreams: number
  /** The number of checks in a row before which nothing has arrived. */
  quietChecks: number
  /** Whether a ping is unanswered. */
  pinged: boolean
  checksSincePing: number
  ageTimer: NodeJS.Timeout | undefined
}

/** The number of streams that is assumed until an upstream has sent its settings. */
const ASSUMED_STREAMS = 100
/** Lets a stream receive data while the client's buffer fills. */
const STREAM_WINDOW_BYTES = 262_144
const CONNECTION_WINDOW_BYTES = 8_388_608
/** Node.js's limit of the memory of a connection. The window of each stream limits it already. */
const MAX_SESSION_MEMORY_MB = 1_000
const MAX_HEADER_FIELDS = 10_000
/** Node.js's limit of a header section, above which it closes the connection. It counts more than the bytes. */
const MAX_SENT_HEADERS_BYTES = 8 * MAX_HEADERS_BYTES

const CHECK_MS = 1_000
/** An unused connection is closed after this many checks. */
const IDLE_CHECKS = 60
/** A connection with waiting requests is pinged after this many checks without anything from the upstream. */
const QUIET_CHECKS = 10
/** The checks that an upstream may take to answer a ping. */
const PING_ANSWER_CHECKS = 5
/**
 * The checks between two pings on a quiet connection. gRPC servers end a connection that is pinged more often than
 * every five minutes while they send nothing:
 * https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md
 */
const PING_CHECKS = 305

/**
 * The HTTP/2 connections to an upstream, with node:http2. undici's own HTTP/2 client re-encodes header bytes as UTF-8
 * and sends requests that are not idempotent one after the other.
 *
 * A request goes out on an open connection with a free stream, otherwise on a new connection once its settings have
 * arrived. Requests that the upstream has not processed (GOAWAY, REFUSED_STREAM) are sent again.
 */
export class Http2Upstream extends Dispatcher {
  readonly #options: UpstreamOptions
  readonly #checkMs: number
  readonly #open = new Set<Connection>()
  /** Connections that finish their requests, but take no new ones. */
  readonly #retired = new Set<Connection>()
  readonly #waiting = new Set<Http2Dispatch>()
  #connecting = 0
  #knownStreams = ASSUMED_STREAMS
  #checks: NodeJS.Timeout | undefined
  #isDestroyed = false

  /** `checkMs`: the time between two checks for dead and idle connections. */
  constructor(options: UpstreamOptions, checkMs = CHECK_MS) {
    super()
    this.#options = options
    this.#checkMs = checkMs
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const request = new Http2Dispatch(this, options, this.#isTls() ? 'https' : 'http', handler)
    if (this.#isDestroyed) request.fail(new errors.ClientDestroyedError())
    else request.begin()
    return true
  }

  enqueue(request: Http2Dispatch): void {
    const connection = this.#free()
    if (connection !== null) {
      request.start(connection)
      return
    }
    this.#waiting.add(request)
    this.#connectIfNeeded()
  }

  forget(request: Http2Dispatch): void {
    this.#waiting.delete(request)
  }

  release(connection: Http2Connection): void {
    connection.active -= 1
    if (this.#waiting.size > 0) this.#flush()
  }

  override close(): Promise<void>
  override close(callback: () => void): void
  override close(callback?: () => void): Promise<void> | undefined {
    for (const connection of this.#open) this.#retire(connection)
    return done(callback)
  }

  override destroy(): Promise<void>
  override destroy(error: Error | null): Promise<void>
  override destroy(callback: () => void): void
  override destroy(error: Error | null, callback: () => void): void
  override destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> | undefined {
    this.#isDestroyed = true
    clearInterval(this.#checks)
    this.#failWaiting(new errors.ClientDestroyedError())
    for (const { session } of [...this.#open, ...this.#retired]) session.destroy()
    return done(typeof error === 'function' ? error : callback)
  }

  #isTls(): boolean {
    return this.#options.upstream.origin.startsWith('https:')
  }

  #free(): Connection | null {
    for (const connection of this.#open) {
      if (isEnded(connection)) this.#drop(connection)
      else if (connection.active < connection.maxStreams) return connection
    }
    return null
  }

  #flush(): void {
    for (const request of this.#waiting) {
      const free = this.#free()
      if (free === null) break
      this.#waiting.delete(request)
      request.start(free)
    }
    this.#connectIfNeeded()
  }

  #connectIfNeeded(): void {
    if (this.#waiting.size > this.#connecting * this.#knownStreams) this.#connect()
  }

  #failWaiting(error: Error, limit = Number.POSITIVE_INFINITY): void {
    for (const request of [...this.#waiting].slice(0, limit)) request.fail(error)
  }

  #connect(): void {
    this.#connecting += 1
    const socket = this.#openSocket().setNoDelay(true).setKeepAlive(true)
    let session: ClientHttp2Session | null = null
    let isOver = false
    const end = (): boolean => {
      if (isOver) return false
      isOver = true
      clearTimeout(timer)
      this.#connecting -= 1
      return true
    }
    const fail = (error: Error): void => {
      if (!end()) return
      session?.destroy()
      socket.destroy()
      // Fails the requests that this connection would have carried.
      this.#failWaiting(error, this.#connecting === 0 ? undefined : this.#knownStreams)
    }
    const timer = setTimeout(() => {
      fail(session === null ? new errors.ConnectTimeoutError() : notHttp2('it sent no HTTP/2 settings in time'))
    }, this.#options.connectTimeout)
    socket.on('error', (error) => {
      const isRefused = 'code' in error && error.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL'
      fail(isRefused ? notHttp2(NO_H2) : session === null || isTlsError(error) ? error : notHttp2(error.message))
    })
    socket.once(this.#isTls() ? 'secureConnect' : 'connect', () => {
      if (isOver) return
      if ('alpnProtocol' in socket && socket.alpnProtocol !== 'h2') {
        fail(notHttp2(NO_H2))
        return
      }
      const opened = this.#openSession(socket)
      session = opened
      // The upstream's first frame has its settings. An upstream that speaks only HTTP/1.1 sends none.
      opened.once('remoteSettings', () => {
        if (end()) this.#add(opened, socket)
      })
      opened.on('error', (error) => {
        fail(isTlsError(error) ? error : notHttp2(error.message))
      })
      opened.on('close', () => {
        fail(notHttp2('it closed the connection'))
      })
    })
  }

  #openSocket(): Socket {
    const { upstream, tls, servername } = this.#options
    const { hostname, port } = new URL(upstream.origin)
    const host = withoutBrackets(hostname)
    if (upstream.socketPath !== null) return connectTcp({ path: upstream.socketPath })
    if (!this.#isTls()) return connectTcp({ host, port: Number(port) || 80 })
    return connectTls({ ...tls, host, port: Number(port) || 443, servername, ALPNProtocols: ['h2'] })
  }

  #openSession(socket: Socket): ClientHttp2Session {
    const session = connectHttp2(this.#options.upstream.origin, {
      createConnection: () => socket,
      maxHeaderListPairs: MAX_HEADER_FIELDS,
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
      maxSendHeaderBlockLength: MAX_SENT_HEADERS_BYTES,
      ...REPEATED_FIELDS,
      settings: {
        enablePush: false,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxHeaderListSize: Math.min(this.#options.answerHeaders, MAX_HEADERS_BYTES),
      },
    })
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES)
    return session
  }

  #add(session: ClientHttp2Session, socket: Socket): void {
    if (this.#isDestroyed) {
      session.destroy()
      return
    }
    const connection: Connection = {
      session,
      socket,
      handle: handleOf(session),
      maxStreams: maxStreamsOf(session),
      active: 0,
      used: false,
      receivedSinceCheck: true,
      lastStreamId: Number.POSITIVE_INFINITY,
      error: null,
      quietChecks: 0,
      pinged: false,
      checksSincePing: PING_CHECKS,
      ageTimer: undefined,
    }
    connection.ageTimer = setTimeout(() => {
      this.#retire(connection)
    }, this.#options.upstreamConnectionAge).unref()
    session.on('remoteSettings', () => {
      connection.maxStreams = maxStreamsOf(session)
    })
    session.on('goaway', (code, lastStreamId) => {
      connection.lastStreamId = lastStreamId
      if (code !== 0) connection.error = goawayError(code)
      this.#retire(connection)
    })
    session.on('error', (error) => {
      connection.error ??= error
      this.#retire(connection)
    })
    session.on('close', () => {
      clearTimeout(connection.ageTimer)
      this.#open.delete(connection)
      this.#retired.delete(connection)
      this.#flush()
    })
    this.#knownStreams = connection.maxStreams
    this.#open.add(connection)
    this.#checks ??= setInterval(() => {
      this.#check()
    }, this.#checkMs).unref()
    this.#flush()
  }

  /** Lets the requests on a connection finish, and takes no new ones. */
  #retire(connection: Connection): void {
    if (!this.#open.delete(connection)) return
    clearTimeout(connection.ageTimer)
    this.#retired.add(connection)
    if (!connection.session.closed) connection.session.close()
  }

  /** Ends a connection at once, together with its requests. */
  #drop(connection: Connection): void {
    this.#retire(connection)
    connection.session.destroy()
    connection.socket.destroy()
  }

  /** Closes idle connections, and finds those that are dead although no packet has said so. */
  #check(): void {
    for (const connection of [...this.#open, ...this.#retired]) {
      if (isEnded(connection)) {
        this.#drop(connection)
        continue
      }
      connection.checksSincePing += 1
      connection.quietChecks = connection.receivedSinceCheck ? 0 : connection.quietChecks + 1
      connection.receivedSinceCheck = false
      if (connection.active === 0) {
        if (connection.quietChecks >= IDLE_CHECKS) this.#retire(connection)
      } else if (
        connection.quietChecks >= QUIET_CHECKS &&
        !connection.pinged &&
        connection.checksSincePing >= PING_CHECKS
      ) {
        this.#ping(connection)
      }
    }
    if (this.#open.size + this.#retired.size > 0) return
    clearInterval(this.#checks)
    this.#checks = undefined
  }

  #ping(connection: Connection): void {
    connection.pinged = true
    connection.checksSincePing = 0
    const timer = setTimeout(() => {
      connection.error = new Error('the application answers no ping on this connection')
      this.#drop(connection)
    }, this.#checkMs * PING_ANSWER_CHECKS).unref()
    connection.session.ping(() => {
      clearTimeout(timer)
      connection.pinged = false
    })
  }
}

/** Returns whether a connection can carry no more frames, even if its session has not emitted `close` yet. */
function isEnded(connection: Connection): boolean {
  const { session, socket, handle } = connection
  if (session.destroyed || !socket.writable) return true
  // nghttp2 also stops on a session that is closing, once the frames of its last stream have been sent.
  if (session.closed || handle === null || handle.hasPendingData()) return false
  connection.error ??= violation()
  return true
}

/**
 * Returns the handle of a session. After most violations of HTTP/2, Node.js emits no event: nghttp2 sends a GOAWAY, and
 * then neither reads nor writes.
 */
function handleOf(session: ClientHttp2Session): SessionHandle | null {
  const key = Object.getOwnPropertySymbols(session).find(({ description }) => description === 'kHandle')
  const handle: unknown = key === undefined ? null : Reflect.get(session, key)
  return isHandle(handle) ? handle : null
}

function isHandle(value: unknown): value is SessionHandle {
  return typeof value === 'object' && value !== null && 'hasPendingData' in value
}

function maxStreamsOf({ remoteSettings }: ClientHttp2Session): number {
  // An upstream may temporarily announce 0. A request then waits for its stream.
  return Math.max(1, remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY)
}

/** https://www.rfc-editor.org/rfc/rfc9113#section-3.2 */
const NO_H2 = 'it did not choose h2 with ALPN'

function isTlsError(error: Error): boolean {
  return 'code' in error && String(error.code).startsWith('ERR_SSL_')
}

function notHttp2(why: string): Error {
  return new Error(`the application does not speak HTTP/2 (upstreamProtocol): ${why}`)
}

function done(callback: (() => void) | undefined): Promise<void> | undefined {
  if (callback === undefined) return Promise.resolve()
  callback()
  return undefined
}
