import type { Server } from 'node:net'

/** Returns the port of a listening server; throws for a Unix socket. */
export function boundPort(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('the server listens on no TCP port')
  return address.port
}
