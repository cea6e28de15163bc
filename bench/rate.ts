/**
 * A load generator, run as a separate process. It sends GET requests at a constant rate, even if responses are late, and
 * prints one line of JSON. Latencies are measured from the time when a request was due, so a slow response also delays the
 * requests that wait behind it. The first requests are not measured, because V8 then compiles this program.
 * Environment: RATE_URL, RATE_COOKIE, RATE_PER_SECOND, RATE_WARM_UP_SECONDS, RATE_SECONDS, RATE_CONNECTIONS.
 */
import { EventEmitter, once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { percentile } from './statistics.ts'

/** The schedule of the requests: the first at `start` of the monotonic clock, then one every `interval`, both in µs. */
interface RateSchedule {
  readonly start: number
  readonly interval: number
  readonly count: number
}

/** The result of a run, in µs. `lateness` is the p99 of the generator's own delay, which the latencies include. */
export interface RateResult {
  readonly requests: number
  readonly errors: number
  readonly p50: number
  readonly p99: number
  readonly lateness: number
}

interface Connection {
  socket: net.Socket
  request: number
  received: Buffer | null
  broken: boolean
}

const HEAD_START_US = 300_000
const DRAIN_MS = 2000

async function run(): Promise<RateResult> {
  const url = new URL(setting('RATE_URL'))
  const perSecond = Number(setting('RATE_PER_SECOND'))
  const warmUp = perSecond * Number(setting('RATE_WARM_UP_SECONDS'))
  const count = warmUp + perSecond * Number(setting('RATE_SECONDS'))
  const cookie = process.env['RATE_COOKIE']
  const request = Buffer.from(
    `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\n${cookie ? `Cookie: ${cookie}\r\n` : ''}\r\n`,
    'latin1',
  )

  // Indexed by request. A request without a response keeps NaN, which sorts last.
  const latencies = new Float64Array(count).fill(Number.NaN)
  const lateness = new Float64Array(count)
  let answered = 0
  let errors = 0
  const finished = new EventEmitter()
  const idle: Connection[] = []
  const waiting: number[] = []

  const interval = 1_000_000 / perSecond
  let start = 0
  const send = (connection: Connection, index: number): void => {
    connection.request = index
    connection.socket.write(request)
  }
  const finish = (connection: Connection, ok: boolean): void => {
    latencies[connection.request] = monotonicMicroseconds() - (start + connection.request * interval)
    answered++
    if (!ok) errors++
    if (answered === count) finished.emit('finished')
    const next = waiting.shift()
    if (next === undefined) idle.push(connection)
    else send(connection, next)
  }
  const receive = (connection: Connection, chunk: Buffer): void => {
    const bytes = connection.received ? Buffer.concat([connection.received, chunk]) : chunk
    const answer = readAnswer(bytes)
    connection.received = answer.complete ? null : bytes
    if (answer.complete) finish(connection, answer.ok)
  }
  const markBroken = (connection: Connection): void => {
    if (connection.broken) return
    connection.broken = true
    const at = idle.indexOf(connection)
    if (at >= 0) idle.splice(at, 1)
  }

  const connections: Connection[] = []
  for (let index = 0; index < Number(setting('RATE_CONNECTIONS')); index++) {
    const socket = net.connect({ host: url.hostname, port: Number(url.port), noDelay: true })
    await once(socket, 'connect')
    const connection: Connection = { socket, request: 0, received: null, broken: false }
    socket.on('data', (chunk) => receive(connection, chunk))
    socket.on('error', () => markBroken(connection))
    socket.on('close', () => markBroken(connection))
    connections.push(connection)
    idle.push(connection)
  }

  start = monotonicMicroseconds() + HEAD_START_US
  const schedule: RateSchedule = { start, interval, count }
  const clock = new Worker(new URL('./rate-clock.js', import.meta.url), { workerData: schedule })
  clock.on('message', (index: number) => {
    lateness[index] = monotonicMicroseconds() - (start + index * interval)
    const connection = idle.shift()
    if (connection) send(connection, index)
    else waiting.push(index)
  })
  await once(clock, 'exit')
  if (answered < count) await Promise.race([once(finished, 'finished'), sleep(DRAIN_MS)])
  for (const { socket } of connections) socket.destroy()

  const measured = latencies.subarray(warmUp).toSorted()
  return {
    requests: answered,
    errors: errors + count - answered,
    p50: percentile(measured, 0.5),
    p99: percentile(measured, 0.99),
    lateness: percentile(lateness.subarray(warmUp).toSorted(), 0.99),
  }
}

function readAnswer(bytes: Buffer): { complete: boolean; ok: boolean } {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return { complete: false, ok: false }
  const head = bytes.toString('latin1', 0, headEnd)
  const ok = head.startsWith('200', 9)
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
  if (length !== undefined) return { complete: bytes.length >= headEnd + 4 + Number(length), ok }
  return { complete: bytes.subarray(-5).equals(LAST_CHUNK), ok }
}

const LAST_CHUNK = Buffer.from('0\r\n\r\n')

/** Returns the monotonic clock, which all threads share, in µs. A number holds it to the nanosecond for 100 days of uptime. */
function monotonicMicroseconds(): number {
  return Number(process.hrtime.bigint()) / 1000
}

function setting(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: bench/load.ts starts this program and sets it`)
  return value
}

process.stdout.write(`${JSON.stringify(await run())}\n`, () => process.exit(0))
