import { setTimeout as sleep } from 'node:timers/promises'
import { freemem } from 'node:os'
import { createClient } from '@keyv/redis'
import type { ContestantName } from './contestants.ts'
import { findProgram } from './machine.ts'
import { freePorts } from './ports.ts'
import { type Running, start } from './processes.ts'
import { storeSessions } from './stored-sessions.ts'

const START_TIMEOUT_MS = 10_000
const MILLION = 1_000_000
/** The memory that a million sessions need, with a margin. */
const MILLION_SESSIONS_BYTES = 8e9

interface StoreSetup {
  readonly directory: string
  readonly core: number
  readonly progress: (step: string) => void
}

export interface RedisServer {
  readonly running: Running
  readonly port: number
  readonly command: (...words: string[]) => Promise<unknown>
}

export async function startRedis(name: string, setup: Pick<StoreSetup, 'directory' | 'core'>): Promise<RedisServer> {
  const { directory, core } = setup
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
      if (performance.now() - since > START_TIMEOUT_MS) throw new Error(`${name} does not answer`, { cause: error })
      await sleep(20)
    }
  }
}

/** Starts a Redis for each contestant that needs one, and fills that of `gatehouse-million`. Returns their URLs. */
export async function startStores(
  names: readonly ContestantName[],
  setup: StoreSetup,
): Promise<Map<ContestantName, string>> {
  const urls = new Map<ContestantName, string>()
  for (const name of names.filter((candidate) => candidate.startsWith('gatehouse-'))) {
    if (name === 'gatehouse-million' && freemem() < MILLION_SESSIONS_BYTES) {
      throw new Error('gatehouse-million needs 8 GB of free memory: exclude it with --only')
    }
    const { port } = await startRedis(`redis-of-${name}`, setup)
    urls.set(name, `redis://127.0.0.1:${port}`)
    if (name === 'gatehouse-million') {
      setup.progress('storing a million sessions in Redis')
      await storeSessions(port, MILLION)
    }
  }
  return urls
}
