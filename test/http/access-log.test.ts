import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startApplication, type Application } from '../support/application.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { countOf } from '../support/metrics.ts'
import { open, parseAnswers, sendRaw } from '../support/raw-http.ts'
import { openWebSocket } from '../support/websocket.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]

/** An application that never ends a response by itself, but for those that break off. */
const startUnending = async (t: Test): Promise<Application & { readonly answers: readonly ServerResponse[] }> => {
  const answers: ServerResponse[] = []
  const application = await startApplication(t, ({ url = '' }, res) => {
    answers.push(res)
    if (url === '/big') res.write(Buffer.alloc(1_000_000))
    if (url === '/events') res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    if (url === '/sized') res.writeHead(200, { 'content-length': '1000' }).write('begun')
    if (url === '/chunked') res.write('begun')
    if (url === '/reset') {
      res.socket?.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbegun')
      setTimeout(() => res.socket?.resetAndDestroy(), 50)
    }
    if (url === '/sized' || url === '/chunked')
      setTimeout(() => {
        res.destroy()
      }, 50)
  })
  return { ...application, answers }
}

/** Waits for `count` access lines, and checks that no more follow and that each request is counted. */
const linesOf = async ({ events, gateway }: Running, count: number): Promise<Record<string, unknown>[]> => {
  await eventually(() => events('request').length >= count)
  await sleep(100)
  const lines = events('request')
  if (lines.length !== count) throw new Error(`${lines.length} lines instead of ${count}: ${JSON.stringify(lines)}`)
  if ((await countOf(gateway, {})) !== count) throw new Error(`${await countOf(gateway, {})} counted`)
  if (new Set(lines.map(({ id }) => id)).size !== count) throw new Error('two of one request')
  return lines
}

const AT_ONCE = 10

const each = async (work: () => Promise<void>): Promise<void> => {
  await Promise.all(Array.from({ length: AT_ONCE }, work))
}

void t.test('a request whose client leaves before the response has one access line and one count', async (t) => {
  const application = await startUnending(t)
  const running = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  await each(async () => {
    const socket = open(running.url)
    socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
    await eventually(() => application.requests.length === AT_ONCE)
    socket.destroy()
  })
  for (const line of await linesOf(running, AT_ONCE))
    t.match(line, {
      method: 'GET',
      path: '/slow',
      status: 499,
      verdict: 'forward',
      route: '/**',
      client: '127.0.0.1',
      aborted: true,
    })
  t.equal(await countOf(running.gateway, { route: '/**', verdict: 'forward' }), AT_ONCE)
})

void t.test('a request that is cut during its download has one access line and one count', async (t) => {
  const application = await startUnending(t)
  const running = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  await each(async () => {
    const socket = open(running.url)
    socket.write('GET /big HTTP/1.1\r\nHost: a\r\n\r\n')
    await eventually(() => socket.bytesRead > 1000)
    socket.destroy()
  })
  for (const line of await linesOf(running, AT_ONCE)) t.match(line, { path: '/big', status: 200, aborted: true })
})

void t.test('a request whose application breaks off has one access line and one count', async (t) => {
  const application = await startUnending(t)
  const running = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  for (const path of ['/sized', '/chunked', '/reset'])
    await sendRaw(running.url, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
  t.match(await linesOf(running, 3), [
    { path: '/sized', status: 200, aborted: true },
    { path: '/chunked', status: 200, aborted: true },
    { path: '/reset', status: 200, aborted: true },
  ])
  t.same(running.events('bad_request'), [], 'which is not the client’s fault')
  t.match(running.events('upstream_aborted'), [
    { id: /./, route: '/**', level: 'error', cause: /other side closed|terminated/ },
    { id: /./, route: '/**', level: 'error', cause: /other side closed|terminated/ },
    { id: /./, route: '/**', level: 'error', cause: /ECONNRESET/ },
  ])
})

void t.test('a form whose client disconnects after sending it has one access line and one count', async (t) => {
  const running = await startGateway(t, { idp, config: { routes: publicRoutes } })
  await each(async () => {
    const socket = open(running.url)
    socket.end('POST /api/slow?ms=100 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody')
    socket.resume()
  })
  for (const line of await linesOf(running, AT_ONCE)) t.match(line, { method: 'POST', aborted: true })
})

void t.test('each pipelined request that is never handled has one access line and one count', async (t) => {
  const application = await startUnending(t)
  const running = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const socket = open(running.url)
  const paths = ['/slow', '/events', '/sized', '/big', '/oauth2/session', '/a\\b', '/slow']
  socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(''))
  await eventually(() => application.requests.length === 5)
  await sleep(100)
  socket.destroy()
  const lines = await linesOf(running, paths.length)
  for (const line of lines) t.match(line, { status: 499, aborted: true })
  t.same(lines.map(({ verdict }) => String(verdict)).toSorted(), [
    'bad_request',
    ...Array.from({ length: 5 }, () => 'forward'),
    'login_required',
  ])
})

void t.test('each request beyond the pipelining limit has one access line and one count', async (t) => {
  const application = await startUnending(t)
  const running = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: publicRoutes, limits: { idleRead: '1s' } },
  })
  const socket = open(running.url)
  const many = 150
  socket.write('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(many))
  await eventually(() => application.requests.length === 101)
  await sleep(100)
  // The gateway no longer reads the connection: `limits.idleRead` detects the disconnect.
  socket.destroy()
  for (const line of await linesOf(running, many))
    t.match(line, { method: 'GET', path: '/slow', status: 499, aborted: true, client: '127.0.0.1' })
  t.equal(application.requests.length, 101, 'the application has not heard of the others')
})

void t.test('an event stream has its access line at its end, with its duration', async (t) => {
  const application = await startUnending(t)
  const running = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const ask = 'GET /events HTTP/1.1\r\nHost: a\r\n\r\n'
  const [left, ended] = [open(running.url), open(running.url)]
  for (const socket of [left, ended]) socket.resume().write(ask)
  await eventually(() => left.bytesRead > 0 && ended.bytesRead > 0)
  await sleep(300)
  t.same(running.events('request'), [])
  left.destroy()
  await eventually(() => running.events('request').length === 1)
  for (const answer of application.answers) answer.end()
  const [first, second] = await linesOf(running, 2)
  t.match(first, { path: '/events', status: 200, aborted: true })
  t.match(second, { path: '/events', status: 200, aborted: undefined })
  for (const line of [first, second]) t.ok(Number(line?.['ms']) >= 300, `${String(line?.['ms'])} ms`)
})

void t.test('a WebSocket that is refused, or whose client leaves before it opens, has one access line', async (t) => {
  const application = await startUnending(t)
  const running = await startGateway(t, {
    idp,
    config: { upstream: application.url, routes: [...publicRoutes, { path: '/private' }] },
  })
  const refused = await openWebSocket(`${running.url}/private`)
  t.equal(refused.status, 401)
  const [line] = await linesOf(running, 1)
  t.match(line, { path: '/private', status: 401, verdict: 'login_required', aborted: undefined })
  await refused.closed

  const socket = open(running.url)
  socket.write(
    'GET /slow HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  )
  await sleep(200)
  socket.destroy()
  t.match((await linesOf(running, 2))[1], { path: '/slow', status: 499, aborted: true })
  t.equal(await countOf(running.gateway, { kind: 'websocket' }), 2)
})

void t.test('a completed request has one access line, whatever the response', async (t) => {
  const running = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const asked: [method: string, path: string, status: number][] = [
    ['GET', '/api/orders', 200],
    ['HEAD', '/api/orders', 200],
    ['GET', '/api/status/204', 204],
    ['GET', '/api/status/304', 304],
    ['GET', '/oauth2/session', 401],
    ['TRACE', '/', 405],
    ['GET', '/a\\b', 400],
  ]
  const bytes = asked.map(([method, path], index) => {
    const last = index === asked.length - 1 ? 'Connection: close\r\n' : ''
    return `${method} ${path} HTTP/1.1\r\nHost: a\r\n${last}\r\n`
  })
  const methods = asked.map(([method]) => method)
  t.equal(parseAnswers(await sendRaw(running.url, bytes.join('')), methods).length, asked.length)
  const lines = await linesOf(running, asked.length)
  t.same(
    lines.map(({ method, status }) => [method, status]),
    asked.map(([method, , status]) => [method, status]),
  )
  for (const line of lines) t.notOk('aborted' in line, JSON.stringify(line))
})

void t.test('a body that stalls is a 408 in the access line of its request', { timeout: 120_000 }, async (t) => {
  const running = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const head = 'POST /api/echo HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n'
  const [answer] = parseAnswers(await sendRaw(running.url, `${head}Content-Length: 100\r\n\r\nhalf`, 90_000))
  t.equal(answer?.status, 408)
  t.match(await linesOf(running, 1), [
    { method: 'POST', path: '/api/echo', status: 408, verdict: 'bad_request', cause: /body/, aborted: undefined },
  ])
  t.equal(await countOf(running.gateway, { route: '/**', verdict: 'bad_request' }), 1)
})
