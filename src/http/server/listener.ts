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
import { Server as TlsServer } from 'node:tls'
import type { Config, Listen } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import { createLimiter } from '../../resilience/limiter.ts'
import type { Log } from '../../telemetry/log.ts'
import { acceptLast } from './accept-last.ts'
import { answerUnderWay } from './answer-under-way.ts'
import { routeExpectations, waitsToBeAsked } from './expect-continue.ts'
import { watchIdleReaders } from './idle-readers.ts'
import { isLastOnConnection } from './last-on-connection.ts'
import { hasBody } from './lingering-close.ts'
import type { ClientError, Refusals } from './parser-errors.ts'
import { limitPipelining } from './pipelining.ts'
import { latestAnswer } from './response-queue.ts'
import { GatewayRequest, routeUpgrades } from './upgrade.ts'

/** A listener for requests: its connections outlive a change of the configuration. */
export interface Listener {
  /** Rejects with the system's error, such as EADDRINUSE. */
  listen(where: Listen): Promise<void>
  address(): AddressInfo | string | null
  /** New connections get these limits; `keepAlive` and `headersTimeout` hold for those that are open as well. */
  limit(limits: Config['limits']): void
  /** New connections get this certificate; those that are open keep theirs. */
  certify(tls: NonNullable<Config['tls']>): void
  /** From now on each answer is the last on its connection, so that clients move on. */
  drain(): void
  /** Takes no new connections; resolves when those that are open have got their answers and are closed. */
  close(): Promise<void>
  /** Closes what is still open. */
  cut(): void
}

/** How long a client may take for TLS, ms. */
const HANDSHAKE_WITHIN = 20_000
/** How often it is looked whether the head of a request has taken too long, ms. */
const LOOK_FOR_SLOW = 5_000
/** TCP looks after a client that has been silent for so long, ms. */
const PROBE_AFTER = 60_000
const MAX_CONNECTIONS = 20_000
/**
 * Idle connections stay open until nothing has come on any for so long, ms, at most for `LINGER_MOST`: a request may be
 * on its way.
 */
const LINGER = 1_000
const LINGER_MOST = 10_000
/** How often a closing listener looks for connections that have become idle, ms. */
const LOOK_FOR_IDLE = 100
/** How long the system may take to tell the end of the last connections, ms. */
const TOLD_WITHIN = 1_000
/** How often it is logged that there are too many connections, ms. */
const COMPLAIN_EVERY = 10_000

/** Makes the listener; `route` answers each request, WebSocket requests included. */
export function createListener(
  tls: Config['tls'],
  route: RequestListener,
  log: Log,
  limits: Config['limits'],
  refusals: Refusals,
): Listener {
  const options: ServerOptions = {
    // What has no Host is refused further on, with an answer that has a body.
    requireHostHeader: false,
    IncomingMessage: GatewayRequest,
    connectionsCheckingInterval: LOOK_FOR_SLOW,
    // Bodies may take their time as long as they come; who reads them watches that.
    requestTimeout: 0,
    // A client that has vanished without a word would keep a silent stream for ever.
    keepAlive: true,
    keepAliveInitialDelay: PROBE_AFTER,
  }
  const server: Server =
    tls === null
      ? createHttpServer(options)
      : createHttpsServer({ ...options, ...pairOf(tls), handshakeTimeout: HANDSHAKE_WITHIN })
  // Node drops what is over its limit without a word; the gateway has one that refuses.
  server.maxHeadersCount = 0
  /** Every connection, and of those that speak HTTP by now what they have asked for last. */
  const sockets = new Set<Socket>()
  const speaking = new Map<Socket, Asked>()
  /** More addresses of the same name. */
  const others: NetServer[] = []
  const routeInOrder = limitPipelining(route, () => idleRead)
  let { idleRead } = limits
  let watchingReaders: NodeJS.Timeout | undefined
  /** How many connections there have been. */
  let accepted = 0
  let draining = false
  /** While it drains: the answer that is to be the last on its connection. */
  const lastAnswers = new WeakMap<Socket, ServerResponse>()
  let askedAt = 0
  let closing: Promise<void> | null = null

  const serve: RequestListener = (request, response) => {
    if (draining) {
      endBehind(request.socket, response)
      askedAt = performance.now()
    }
    // To hold on to every request until the next one would make each collection carry them all over.
    speaking.set(request.socket, hasBody(request) ? request : 'bodyless')
    routeInOrder(request, response)
  }

  server.on('connection', (socket: Socket) => {
    accepted += 1
    sockets.add(socket)
    socket.once('close', () => {
      sockets.delete(socket)
    })
  })
  server.on(tls === null ? 'connection' : 'secureConnection', (socket: Socket) => {
    speaking.set(socket, 'nothing')
    socket.once('close', () => {
      speaking.delete(socket)
    })
  })
  server.on('request', serve)
  server.on('clientError', (error: ClientError, socket: Socket) => {
    const asked = speaking.get(socket)
    refusals.onClientError(error, socket, typeof asked === 'object' && !asked.complete ? asked : null)
  })
  routeExpectations(server)
  server.on('connect', (request, socket: Socket) => {
    refusals.refuse(new Fault('method_not_allowed', { cause: new Error('CONNECT') }), socket, request)
  })
  routeUpgrades(server, serve, (socket, request) => {
    refusals.refuse(
      new Fault('bad_request', { cause: new Error('an upgrade behind an answer that had not ended') }),
      socket,
      request,
    )
  })
  complainOfTooMany(server, log)
  const watching = giveUpOnSilentUploads(speaking, (socket, request) => {
    refusals.onClientError(
      Object.assign(new Error('nothing more of the body comes'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }),
      socket,
      request,
    )
  })
  limit(limits)

  function limit(next: Config['limits']): void {
    const { headers, keepAlive, headersTimeout, connections } = next
    idleRead = next.idleRead
    Object.assign(server, { maxHeaderSize: headers, keepAliveTimeout: keepAlive, headersTimeout })
    clearInterval(watchingReaders)
    watchingReaders = watchIdleReaders(sockets, idleRead, (socket) => {
      socket.destroy()
    })
    for (const one of [server, ...others]) one.maxConnections = connections ?? MAX_CONNECTIONS
  }

  function endAfterAnswer(): void {
    draining = true
    for (const socket of speaking.keys()) {
      const answer = latestAnswer(socket)
      if (answer !== null) endBehind(socket, answer)
    }
  }

  /** Answers to requests that were pipelined before this one's must not close the connection. */
  function endBehind(socket: Socket, answer: ServerResponse): void {
    if (answer.headersSent || !answer.shouldKeepAlive) return
    const previous = lastAnswers.get(socket)
    if (previous?.headersSent === false) previous.shouldKeepAlive = !isLastOnConnection(previous.req)
    answer.shouldKeepAlive = false
    lastAnswers.set(socket, answer)
  }

  /** A server is closed before the last connections have told their end, and with it that of their requests. */
  async function allTold(): Promise<void> {
    const open = new Set([...sockets, ...speaking.keys()])
    const told = Promise.all([...open].map(async (socket) => new Promise((resolve) => socket.once('close', resolve))))
    await withDeadline(told, TOLD_WITHIN, () => undefined)
    // A WebSocket's request ends one step later.
    await setImmediate()
  }

  async function close(): Promise<void> {
    endAfterAnswer()
    if (server.listening) await acceptLast(() => accepted)
    // The server's own would close idle connections at once, also the one that a request is just arriving on.
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
    })
    const moment = async (): Promise<unknown> => withDeadline(done, LOOK_FOR_IDLE, () => undefined)
    const begun = performance.now()
    const isQuiet = (now: number): boolean => now - Math.max(begun, askedAt) >= LINGER || now - begun >= LINGER_MOST
    while (!over.signal.aborted && !isQuiet(performance.now())) await moment()
    while (!over.signal.aborted) {
      // Node takes a connection for idle whose answer is complete, but not yet sent.
      if (![...speaking.keys()].some((socket) => answerUnderWay(socket)?.writableEnded)) server.closeIdleConnections()
      for (const [socket, asked] of speaking) if (asked === 'nothing') socket.destroy()
      await moment()
    }
    await allTold()
  }

  return {
    async listen(where) {
      await bind(server, where)
      if (!('host' in where) || where.host !== 'localhost') return
      const first = server.address()
      if (first === null || typeof first === 'string') return
      for (const { address } of await lookup('localhost', { all: true })) {
        if (address === first.address) continue
        const other = createNetServer({ keepAlive: true, keepAliveInitialDelay: PROBE_AFTER }, (socket) => {
          server.emit('connection', socket)
        })
        other.maxConnections = server.maxConnections
        complainOfTooMany(other, log)
        // A name may stand for an address that this machine does not have.
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
      if (server instanceof TlsServer) server.setSecureContext(pairOf(pair))
    },
    drain: endAfterAnswer,
    close: () => (closing ??= close()),
    cut() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

function pairOf({ certFile, keyFile }: NonNullable<Config['tls']>): { cert: Buffer; key: Buffer } {
  return { cert: certFile.content, key: keyFile.content }
}

async function bind(server: NetServer, where: Listen): Promise<void> {
  server.listen({ ...where })
  await once(server, 'listening')
}

function complainOfTooMany(server: NetServer, log: Log): void {
  const mayComplain = createLimiter(1, COMPLAIN_EVERY)
  server.on('drop', () => {
    if (!mayComplain()) return
    log.error({ event: 'too_many_connections', most: server.maxConnections }, 'no further connections are taken')
  })
}

/** A client that sends nothing of a body that is waited for between two looks, ms, is given up. */
const LOOK_FOR_SILENT = 30_000

/** What has come last on a connection: a request with a body, one without, or none yet. */
export type Asked = IncomingMessage | 'bodyless' | 'nothing'

/**
 * Uploads may last for hours, as long as something comes. A body that the application does not take yet is no client's
 * fault. Looks at the connections and their latest requests until the timer is cleared, and hands those over that are
 * silent.
 */
function giveUpOnSilentUploads(
  speaking: ReadonlyMap<Socket, Asked>,
  giveUp: (socket: Socket, request: IncomingMessage) => void,
): NodeJS.Timeout {
  const read = new WeakMap<Socket, number>()
  return setInterval(() => {
    for (const [socket, asked] of speaking) {
      if (typeof asked === 'string' || asked.complete || waitsToBeAsked(asked)) continue
      const isSilent = read.get(socket) === socket.bytesRead && asked.readableLength === 0
      read.set(socket, socket.bytesRead)
      if (isSilent) giveUp(socket, asked)
    }
  }, LOOK_FOR_SILENT).unref()
}
