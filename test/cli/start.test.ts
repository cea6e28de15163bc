import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream, type Upstream } from '../../src/demo/upstream.ts'
import { VERSION } from '../../src/version.ts'
import { createBrowser } from '../support/browser.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { asFile } from '../support/gateway.ts'
import { runProgram, startProgram, type Program } from '../support/program.ts'

const idp = await startIdp()
const upstream: Upstream = await startUpstream()
t.teardown(async () => {
  await Promise.all([idp.close(), upstream.close()])
})

const secret = 'a-secret-that-nobody-prints'
const key = Buffer.alloc(32, 9).toString('base64')

/** The least that a gateway on this port needs, as environment variables. */
const environment = (port: number): Record<string, string> => ({
  GATEHOUSE_LISTEN: `127.0.0.1:${port}`,
  GATEHOUSE_PUBLIC_URL: `http://127.0.0.1:${port}`,
  GATEHOUSE_UPSTREAM: upstream.url,
  GATEHOUSE_PROVIDER_ISSUER: idp.issuer,
  GATEHOUSE_PROVIDER_CLIENT_ID: `client-${port}`,
  GATEHOUSE_PROVIDER_CLIENT_SECRET: secret,
  GATEHOUSE_SESSION_KEYS: key,
  GATEHOUSE_ADMIN: 'false',
})

const readLine = (line: string): Record<string, unknown> => JSON.parse(line)

const listening = async (program: Program): Promise<Record<string, unknown>> =>
  readLine(await program.line(/"event":"listening"/))

/** Asks over a Unix socket or a port. */
const ask = async (
  where: { socketPath: string } | { host: string; port: number },
  path: string,
): Promise<{ status: number | undefined; body: string }> => {
  const request = get({ ...where, path, headers: { accept: 'text/html' }, agent: false })
  const [answer]: IncomingMessage[] = await once(request, 'response')
  return { status: answer?.statusCode, body: answer === undefined ? '' : await text(answer) }
}

/** A socket's path may have 107 bytes. */
const shortPath = (t: Test): string => {
  const folder = mkdtempSync(join(tmpdir(), 'gh-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  return join(folder, 'gate.sock')
}

const stopped = async (t: Test, program: Program): Promise<void> => {
  program.child.kill('SIGTERM')
  const { status, signal } = await program.ended
  t.same([status, signal], [0, null])
}

void t.test(
  'the environment alone configures the gateway, which prints its address on stdout and lets a user log in',
  async (t) => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    await idp.registerClient({
      clientId: `client-${port}`,
      clientSecret: secret,
      redirectUris: [`${url}/oauth2/callback`],
    })
    const program = startProgram(t, [], environment(port))
    const line = await listening(program)
    t.match(line, {
      level: 'info',
      version: VERSION,
      address: url,
      publicUrl: [url],
      msg: `listening on ${url} for ${url}`,
    })
    const { answer } = await createBrowser().login(`${url}/api/echo`, 'alice')
    t.equal(answer.status, 200)
    t.match(answer.body, '"authorization":"Bearer ')
    await stopped(t, program)
    const { stdout, stderr } = await program.ended
    t.equal(stderr, '')
    const lines = stdout.trimEnd().split('\n').map(readLine)
    t.equal(lines.filter(({ event }) => event === 'listening').length, 1)
    t.same(
      lines.slice(-2).map(({ event }) => event),
      ['stopping', 'stopped'],
    )
    for (const hidden of [secret, key, ...idp.secretsIssued]) t.notOk(stdout.includes(hidden), 'no secret is logged')
  },
)

void t.test('the listening line appears at every log level, and names the real address', async (t) => {
  const file = asFile(t, {
    listen: '0.0.0.0:0',
    publicUrl: 'https://orders.example.com',
    upstream: upstream.url,
    admin: false,
    log: { level: 'silent' },
    provider: { issuer: idp.issuer, clientId: 'orders', clientSecret: secret },
    session: { keys: [key] },
  })
  const program = startProgram(t, ['start', '--config', file])
  const { address } = await listening(program)
  const port = Number(/^http:\/\/0\.0\.0\.0:(\d+)$/.exec(String(address))?.[1])
  t.ok(port > 0, String(address))
  t.equal((await ask({ host: '127.0.0.1', port }, '/orders')).status, 302)
  await stopped(t, program)
  t.equal((await program.ended).stdout.trimEnd().split('\n').length, 1)
})

void t.test('GATEHOUSE_CONFIG names the file', async (t) => {
  const port = await freePort()
  const { GATEHOUSE_LISTEN: listen, ...rest } = environment(port)
  const program = startProgram(t, [], { ...rest, GATEHOUSE_CONFIG: asFile(t, { listen }) })
  t.match(await listening(program), { address: `http://127.0.0.1:${port}` })
  await stopped(t, program)
})

void t.test('an occupied port is one line on stderr, with status 1', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { status, stderr } = await startProgram(t, [], environment(address.port)).ended
  t.equal(status, 1)
  t.match(stderr, /^gatehouse: listen: port \d+ is taken; .*EADDRINUSE.*127\.0\.0\.1:\d+\n$/)
})

void t.test('an occupied admin port ends the gateway, and leaves no listener open', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { status, stderr } = await startProgram(t, [], {
    ...environment(await freePort()),
    GATEHOUSE_ADMIN_LISTEN: `127.0.0.1:${address.port}`,
    GATEHOUSE_ADMIN: '',
  }).ended
  t.equal(status, 1)
  t.match(stderr, /^gatehouse: admin\.listen: port \d+ is taken; .*EADDRINUSE/)
})

void t.test('SIGTERM finishes the running response, refuses new connections and exits with status 0', async (t) => {
  const [port, adminPort] = [await freePort(), await freePort()]
  const program = startProgram(t, [], {
    ...environment(port),
    GATEHOUSE_ADMIN: '',
    GATEHOUSE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
    GATEHOUSE_ROUTES: '[{ path: /api/**, access: public }]',
    GATEHOUSE_SHUTDOWN_WAIT: '700ms',
  })
  await listening(program)
  const admin = { host: '127.0.0.1', port: adminPort }
  await eventually(async () => (await ask(admin, '/readyz')).status === 200)
  const before = upstream.requests.length
  const slow = ask({ host: '127.0.0.1', port }, '/api/slow?ms=2000')
  await eventually(() => upstream.requests.length > before)
  program.child.kill('SIGTERM')
  await program.line(/"event":"stopping"/)
  const { status, body } = await ask(admin, '/readyz')
  t.equal(status, 503, 'not ready at once, while it still serves')
  t.match(JSON.parse(body), { ready: false, checks: { draining: true } })
  t.equal(
    (await ask({ host: '127.0.0.1', port }, '/api/orders')).status,
    200,
    'requests during the shutdown wait are served',
  )
  t.same(await slow, { status: 200, body: 'waited 2000 ms\n' })
  const { status: left, signal } = await program.ended
  t.same([left, signal], [0, null])
  const refused = connect(port, '127.0.0.1')
  const [error]: NodeJS.ErrnoException[] = await once(refused, 'error')
  t.equal(error?.code, 'ECONNREFUSED')
})

void t.test('responses that outlast shutdown.drain are cut, and the gateway exits with status 0', async (t) => {
  const port = await freePort()
  const program = startProgram(t, [], {
    ...environment(port),
    GATEHOUSE_ROUTES: '[{ path: /api/**, access: public }]',
    GATEHOUSE_SHUTDOWN_DRAIN: '300ms',
  })
  await listening(program)
  const before = upstream.requests.length
  const slow = ask({ host: '127.0.0.1', port }, '/api/slow?ms=60000').then(
    () => 'answered',
    () => 'cut',
  )
  await eventually(() => upstream.requests.length > before)
  await stopped(t, program)
  t.equal(await slow, 'cut')
  await program.line(/"event":"drain_timeout"/)
})

void t.test('SIGINT ends a gateway with an idle keep-alive connection at once', async (t) => {
  const port = await freePort()
  const program = startProgram(t, [], environment(port))
  await listening(program)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /oauth2/session HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
  await once(socket, 'data')
  const asked = Date.now()
  program.child.kill('SIGINT')
  t.equal((await program.ended).status, 0)
  t.ok(Date.now() - asked < 5_000, 'without waiting for the connection to time out')
  socket.destroy()
})

void t.test('a gateway listens on a Unix socket, prints its path and removes it at the end', async (t) => {
  const socketPath = shortPath(t)
  const { GATEHOUSE_LISTEN: _port, ...rest } = environment(1)
  const program = startProgram(t, [], { ...rest, GATEHOUSE_LISTEN: `unix:${socketPath}` })
  t.match(await listening(program), { address: `unix:${socketPath}` })
  t.equal((await ask({ socketPath }, '/orders')).status, 302)

  const second = await startProgram(t, [], { ...rest, GATEHOUSE_LISTEN: `unix:${socketPath}` }).ended
  t.equal(second.status, 1, 'a second process does not replace the socket')
  t.match(second.stderr, /EADDRINUSE/)
  t.equal((await ask({ socketPath }, '/orders')).status, 302)

  await stopped(t, program)
  t.notOk(existsSync(socketPath))
})

void t.test('a Unix socket left behind by a killed process is replaced', async (t) => {
  const socketPath = shortPath(t)
  const settings = { ...environment(1), GATEHOUSE_LISTEN: `unix:${socketPath}` }
  const killed = startProgram(t, [], settings)
  await listening(killed)
  killed.child.kill('SIGKILL')
  await killed.ended
  t.ok(existsSync(socketPath))
  const program = startProgram(t, [], settings)
  await listening(program)
  t.equal((await ask({ socketPath }, '/orders')).status, 302)
  await stopped(t, program)
})

void t.test(
  'health exits with 0 while the gateway of the same configuration lives, or with --ready is ready, and 1 otherwise',
  async (t) => {
    const [port, adminPort] = [await freePort(), await freePort()]
    // Its provider is away: it lives, and is not ready.
    const settings = {
      ...environment(port),
      GATEHOUSE_ADMIN: '',
      GATEHOUSE_ADMIN_LISTEN: `0.0.0.0:${adminPort}`,
      GATEHOUSE_PROVIDER_ISSUER: 'http://127.0.0.1:1',
    }
    const program = startProgram(t, [], settings)
    await listening(program)
    t.equal((await runProgram(t, ['health'], settings)).status, 0)
    const unready = await runProgram(t, ['health', '--ready'], settings)
    t.equal(unready.status, 1)
    t.equal(unready.stderr, `gatehouse: /readyz at 127.0.0.1:${adminPort} answers 503\n`)
    await stopped(t, program)
    const gone = await runProgram(t, ['health'], settings)
    t.equal(gone.status, 1)
    t.match(gone.stderr, /^gatehouse: .*ECONNREFUSED.*\n$/)
  },
)
