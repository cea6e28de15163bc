import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, type ClientHttp2Session } from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startApplication } from '../../support/application.ts'
import { freePort } from '../../support/free-port.ts'
import { asFile } from '../../support/gateway.ts'
import { startProgram } from '../../support/program.ts'

const { url: upstream } = await startApplication(t, (_req, res) => res.end('hello'))
const port = await freePort()
const url = `http://127.0.0.1:${port}`
const file = asFile(t, {
  listen: `127.0.0.1:${port}`,
  listenH2c: true,
  publicUrl: url,
  upstream,
  admin: false,
  routes: [{ path: '/**', access: 'public' }],
  log: { level: 'warn' },
  provider: { issuer: 'http://127.0.0.1:1', clientId: 'x', clientSecret: 'x' },
  session: { keys: [Buffer.alloc(32).toString('base64')] },
})

const request = async (session: ClientHttp2Session): Promise<void> => {
  const stream = session.request({ ':path': '/' })
  stream.resume()
  await once(stream, 'close')
}

const open = async (): Promise<ClientHttp2Session> => {
  const session = connect(url)
  session.on('error', () => {})
  await request(session)
  return session
}

/** Returns how much the heap grows from one fast collection to the next, in bytes for each request. */
const growth = (log: string, requests: number): number => {
  let [before, grown] = [Number.NaN, 0]
  for (const [, kind, after] of log.matchAll(/ms: (Scavenge|Mark-Compact)\b[^\n]*? -> ([\d.]+) /g)) {
    if (kind === 'Scavenge' && Number(after) > before) grown += Number(after) - before
    before = Number(after)
  }
  if (Number.isNaN(before)) throw new Error('the program has not collected any garbage')
  return (grown * 1_000_000) / requests
}

void t.test('fast collections remove the requests that have ended', async (t) => {
  const program = startProgram(t, ['start', '--config', file], {}, ['--trace-gc'])
  await program.line(/"event":"listening"/)
  const session = await open()
  const total = 10_000
  let left = total
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await request(session)
    }
  }
  await Promise.all(Array.from({ length: 32 }, work))
  session.destroy()
  program.child.kill('SIGTERM')
  const { stdout } = await program.ended
  const bytes = growth(stdout, total)
  // About 2,500; 7,500 if closed streams keep their requests, or a Set holds the open ones.
  t.ok(bytes < 5_000, `${Math.round(bytes)} bytes of each request survive`)
})

void t.test('1,000 idle connections take less than 60 kB each', async (t) => {
  const program = startProgram(t, ['start', '--config', file])
  await program.line(/"event":"listening"/)
  const resident = (): number => Number(execFileSync('ps', ['-o', 'rss=', '-p', String(program.child.pid)]).toString())
  for (let i = 0; i < 50; i += 1) (await open()).destroy()
  await sleep(500)
  const before = resident()
  const sessions: ClientHttp2Session[] = []
  while (sessions.length < 1_000) sessions.push(...(await Promise.all(Array.from({ length: 20 }, open))))
  const each = (resident() - before) / sessions.length
  for (const session of sessions) session.destroy()
  t.ok(each < 60, `${each.toFixed(1)} kB each`)
})
