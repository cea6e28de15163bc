import { setTimeout as sleep } from 'node:timers/promises'
import { freemem } from 'node:os'
import { createClient } from '@keyv/redis'
import type { ContestantName } from './contestants.ts'
import { findProgram } from './machine.ts'
import { freePorts } from './ports.ts'
import { type Running, start } from './processes.ts'
import { storeSessions } from './stored-sessions.ts'

const PATIENCE_MS = 10_000
const MILLION = 1_000_000
/** What a million sessions take, with something to spare. */
const MEMORY_OF_A_MILLION = 8e9

type Place = { directory: string; core: number; progress: (what: string) => void }

/** A Redis of the benchmark's own, which writes nothing to the disk. */
export type RedisServer = { running: Running; port: number; command: (...words: string[]) => Promise<unknown> }

/** Starts `redis-server` and waits until it answers. */
export async function startRedis(name: string, place: Pick<Place, 'directory' | 'core'>): Promise<RedisServer> {
  const { directory, core } = place
  const [port = 0] = await freePorts(1)
  const program = findProgram('redis-server', 'redis-server')
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', directory]
  const running = start({ name, core, program, args, errorFile: `${directory}/${name}.log` })
  const command = async (...words: string[]): Promise<unknown> => {
    const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: false } }).on('error', () => {})
    await client.connect()
    try {
      return await client.sendCommand(words)
    } finally {
      client.destroy()
    }
  }
  for (const since = performance.now(); ;) {
    try {
      await command('PING')
      return { running, port, command }
    } catch (error) {
      if (performance.now() - since > PATIENCE_MS) throw new Error(`${name} does not answer`, { cause: error })
      await sleep(20)
    }
  }
}

/** Starts a Redis for each contestant that wants one, filled where that is the point; resolves with their URLs. */
export async function startStores(
  names: readonly ContestantName[],
  place: Place,
): Promise<Map<ContestantName, string>> {
  const urls = new Map<ContestantName, string>()
  for (const name of names.filter((one) => one.startsWith('gatehouse-'))) {
    if (name === 'gatehouse-million' && freemem() < MEMORY_OF_A_MILLION) {
      throw new Error('gatehouse-million wants 8 GB of free memory: leave it out with --only')
    }
    const { port } = await startRedis(`redis-of-${name}`, place)
    urls.set(name, `redis://127.0.0.1:${port}`)
    if (name === 'gatehouse-million') {
      place.progress('a million sessions go to Redis')
      await storeSessions(port, MILLION)
    }
  }
  return urls
}
