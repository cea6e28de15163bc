import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import {
  createServer as createHttpServer,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
  type IncomingMessage,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { Server as NetServer, createServer as createNetServer, type AddressInfo, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { Server as TlsServer, type SecureContextOptions } from 'node:tls'
import type { Config, Listen } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import { createLimiter } from '../../resilience/limiter.ts'
import type { Log } from '../../telemetry/log.ts'
import { acceptLast } from './accept-queue.ts'
import { routeExpectations } from './expect-continue.ts'
import { isLastOnConnection, hasBody } from './framing.ts'
import { createHttp2Sessions } from './http2-sessions.ts'
import { takenBySystem, watchIdleReaders } from './idle-readers.ts'
import { peerOf } from '../facts.ts'
import type { ClientError, Refusals } from './parser-errors.ts'
import { limitPipelining } from './pipelining.ts'
import { parseRawTarget, trackPackets } from './raw-targets.ts'
import { detectHttp2, readAhead, takeConnections } from './protocol-detection.ts'
import { actFor, isProxyHeader, plainConnectionOf, readProxyHeader, type ProxiedClient } from './proxy-protocol.ts'
import { answerUnderWay, latestAnswer } from './response-queue.ts'
import { watchSilentUploads, type Upload } from './silent-uploads.ts'
import { GatewayRequest, routeUpgrades } from './upgrade.ts'

/** A listener for requests. Its connections survive a change of the configuration. */
export interface Listener {
  /**
   * Rejects with a system error, such as EADDRINUSE. A Unix socket has the permissions `mode`, or without `mode` those
   * that the umask leaves.
   */
  listen(where: Listen, mode?: number | null): Promise<void>
  address(): AddressInfo | string | null
  /** Sets the limits of new connections. `keepAlive` and `headersTimeout` also apply to open connections. */
  limit(limits: Config['limits']): void
  /** Sets the certificate, the lowest version and the ciphers of new connections. Open connections keep theirs. */
  certify(tls: NonNullable<Config['tls']>): void
  /** Makes each further response the last on its connection, so that clients reconnect elsewhere. */
  drain(): void
  /** Stops accepting connections. Resolves when the open ones have received their responses and are closed. */
  close(): Promise<void>
  cut(): void
}

const HANDSHAKE_TIMEOUT_MS = 20_000
const CHECK_HEADS_MS = 5_000
/** The time without data after which TCP probes a client. */
const KEEP_ALIVE_PROBE_MS = 60_000
const MAX_CONNECTIONS = 20_000
/** Idle connections stay open until no request has arrived on any of them for this long. */
const LINGER_MS = 1_000
const MAX_LINGER_MS = 10_000
const CHECK_IDLE_MS = 100
/** How long the last connections may take to emit `close`. */
const CLOSE_EVENTS_MS = 1_000
/** The shortest time between two log lines about too many connections. */
const COMPLAIN_MS = 10_000

interface ListenerOptions {
  /**
   * Whether clients may begin with HTTP/2 without TLS.
   * @see https://www.rfc-editor.org/rfc/rfc9113#section-3
   */
  readonly h2c?: boolean
  /**
   * Returns whether a connection comes from a proxy that sends a PROXY protocol header. All other connections are
   * closed. By default, no connection begins with such a header.
   */
  readonly sendsProxyHeader?: ((connection: Socket) => boolean) | null
}

/**
 * Creates a listener. `route` answers every request, including those for WebSockets. With TLS, clients may negotiate
 * HTTP/2.
 */
export function createListener(
  tls: Config['tls'],
  route: RequestListener,
  log: Log,
  limits: Config['limits'],
  refusals: Refusals,
  { h2c = false, sendsProxyHeader = null }: ListenerOptions = {},
): Listener {
  const options: ServerOptions = {
    // The gateway refuses a request without Host itself, so that the response has a body.
    requireHostHeader: false,
    IncomingMessage: GatewayRequest,
    connectionsCheckingInterval: CHECK_HEADS_MS,
    // Bodies may be slow. `giveUpOnSilentUploads` disconnects clients that send nothing.
    requestTimeout: 0,
    // Without probes, an idle stream to a client that has vanished would stay open forever.
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
  }
  const server: Server =
    tls === null
      ? createHttpServer(options)
      : createHttpsServer({
          ...options,
          ...contextOf(tls),
          // Node.js refuses clients that offer none of these. Some, such as `curl --http1.0`, offer HTTP/1.0 only.
          ALPNProtocols: ['h2', 'http/1.1', 'http/1.0'],
          handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
        })
  // Node.js silently drops fields above its limit. The gateway's own limit refuses the request.
  server.maxHeadersCount = 0
  const sockets = new Set<Socket>()
  /** The connections that speak HTTP/1.1 or have not sent anything yet, with their latest request. */
  const http1Connections = new Map<Socket, Asked>()
  /** The servers on other addresses of the same host name. */
  const others: NetServer[] = []
  const routeInOrder = limitPipelining(route, () => idleRead)
  let { idleRead, headersTimeout } = limits
  let watchingReaders: NodeJS.Timeout | undefined
  let accepted = 0
  let draining = false
  /** The responses that must be the last on their connections, because the listener is draining. */
  const lastAnswers = new WeakMap<Socket, ServerResponse>()
  let askedAt = 0
  let closing: Promise<void> | null = null

  const countedRoute: RequestListener = (request, response) => {
    if (draining) askedAt = performance.now()
    route(request, response)
  }

  const serve: RequestListener = (request, response) => {
    if (draining) {
      endBehind(request.socket, response)
      askedAt = performance.now()
    }
    // If the map held ended requests, each garbage collection would copy them.
    http1Connections.set(request.socket, hasBody(request) ? request : 'bodyless')
    routeInOrder(request, response)
  }

  const http2 = tls !== null || h2c ? createHttp2Sessions(countedRoute, limits, refusals) : null
  const ready = tls === null ? 'connection' : 'secureConnection'
  const serveConnection = takeConnections(server, ready)
  const startTls = tls === null || sendsProxyHeader === null ? null : takeConnections(server, 'connection')
  /** The clients of plain connections on which TLS begins behind a PROXY protocol header. */
  const clientsBehindTls = new WeakMap<object, ProxiedClient>()
  const acceptHttp1 = (socket: Socket): void => {
    serveConnection(socket)
    trackPackets(socket)
  }
  server.on('connection', (socket: Socket) => {
    accepted += 1
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
    })
  })
  const accept = (socket: Socket): void => {
    watch(socket)
    if (http2 === null) {
      acceptHttp1(socket)
      // A connection that was read ahead is paused.
      if (sendsProxyHeader !== null) socket.resume()
      return
    }
    detectHttp2(socket, headersTimeout, (isHttp2) => {
      if (isHttp2) {
        http1Connections.delete(socket)
        http2.accept(socket)
      } else acceptHttp1(socket)
    })
  }
  if (sendsProxyHeader === null) server.on(ready, accept)
  else acceptBehindProxies(sendsProxyHeader)
  server.on('request', serve)
  server.on('clientError', (error: ClientError, socket: Socket) => {
    if (sendsProxyHeader === null) nameUnexpectedHeader(error)
    // A failed handshake has an address too.
    if (startTls !== null) nameClient(socket)
    const asked = http1Connections.get(socket)
    if (!refusals.hasRefused(socket) && parseRawTarget(error, socket, server, typeof asked === 'object')) return
    refusals.onClientError(error, socket, typeof asked === 'object' && !asked.complete ? asked : null)
  })
  routeExpectations(server)
  server.on('connect', (request, socket: Socket) => {
    refusals.refuse(new Fault('method_not_allowed', { cause: new Error('CONNECT') }), socket, request)
  })
  routeUpgrades(server, serve, (socket, request) => {
    refusals.refuse(
      new Fault('bad_request', { cause: new Error('an upgrade behind a response that had not ended') }),
      socket,
      request,
    )
  })
  complainOfTooMany(server, log)
  const watching = watchSilentUploads(uploads)
  limit(limits)

  function limit(next: Config['limits']): void {
    const { headers, keepAlive, connections } = next
    ;({ idleRead, headersTimeout } = next)
    Object.assign(server, { maxHeaderSize: headers, keepAliveTimeout: keepAlive, headersTimeout })
    clearInterval(watchingReaders)
    watchingReaders = watchIdleReaders(sockets, idleRead, destroy, takenBySystem)
    http2?.limit(next)
    for (const one of [server, ...others]) one.maxConnections = connections ?? MAX_CONNECTIONS
  }

  function watch(socket: Socket): void {
    http1Connections.set(socket, 'nothing')
    socket.once('close', () => {
      http1Connections.delete(socket)
    })
  }

  /** Accepts connections that begin with a PROXY protocol header, which comes before TLS. */
  function acceptBehindProxies(isProxy: (connection: Socket) => boolean): void {
    const mayComplain = createLimiter(1, COMPLAIN_MS)
    const complain = (socket: Socket, cause: string): void => {
      if (!mayComplain()) return
      const client = peerOf(socket) || '-'
      log.warn({ event: 'proxy_protocol_refused', client, cause }, 'a connection was closed')
    }
    server.on('connection', (socket: Socket) => {
      if (!isProxy(socket)) {
        // A peer without an address has disconnected.
        if (peerOf(socket) !== '') complain(socket, 'the connection does not come from an address in trustedProxies')
        socket.destroy()
        return
      }
      watch(socket)
      const begin = ({ client }: { readonly client: ProxiedClient | null }): void => {
        if (startTls === null) {
          if (client !== null) actFor(socket, client)
          accept(socket)
          return
        }
        http1Connections.delete(socket)
        if (client !== null) clientsBehindTls.set(socket, client)
        startTls(socket)
      }
      readAhead(socket, headersTimeout, readProxyHeader, begin, ({ message }) => {
        complain(socket, message)
      })
    })
    if (startTls === null) return
    server.on(ready, (socket: Socket) => {
      if (nameClient(socket)) accept(socket)
      else socket.destroy()
    })
  }

  /** Gives a TLS connection the client's address. Returns `false` if the plain connection below it is unknown. */
  function nameClient(socket: Socket): boolean {
    const plain = plainConnectionOf(socket)
    const client = plain === null ? undefined : clientsBehindTls.get(plain)
    if (client !== undefined) actFor(socket, client)
    return plain !== null
  }

  function* uploads(): Iterable<Upload> {
    for (const [socket, request] of http1Connections) {
      if (typeof request === 'string') continue
      const refuse = (): void => {
        refusals.onSilentUpload(socket, request)
      }
      yield { request, received: socket.bytesRead, refuse }
    }
  }

  function endAfterAnswer(): void {
    draining = true
    http2?.drain()
    for (const socket of http1Connections.keys()) {
      const answer = latestAnswer(socket)
      if (answer !== null) endBehind(socket, answer)
    }
  }

  /** Closes the connection after this response, but not after the responses to earlier pipelined requests. */
  function endBehind(socket: Socket, answer: ServerResponse): void {
    if (answer.headersSent || !answer.shouldKeepAlive) return
    const previous = lastAnswers.get(socket)
    if (previous?.headersSent === false) previous.shouldKeepAlive = !isLastOnConnection(previous.req)
    answer.shouldKeepAlive = false
    lastAnswers.set(socket, answer)
  }

  /** Waits until the last connections emit `close` and so end their requests. The server emits `close` earlier. */
  async function lastCloseEvents(): Promise<void> {
    const open = new Set([...sockets, ...http1Connections.keys()])
    const told = Promise.all([...open].map(async (socket) => new Promise((resolve) => socket.once('close', resolve))))
    await withDeadline(told, CLOSE_EVENTS_MS, () => undefined)
    // A WebSocket's request ends one step later.
    await setImmediate()
  }

  async function close(): Promise<void> {
    endAfterAnswer()
    if (server.listening) await acceptLast(() => accepted)
    // The HTTP server's `close` destroys idle connections immediately, even if a request is arriving on one of them:
    // https://github.com/nodejs/node/issues/60617
    const closed = [server, ...others]
      .filter(({ listening }) => listening)
      .map(async (one) => {
        NetServer.prototype.close.call(one)
        await once(one, 'close')
      })
    const done = Promise.all(closed)
    const over = new AbortController()
    void done.then(() => {
      over.abort()
      clearInterval(watching)
      clearInterval(watchingReaders)
      http2?.stop()
    })
    const moment = async (): Promise<unknown> => withDeadline(done, CHECK_IDLE_MS, () => undefined)
    const begun = performance.now()
    const isQuiet = (now: number): boolean =>
      now - Math.max(begun, askedAt) >= LINGER_MS || now - begun >= MAX_LINGER_MS
    while (!over.signal.aborted && !isQuiet(performance.now())) await moment()
    while (!over.signal.aborted) {
      // Node.js considers a connection idle even if its complete response has not been sent yet.
      if (![...http1Connections.keys()].some((socket) => answerUnderWay(socket)?.writableEnded))
        server.closeIdleConnections()
      for (const [socket, asked] of http1Connections) if (asked === 'nothing') socket.destroy()
      await moment()
    }
    await lastCloseEvents()
  }

  return {
    async listen(where, mode = null) {
      await bind(server, where, mode)
      if (!('host' in where) || where.host !== 'localhost') return
      const first = server.address()
      if (first === null || typeof first === 'string') return
      for (const { address } of await lookup('localhost', { all: true })) {
        if (address === first.address) continue
        const other = createNetServer({ keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS }, (socket) => {
          server.emit('connection', socket)
        })
        other.maxConnections = server.maxConnections
        complainOfTooMany(other, log)
        // The name `localhost` may have addresses that this machine does not have.
        if (
          await bind(other, { host: address, port: first.port }).then(
            () => true,
            () => false,
          )
        )
          others.push(other)
      }
    },
    address: () => server.address(),
    limit,
    certify(pair) {
      if (server instanceof TlsServer) server.setSecureContext(contextOf(pair))
    },
    drain: endAfterAnswer,
    close: () => (closing ??= close()),
    cut() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** Names a PROXY protocol header as the cause of an error. OpenSSL does not report the bytes that it has rejected. */
function nameUnexpectedHeader(error: ClientError): void {
  if (isProxyHeader(error.rawPacket)) error.message = 'the connection begins with a PROXY protocol header'
  else if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER')
    error.reason =
      'no TLS at the start of the connection; if a proxy sends the PROXY protocol, set listenProxyProtocol: true'
}

function destroy(socket: Socket): void {
  socket.destroy()
}

function contextOf({ certFile, keyFile, minVersion, ciphers }: NonNullable<Config['tls']>): SecureContextOptions {
  return {
    cert: certFile.content,
    key: keyFile.content,
    minVersion: `TLSv${minVersion}`,
    ...(ciphers === null ? {} : { ciphers }),
  }
}

async function bind(server: NetServer, where: Listen, mode: number | null = null): Promise<void> {
  const umask = mode === null ? null : process.umask(umaskOf(mode))
  server.listen({ ...where })
  if (umask !== null) process.umask(umask)
  await once(server, 'listening')
}

/**
 * Returns the umask with which a new Unix socket has this mode. Node.js creates the socket during the call of `listen`,
 * so the process can have this umask for that call only, and the socket never has other permissions.
 */
export function umaskOf(mode: number): number {
  return 0o777 & ~mode
}

function complainOfTooMany(server: NetServer, log: Log): void {
  const mayComplain = createLimiter(1, COMPLAIN_MS)
  server.on('drop', () => {
    if (!mayComplain()) return
    log.error({ event: 'too_many_connections', most: server.maxConnections }, 'no further connections are taken')
  })
}

/**
 * The latest request of a connection if it has a body, `bodyless` if it has none, or `nothing` before the first one.
 */
export type Asked = IncomingMessage | 'bodyless' | 'nothing'
