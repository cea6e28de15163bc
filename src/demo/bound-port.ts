import type { Server } from 'node:net'

/** The port that a listening server really has, also where any free one was asked for; throws for a Unix socket. */
export const boundPort = (server: Server): number => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('the server listens on no TCP port')
  return address.port
}
