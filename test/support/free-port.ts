import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

/** Ports below those that the system gives to outgoing connections, in blocks. */
const FIRST = 10_000
const BLOCKS = 200
const BLOCK = 100

/** The ports of this process's block that have not been given away yet. */
let mine: number[] = []

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
 * A free port that no other test gets, also not while whoever had it is down: each process of tests has a block of
 * ports for itself, which it holds by listening on the first of them.
 */
export const freePort = async (): Promise<number> => {
  const port = mine.shift()
  if (port !== undefined) return (await isFree(port)) ? port : freePort()
  const first = FIRST + BLOCK * randomInt(BLOCKS)
  const held = await listenOn(first)
  if (held !== null) {
    // Until the process ends.
    held.unref()
    mine = [...mine, ...Array.from({ length: BLOCK - 1 }, (_, i) => first + 1 + i)]
  }
  return freePort()
}
