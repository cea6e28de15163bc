import { IncomingMessage, ServerResponse, type RequestListener, type Server } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { wantsWebSocket } from '../../gate/classify.ts'
import { takeRawTarget } from './raw-targets.ts'
import { answerUnderWay, passDrain } from './response-queue.ts'

const kUpgrade = Symbol('upgrade')
const kAsked = Symbol('asked')

/** A WebSocket that a client has requested. */
export interface Upgrade {
  readonly socket: Tunnel
  /**
   * Answers that the protocol is switched, with these headers, and detaches `socket` from HTTP. The caller then owns
   * `socket`. `phrase` is the status text of HTTP/1.1, with one character per byte.
   */
  accept(headers: readonly string[], phrase: string): void
}

/** The client's end of a WebSocket: a connection, or a stream of an HTTP/2 connection. */
export interface Tunnel extends Duplex {
  readonly bytesWritten: number
}

export interface Upgrading extends IncomingMessage {
  [kUpgrade]?: Upgrade
}

/**
 * The server's requests. Only a request for a WebSocket upgrades the connection. A request for another protocol, such
 * as `h2c`, is a plain request with a body, because a server may ignore Upgrade. Node.js decides with a private setter;
 * later versions have the public `shouldUpgradeCallback`: https://github.com/nodejs/node/pull/59824
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.8
 */
export class GatewayRequest extends IncomingMessage {
  [kAsked]: unknown

  get upgrade(): boolean {
    return this[kAsked] === true && (this.method === 'CONNECT' || wantsWebSocket(this.method ?? '', this.headers))
  }

  set upgrade(asked: unknown) {
    this[kAsked] = asked
    // Node.js sets this property right after it has set `url`, and in the constructor, when there is no URL yet.
    const { url = '' } = this
    if (url !== '') this.url = takeRawTarget(this.socket, url)
  }
}

/** How long a refused client may take to close its side. */
const LINGER_MS = 2_000

/**
 * Routes WebSocket requests like all others, so that the gate decides on every request. `drop` ends the connection of a
 * request that cannot be upgraded.
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
    // The upgrade is pipelined after an unfinished response, and a connection can send only one response at a time.
    if (answerUnderWay(socket) !== null) {
      drop(socket, request)
      return
    }
    if (head.length > 0) socket.unshift(head)
    const gone = (): void => {
      socket.destroy()
    }
    // Reads from the socket, so that a disconnect is noticed. The bytes that the client has already sent stay in the
    // buffer.
    const watch = (): void => {
      if (socket.readableLength === 0) socket.read()
    }
    const refused = (): void => {
      socket.off('readable', watch)
      socket.end()
      socket.resume()
      setTimeout(gone, LINGER_MS).unref()
      over()
    }
    socket.on('error', gone).on('end', gone).on('readable', watch).on('drain', passDrain)

    const response = new ServerResponse(request)
    // Node.js emits `close` only for responses that it has created.
    const over = (): void => {
      process.nextTick(() => response.emit('close'))
    }
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    // If the upgrade is refused, the plain response is the last on this connection.
    response.on('finish', refused)
    offerUpgrade(request, {
      socket,
      accept(headers, phrase) {
        socket.off('error', gone).off('end', gone).off('readable', watch).off('drain', passDrain)
        response.off('finish', refused)
        response.detachSocket(socket)
        // Ends the request, so that the access line and the metrics record it.
        response.statusCode = 101
        response.emit('finish')
        over()
        socket.write(switchingHead(headers, phrase), 'latin1')
      },
    })
    route(request, response)
  })
}

/** Offers that a request for a WebSocket can be upgraded. */
export function offerUpgrade(request: Upgrading, upgrade: Upgrade): void {
  request[kUpgrade] = upgrade
}

export function upgradeOf(request: Upgrading): Upgrade | null {
  return request[kUpgrade] ?? null
}

/**
 * Returns the head of the response that switches protocols, with the upstream's headers and status text. The returned
 * string has one character per byte.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.2.2
 */
function switchingHead(headers: readonly string[], phrase: string): string {
  const lines: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i] ?? ''}: ${headers[i + 1] ?? ''}`)
  return [`HTTP/1.1 101 ${phrase}`, 'Connection: Upgrade', 'Upgrade: websocket', ...lines, '', ''].join('\r\n')
}
