import { IncomingMessage, ServerResponse, type RequestListener, type Server } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { wantsWebSocket } from '../../gate/classify.ts'
import { answerUnderWay, passDrain } from './answer-under-way.ts'

const kUpgrade = Symbol('upgrade')
const kAsked = Symbol('asked')

/** The connection of a request that asks for a WebSocket. */
export interface Upgrade {
  readonly socket: Socket
  /** Takes the connection out of HTTP's hands, once the upstream has switched: from then on it is the caller's. */
  take(): void
}

interface Upgrading extends IncomingMessage {
  [kUpgrade]?: Upgrade
}

/**
 * A request as the server makes it. Only for a WebSocket does the connection change its protocol: one that asks for
 * anything else (`h2c`) is a plain request, body and all (RFC 9110, section 7.8: a server may ignore Upgrade).
 */
export class GatewayRequest extends IncomingMessage {
  [kAsked]: unknown

  get upgrade(): boolean {
    return this[kAsked] === true && (this.method === 'CONNECT' || wantsWebSocket(this.method ?? '', this.headers))
  }

  set upgrade(asked: unknown) {
    this[kAsked] = asked
  }
}

/** How long a client that was refused may take to close its side, ms. */
const LINGER = 2_000

/**
 * Leads WebSocket requests to `route` like any other: one gate for all. `drop` ends the connection of one that can't
 * have it.
 */
export function routeUpgrades(
  server: Server,
  route: RequestListener,
  drop: (socket: Socket, request: IncomingMessage) => void,
): void {
  server.on('upgrade', (request: Upgrading, socket: Duplex, head: Buffer) => {
    if (!(socket instanceof Socket)) {
      socket.destroy()
      return
    }
    // An upgrade pipelined behind an answer that is not finished: this connection has no place for a second one.
    if (answerUnderWay(socket) !== null) {
      drop(socket, request)
      return
    }
    if (head.length > 0) socket.unshift(head)
    const gone = (): void => {
      socket.destroy()
    }
    // Only who reads learns that the client has gone; what it may have sent already is not touched.
    const watch = (): void => {
      if (socket.readableLength === 0) socket.read()
    }
    const refused = (): void => {
      socket.off('readable', watch)
      socket.end()
      socket.resume()
      setTimeout(gone, LINGER).unref()
      over()
    }
    socket.on('error', gone).on('end', gone).on('readable', watch).on('drain', passDrain)

    const response = new ServerResponse(request)
    /** Node.js emits close only on responses that it created. */
    const over = (): void => {
      process.nextTick(() => response.emit('close'))
    }
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    // An answer instead of the other protocol is the last one on this connection.
    response.on('finish', refused)
    request[kUpgrade] = {
      socket,
      take() {
        socket.off('error', gone).off('end', gone).off('readable', watch).off('drain', passDrain)
        response.off('finish', refused)
        response.detachSocket(socket)
        // For the access line and the count.
        response.statusCode = 101
        response.emit('finish')
        over()
      },
    }
    route(request, response)
  })
}

/** The upgrade that a request asks for, or `null`. */
export function upgradeOf(request: Upgrading): Upgrade | null {
  return request[kUpgrade] ?? null
}
