import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

const kUpgrade = Symbol('upgrade')

/** The connection of a request that asks for another protocol. */
export interface Upgrade {
  readonly socket: Duplex
  /** What the client has sent behind the request already. */
  readonly head: Buffer
}

interface Upgrading extends IncomingMessage { [kUpgrade]?: Upgrade }

/** Leads upgrade requests through Fastify's routing and hooks like any other: one gate for all. */
export function routeUpgrades(app: FastifyInstance): void {
  app.server.on('upgrade', (request: Upgrading, socket: Duplex, head: Buffer) => {
    socket.on('error', () => { socket.destroy() })
    request[kUpgrade] = { socket, head }
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    if (socket instanceof Socket) response.assignSocket(socket)
    // An answer instead of the other protocol is the last one on this connection.
    response.on('finish', () => { socket.end() })
    app.routing(request, response)
  })
}

/** The upgrade that a request asks for, or `null`. */
export function upgradeOf(request: Upgrading): Upgrade | null {
  return request[kUpgrade] ?? null
}
