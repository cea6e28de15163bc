import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'

/** Starts a TCP server that passes each connection to `accept`. The server closes when the test ends. */
export const startSockets = async (t: Test, accept: (socket: Socket, count: number) => void): Promise<string> => {
  let count = 0
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    count += 1
    accept(socket, count)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return `http://127.0.0.1:${boundPort(server)}`
}
