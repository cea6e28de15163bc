import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/** Ports below the range of outgoing connections, in blocks. */
const FIRST = 10_000
const BLOCKS = 200
const BLOCK = 100

let unused: number[] = []

/** Listens on a port; `null` if the port is in use. */
const listenOn = async (port: number): Promise<Server | null> => {
  const server = createServer()
  return new Promise((resolve) => {
    server
      .once('error', () => {
        resolve(null)
      })
      .listen(port, '127.0.0.1', () => {
        resolve(server)
      })
  })
}

const isFree = async (port: number): Promise<boolean> => {
  const server = await listenOn(port)
  if (server === null) return false
  server.close()
  await once(server, 'close')
  return true
}

/**
 * Returns a free port that no other test gets, even while its server is down: each test process reserves a block of
 * ports by listening on the first of them.
 */
export const freePort = async (): Promise<number> => {
  const port = unused.shift()
  if (port !== undefined) return (await isFree(port)) ? port : freePort()
  const first = FIRST + BLOCK * randomInt(BLOCKS)
  const lock = await listenOn(first)
  if (lock !== null) {
    // The port stays reserved until the process ends.
    lock.unref()
    unused = [...unused, ...Array.from({ length: BLOCK - 1 }, (_, i) => first + 1 + i)]
  }
  return freePort()
}
