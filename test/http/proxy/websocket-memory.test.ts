import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { createBrowser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { asFile } from '../../support/gateway.ts'
import { startProgram } from '../../support/program.ts'
import { openWebSocket, type WebSocketEnd } from '../../support/websocket.ts'

const megabyte = 1024 * 1024
const atOnce = 50

/**
 * A gateway as a process of its own with a user logged in: where it is, their cookie, and the memory that is its alone,
 * bytes.
 */
const startProcess = async (
  t: Test,
): Promise<{ url: string; cookie: string; memory: () => number; stop: () => void }> => {
  const [idp, upstream, port] = [await startIdp(), await startUpstream(), await freePort()]
  t.teardown(async () => {
    await idp.close()
    await upstream.close()
  })
  const url = `http://127.0.0.1:${port}`
  const client = { clientId: 'sockets', clientSecret: randomBytes(16).toString('hex') }
  await idp.registerClient({ ...client, redirectUris: [`${url}/oauth2/callback`] })
  const config = asFile(t, {
    listen: `127.0.0.1:${port}`,
    publicUrl: url,
    upstream: upstream.url,
    admin: false,
    log: { level: 'info' },
    provider: { issuer: idp.issuer, ...client },
    session: { keys: [randomBytes(32).toString('base64')] },
  })
  // As it is run, not as its source: what compiles that takes as much memory again.
  const { child, line } = startProgram(t, ['start', '--config', config])
  await line(/"listening"/)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  return {
    url,
    cookie: `Cookie: ${browser.cookies.header(new URL(url))}`,
    memory: () =>
      Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid ?? ''}/status`, 'utf8'))?.[1]) * 1024,
    stop: () => {
      child.kill('SIGTERM')
    },
  }
}

void t.test('2,000 WebSockets are open in under 150 MB, all of them speak, and all are drained', async (t) => {
  const { url, cookie, memory, stop } = await startProcess(t)
  const before = memory()
  const sockets: WebSocketEnd[] = []
  while (sockets.length < 2000) {
    sockets.push(
      ...(await Promise.all(Array.from({ length: atOnce }, () => openWebSocket(`${url}/ws`, { headers: [cookie] })))),
    )
  }
  t.same([...new Set(sockets.map(({ status }) => status))], [101])
  for (const socket of sockets) socket.send('hello')
  await Promise.all(sockets.map((socket) => socket.next(20_000)))
  const after = memory()
  t.comment(`${(before / megabyte).toFixed(0)} MB before, ${(after / megabyte).toFixed(0)} MB with 2,000 open`)
  t.ok(after < 150 * megabyte, `${(after / megabyte).toFixed(0)} MB`)
  t.ok(after - before < 100 * megabyte, `${((after - before) / 2000 / 1024).toFixed(0)} kB each`)
  stop()
  t.same([...new Set(await Promise.all(sockets.map(({ closed }) => closed)))], [1001])
})
