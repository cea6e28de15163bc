import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Ports below those that the system gives to outgoing connections, in blocks. */
const FIRST = 10_000
const BLOCKS = 200
const BLOCK = 100

/** The ports of this process's block that have not been given away yet. */
let mine: number[] = []

/** Listens on a port for as long as the process lives; resolves with `false` when somebody else does. */
const hold = async (port: number): Promise<boolean> => {
  const server = createServer().listen(port, '127.0.0.1').unref()
  return Promise.race([once(server, 'listening').then(() => true), once(server, 'error').then(() => false)])
}

const isFree = async (port: number): Promise<boolean> => {
  const server = createServer().listen(port, '127.0.0.1')
  const free = await Promise.race([once(server, 'listening').then(() => true), once(server, 'error').then(() => false)])
  if (!free) return false
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
  if (await hold(first)) mine = [...mine, ...Array.from({ length: BLOCK - 1 }, (_, i) => first + 1 + i)]
  return freePort()
}
