import { createSecretKey, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openSessions } from '../src/session/sessions.ts'
import type { Ticket } from '../src/session/ticket.ts'
import { connectTo } from '../src/store/redis/connections.ts'
import { recordKey } from '../src/store/redis/scripts.ts'
import { RedisStore } from '../src/store/redis/store.ts'
import { openLog } from '../src/telemetry/log.ts'
import { createMetrics } from '../src/telemetry/metrics.ts'
import { describeMachine, pickCores } from './machine.ts'
import { startRedis } from './stores.ts'
import { storeSessions, TYPICAL, type TokenSizes } from './stored-sessions.ts'

/** The capacity of the session cache. */
const SESSIONS = 20_000
const LIFETIME_MS = 36_000_000

const SIZES: readonly { readonly title: string; readonly sizes: TokenSizes }[] = [
  { title: 'small tokens (access 700, ID 700, refresh 40)', sizes: { access: 700, id: 700, refresh: 40 } },
  { title: 'typical tokens (1,300, 1,100, 700)', sizes: TYPICAL },
  { title: 'large tokens (4,000, 2,000, 1,500)', sizes: { access: 4_000, id: 2_000, refresh: 1_500 } },
]

export async function describeMemory(directory: string): Promise<string> {
  const rows = [
    ['Bytes per session', 'in Redis', 'of which its two index entries', 'cached in a process'],
    ['---', '--:', '--:', '--:'],
  ]
  for (const { title, sizes } of SIZES) {
    const bytes = await measure(directory, sizes)
    rows.push([title, ...bytes.map((count) => Math.round(count).toLocaleString('en'))])
  }
  const date = new Date().toISOString().slice(0, 10)
  const circumstances = `${describeMachine(process.execPath)}; ${date}; ${SESSIONS.toLocaleString('en')} sessions.`
  return [circumstances, '', ...rows.map((cells) => `| ${cells.join(' | ')} |`), ''].join('\n')
}

/** Returns the bytes per session in Redis, those of its index entries, and those in the session cache. */
async function measure(directory: string, sizes: TokenSizes): Promise<number[]> {
  const { port, command, running } = await startRedis('redis', { directory, core: pickCores().load })
  const used = async (): Promise<number> => {
    const [, bytes] = /^used_memory:(\d+)/m.exec(String(await command('INFO', 'memory'))) ?? []
    return Number(bytes)
  }
  const empty = await used()
  const tickets: Ticket[] = []
  await storeSessions(port, SESSIONS, sizes, ({ ticket }) => {
    tickets.push(ticket)
  })
  const full = await used()
  const cached = await heapOf(port, tickets)
  for (let i = 0; i < SESSIONS; i += 1_000) {
    await command('DEL', ...tickets.slice(i, i + 1_000).map(({ id }) => recordKey(id)))
  }
  const withoutRecords = await used()
  await running.stop()
  return [full - empty, withoutRecords - empty, cached].map((bytes) => bytes / SESSIONS)
}

/** Returns the growth of the heap in bytes when these sessions are loaded into the session cache. */
async function heapOf(port: number, tickets: readonly Ticket[]): Promise<number> {
  const { log } = openLog('silent')
  const metrics = createMetrics()
  const noFiles = { caFile: null, certFile: null, keyFile: null, username: null, password: null }
  const connect = connectTo({ kind: 'redis', url: `redis://127.0.0.1:${port}` }, noFiles)
  const indexKeys = [createSecretKey(randomBytes(32))]
  const store = new RedisStore({ connect, indexKeys: () => indexKeys, lifetime: () => LIFETIME_MS, log })
  const clock = { lifetime: LIFETIME_MS, idleTimeout: null, endWithIdToken: false }
  const sessions = openSessions({ store, log, metrics, settings: { ...clock, outageGrace: 60_000, maxPerUser: null } })
  while (
    !(await store.ping().then(
      () => true,
      () => false,
    ))
  )
    await sleep(20)
  const before = heap()
  for (const ticket of tickets) {
    if ((await sessions.load(ticket, Date.now())) === null) throw new Error('a stored session could not be loaded')
  }
  const after = heap()
  await store.close()
  return after - before
}

function heap(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') for (let i = 0; i < 3; i++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
