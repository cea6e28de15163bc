import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { freePort } from '../support/free-port.ts'
import { asFile } from '../support/gateway.ts'
import { cookieOf, statusAt } from '../support/gateway-process.ts'
import { open, parseAnswers } from '../support/raw-http.ts'
import { startProgram } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { nextEvent, serveFile } from '../support/served-file.ts'
import { eventually } from '../support/eventually.ts'
import { openWebSocket } from '../support/websocket.ts'

const idp = await startIdp({ lifetimes: { accessToken: 3 } })
const upstream = await startUpstream()
const redis = await startRedis(t)
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const session = { keys: [Buffer.alloc(32, 5).toString('base64')], store: redis.url }

for (const workers of [1, 2]) {
  void t.test(
    `SIGTERM with ${workers === 1 ? 'one process' : 'workers'}: WebSockets are closed, event streams end, a ` +
      'refresh is saved, and the status is 0',
    async (t) => {
      const gateway = await serveFile(t, { idp, upstream }, { workers, session })
      const { url } = gateway
      const browser = await gateway.login()
      const cookie = cookieOf(browser, gateway)
      const socket = await openWebSocket(`${url}/ws`, { headers: [`Cookie: ${cookie}`, `Origin: ${url}`] })
      const stream = await fetch(`${url}/api/stream`, { headers: { cookie, accept: 'text/event-stream' } })
      const events = stream.text()
      await sleep(3_100)
      const before = idp.grants['refresh_token'] ?? 0
      idp.fail('token', { delay: 1_500, times: 1 })
      // The request that causes the refresh does not wait for it.
      await statusAt(browser, gateway).catch(() => 0)
      const waiting = statusAt(browser, gateway)
      await sleep(200)
      const stopped = gateway.stop()
      t.equal(await socket.closed, 1001)
      t.match(await events, /data: /, 'the stream came to a proper end')
      t.equal(await waiting, 200, 'the request that waits for the token is answered')
      t.equal((await stopped).status, 0)
      const other = await serveFile(t, { idp, upstream, port: Number(new URL(url).port) }, { session })
      t.equal(await statusAt(browser, other), 200, 'the next process goes on with the session')
      t.ok((idp.grants['refresh_token'] ?? 0) > before)
      t.equal(idp.refusedGrants['refresh_token'] ?? 0, 0, 'no refresh token was lost or used twice')
      await other.stop()
    },
  )
}

void t.test(
  'while the gateway stops, each response is the last on its connection, and idle connections are still served once',
  async (t) => {
    const gateway = await serveFile(t, { idp, upstream }, { routes: [{ path: '/**', access: 'public' }] })
    const agents = Array.from({ length: 3 }, () => new Agent({ keepAlive: true, maxSockets: 1 }))
    t.teardown(() => {
      for (const agent of agents) agent.destroy()
    })
    const ask = async (
      agent: Agent | undefined,
      path: string,
    ): Promise<{ status: number | undefined; connection: string | undefined }> => {
      const [answer]: IncomingMessage[] = await once(get(`${gateway.url}${path}`, { agent }), 'response')
      if (answer === undefined) throw new Error('no answer')
      await text(answer)
      return { status: answer.statusCode, connection: answer.headers.connection }
    }
    for (const agent of agents) t.same(await ask(agent, '/api/orders'), { status: 200, connection: 'keep-alive' })
    const underWay = ask(agents[0], '/api/slow?ms=1000')
    await eventually(() => upstream.requests.some(({ url }) => url === '/api/slow?ms=1000'), {
      what: 'the slow request is in progress',
    })
    const stopped = gateway.stop()
    await nextEvent(gateway, 'stopping', 0)
    t.same(await ask(agents[1], '/api/orders'), { status: 200, connection: 'close' }, 'an idle connection')
    t.same(await underWay, { status: 200, connection: 'close' })
    const { status, after } = await stopped
    t.equal(status, 0)
    t.ok(after < 10_000, 'the third connection, which says nothing, is not waited for')
  },
)

const publicRoutes = [{ path: '/**', access: 'public' }]

const readAll = (socket: Socket): (() => Buffer) => {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  return () => Buffer.concat(chunks)
}

for (const [what, drain, leave] of [
  ['that their clients leave', '20s', true],
  ['that are cut', '1s', false],
] as const) {
  void t.test(`requests ${what} while the gateway stops have their access lines`, async (t) => {
    const port = await freePort()
    // Without an admin listener the process waits for nothing more.
    const file = asFile(t, {
      listen: `127.0.0.1:${port}`,
      publicUrl: `http://127.0.0.1:${port}`,
      admin: false,
      upstream: upstream.url,
      provider: { issuer: idp.issuer, clientId: 'orders', clientSecret: 'hush' },
      session: { keys: session.keys },
      routes: publicRoutes,
      shutdown: { drain },
    })
    const { child, line, ended } = startProgram(t, ['start', '--config', file])
    await line(/"event":"listening"/)
    const path = `/api/slow?ms=10000&drain=${drain}`
    const sockets = Array.from({ length: 3 }, () => open(`http://127.0.0.1:${port}`))
    for (const socket of sockets) socket.resume().write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await eventually(() => upstream.requests.filter(({ url }) => url === path).length === 3, {
      what: 'the requests are in progress',
    })
    child.kill('SIGTERM')
    await line(/"event":"stopping"/)
    await sleep(200)
    if (leave) for (const socket of sockets) socket.destroy()
    const { status, stdout } = await ended
    t.equal(status, 0)
    const lines = stdout.split('\n').filter((text) => text.includes('"event":"request"'))
    t.equal(lines.length, 3)
    for (const text of lines) t.match(text, /"status":499,.*"aborted":true/)
  })
}

void t.test(
  'while the gateway stops, only the last of several pipelined responses closes the connection',
  async (t) => {
    const gateway = await serveFile(t, { idp, upstream }, { routes: publicRoutes, shutdown: { drain: '20s' } })
    const requests = (name: string): string =>
      `GET /api/slow?ms=1000&${name} HTTP/1.1\r\nHost: a\r\n\r\n` +
      `POST /api/slow?ms=1500&${name} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx` +
      `GET /api/slow?ms=1500&${name} HTTP/1.1\r\nHost: a\r\n\r\n`
    const areUnderWay = async (name: string): Promise<void> =>
      eventually(() => upstream.requests.filter(({ url }) => url.endsWith(`&${name}`)).length === 3, {
        what: `${name} are in progress`,
      })
    const [before, later] = [open(gateway.url), open(gateway.url)]
    const [ofBefore, ofLater] = [readAll(before), readAll(later)]
    before.write(requests('before'))
    await areUnderWay('before')
    const stopped = gateway.stop()
    await nextEvent(gateway, 'stopping', 0)
    later.write(requests('later'))
    await areUnderWay('later')
    t.equal((await stopped).status, 0)
    for (const bytes of [ofBefore(), ofLater()])
      t.same(
        parseAnswers(bytes).map(({ status, headers }) => [status, headers.get('connection')]),
        [
          [200, ['keep-alive']],
          [200, ['keep-alive']],
          [200, ['close']],
        ],
      )
    t.equal(gateway.events('request').length, 6)
  },
)

void t.test('a connection without any request does not delay the stop', async (t) => {
  const gateway = await serveFile(t, { idp, upstream })
  const silent = connect(Number(new URL(gateway.url).port), '127.0.0.1').on('error', () => {})
  await once(silent, 'connect')
  const { status, after } = await gateway.stop()
  t.equal(status, 0)
  t.ok(after < 10_000, `${after} ms`)
  silent.destroy()
})

void t.test('a provider that accepts the connection and stays silent does not delay the stop', async (t) => {
  const silent = createServer((socket) => socket.on('error', () => {}).resume())
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => silent.close())
  const address = silent.address()
  const asked = once(silent, 'connection')
  const { child, line, ended } = startProgram(t, ['start'], {
    GATEHOUSE_LISTEN: '127.0.0.1:0',
    GATEHOUSE_ADMIN: 'false',
    GATEHOUSE_PUBLIC_URL: 'http://localhost',
    GATEHOUSE_UPSTREAM: upstream.url,
    GATEHOUSE_PROVIDER_ISSUER: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    GATEHOUSE_PROVIDER_CLIENT_ID: 'orders',
    GATEHOUSE_PROVIDER_CLIENT_SECRET: 'hush',
    GATEHOUSE_PROVIDER_TIMEOUT: '60s',
  })
  await line(/"event":"listening"/)
  await asked
  child.kill('SIGTERM')
  const { status, stdout } = await ended
  t.equal(status, 0)
  t.notMatch(stdout, /provider_unavailable/, 'that is not the provider’s fault')
})

void t.test('the process exits despite open handles, and logs them', async (t) => {
  const { child, line, ended } = startProgram(t, ['start'], {
    NODE_OPTIONS: '--import=data:text/javascript,setInterval(()=>{},1000)',
    GATEHOUSE_LISTEN: '127.0.0.1:0',
    GATEHOUSE_ADMIN: 'false',
    GATEHOUSE_PUBLIC_URL: 'http://localhost',
    GATEHOUSE_UPSTREAM: upstream.url,
    GATEHOUSE_PROVIDER_ISSUER: idp.issuer,
    GATEHOUSE_PROVIDER_CLIENT_ID: 'orders',
    GATEHOUSE_PROVIDER_CLIENT_SECRET: 'hush',
  })
  await line(/"event":"listening"/)
  child.kill('SIGTERM')
  const { status, stdout } = await ended
  t.equal(status, 0)
  t.match(stdout, /"event":"stopped"[^]*"event":"left_open"/, 'and the log says so')
})
