import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startProgram } from '../support/program.ts'

/** Two free ports next to each other. */
const portWithNeighbor = async (): Promise<number> => {
  for (;;) {
    const port = await freePort()
    const next = createServer().listen(port + 1, '127.0.0.1')
    const free = await once(next, 'listening').then(
      () => true,
      () => false,
    )
    next.close()
    if (free) return port
  }
}

void t.test('the demo prints its URL, a user logs in there with one click, and Ctrl-C ends the demo', async (t) => {
  const port = await portWithNeighbor()
  const program = startProgram(t, ['demo', '--port', String(port)])
  const line = await program.line(/./)
  t.match(line, `Open http://localhost:${port} and sign in as alice, bob, carol or zoe`)
  const url = /http:\/\/\S+/.exec(line)?.[0] ?? ''
  const browser = createBrowser()

  t.equal((await browser.get(`${url}/public/`)).status, 200)
  const { answer } = await browser.login(`${url}/`, 'zoe')
  t.equal(answer.url, `${url}/`)
  t.match(answer.body, 'Signed in as Zoë')
  t.match(answer.body, 'Authorization')
  t.match((await browser.get(`${url}/api/orders`, { kind: 'script' })).body, '"user":"Zoë"')

  t.equal((await browser.get(`${url}/admin/`)).status, 403, 'zoe is no administrator')
  const admin = createBrowser()
  t.equal((await admin.login(`${url}/admin/`, 'alice')).answer.status, 200, 'alice is')

  program.child.kill('SIGINT')
  const { status, signal, stdout, stderr } = await program.ended
  t.same([status, signal, stderr], [0, null, ''])
  t.equal(stdout, `${line}\n`, 'that one line was all')
})

void t.test('an occupied port of the demo or of the provider is reported, and no process stays behind', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  for (const port of [address.port, address.port - 1]) {
    const { status, stdout, stderr } = await startProgram(t, ['demo', '--port', String(port)]).ended
    t.same([status, stdout], [1, ''])
    t.match(stderr, `gatehouse: port ${port} or ${port + 1} is taken; choose another one with --port N\n`)
  }
})
