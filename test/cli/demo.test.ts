import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { builtProgram, startProgram } from '../support/program.ts'

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

void t.test('demo --mcp runs an MCP server, and a client that logs in, calls tools and steps up', async (t) => {
  const port = await portWithNeighbor()
  const program = startProgram(t, ['demo', '--mcp', '--port', String(port)])
  const url = `http://localhost:${port}/mcp`
  const browser = createBrowser()

  await program.line(/POST .*\/mcp → 401/)
  const login = await program.line(/^http:.*scope=orders\.read\+offline_access/)
  t.match((await browser.login(login, 'bob')).answer.body, 'You are signed in. Return to the terminal.')
  t.match(await program.line(/"user":/), '"user":"bob"')
  await program.line(/3 of 3: exported A-1003/)
  t.ok(await program.line(/POST .*\/mcp → 403/), 'a tool requires a further scope')
  const stepUp = await program.line(/^http:.*orders\.write/)
  t.match((await browser.get(stepUp)).status, 303, 'the browser is still signed in')
  await browser.login(stepUp, 'bob')
  await program.line(/bob canceled order A-1003/)
  await program.line(/the server reports a change of orders:\/\/all/)
  t.match(await program.line(/^Other MCP clients/), `can connect to ${url} until Ctrl-C stops the demo`)
  t.equal((await createBrowser().get(url, { kind: 'script' })).status, 401, 'the demo goes on')

  program.child.kill('SIGINT')
  const { status, signal, stderr } = await program.ended
  t.same([status, signal, stderr], [0, null, ''])
})

void t.test('demo --mcp says what it needs where the example is missing, as in the container image', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const root = dirname(dirname(builtProgram))
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const { status, stderr } = spawnSync(process.execPath, [join(folder, 'dist/main.js'), 'demo', '--mcp'], {
    encoding: 'utf8',
    env: {},
  })
  t.equal(status, 1)
  t.match(stderr, 'demo --mcp runs the programs in examples/mcp, which need a checkout of Gatehouse')
})
