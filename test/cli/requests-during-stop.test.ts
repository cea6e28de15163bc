import { spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { startRedis } from '../support/redis.ts'
import { serveFile } from '../support/served-file.ts'
import { eventually } from '../support/eventually.ts'

const idp = await startIdp()
const upstream = await startUpstream()
const redis = await startRedis(t)
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

/** The outcome of a request on a new connection: its status, or the system's error. */
const ask = async (url: string): Promise<string> => {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    let text = ''
    let connected = false
    const socket = connect({ host: hostname, port: Number(port) })
    socket.on('connect', () => {
      connected = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      resolve(connected ? `lost: ${error.code ?? ''}` : (error.code ?? ''))
    })
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.on('end', () => {
      resolve(text === '' ? 'lost: closed' : text.slice(9, 12))
      socket.destroy()
    })
    socket.write('GET /api/orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  })
}

type Counts = Record<string, number>

/** What came of requests that were sent right before the gateway was asked to stop, and of those that came later. */
const stopUnderLoad = async (t: Test, settings: object): Promise<{ before: Counts; later: Counts }> => {
  const gateway = await serveFile(
    t,
    { idp, upstream },
    { routes: [{ path: '/**', access: 'public' }], shutdown: { wait: '0s' }, ...settings },
  )
  const [before, later]: [Counts, Counts] = [{}, {}]
  const asked: Promise<void>[] = []
  const askInto = async (counts: Counts): Promise<void> => {
    const what = await ask(gateway.url)
    counts[what] = (counts[what] ?? 0) + 1
  }
  for (let i = 0; i < 100; i += 1) asked.push(askInto(before))
  await sleep(1)
  const stopped = gateway.stop()
  for (let i = 0; i < 200; i += 1) {
    asked.push(askInto(later))
    await sleep(2)
  }
  await Promise.all(asked)
  t.equal((await stopped).status, 0)
  return { before, later }
}

for (const workers of [1, 2]) {
  void t.test(
    `requests sent before the stop signal are served, and later ones are served or refused, workers: ${workers}`,
    async (t) => {
      const session = { keys: [Buffer.alloc(32, 5).toString('base64')], store: redis.url }
      let lost = 0
      for (let turn = 0; turn < 4; turn += 1) {
        const { before, later } = await stopUnderLoad(t, { workers, session })
        t.same(before, { 200: 100 })
        const { 200: served = 0, ECONNREFUSED: refused = 0, ...others } = later
        t.comment(`later: ${served} served, ${refused} refused`)
        for (const count of Object.values(others)) lost += count
      }
      // A connection can be made in the very moment in which a listener closes.
      t.ok(lost < 8, `${lost} of 800 that came later are lost`)
    },
  )
}

void t.test('new connections are refused before the workers receive the signal to stop', async (t) => {
  const gateway = await serveFile(
    t,
    { idp, upstream },
    {
      workers: 2,
      routes: [{ path: '/**', access: 'public' }],
      session: { keys: [Buffer.alloc(32, 5).toString('base64')], store: redis.url },
    },
  )
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(gateway.pid)], { encoding: 'utf8' })
  const workers = stdout.trim().split('\n').map(Number)
  t.equal(workers.length, 2)
  // The workers do not receive the stop message.
  for (const pid of workers) process.kill(pid, 'SIGSTOP')
  const stopped = gateway.stop()
  await eventually(async () => !(await connects(gateway.url)), { what: 'connections are refused' })
  for (const pid of workers) process.kill(pid, 'SIGCONT')
  t.equal((await stopped).status, 0)
})

const connects = async (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.once('connect', () => {
      resolve(true)
      socket.destroy()
    })
    socket.once('error', () => {
      resolve(false)
    })
  })
