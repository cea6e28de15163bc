import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import t from 'tap'
import { WebSocket } from 'ws'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { createAuthority } from '../support/certificates.ts'
import { eventually } from '../support/eventually.ts'

const setUp = async (test: Test) => {
  const upstream = await startUpstream()
  test.teardown(upstream.close)
  return { upstream, browser: createBrowser() }
}

const openSocket = async (url: string, protocols: string[] = []): Promise<WebSocket> => {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), protocols)
  await once(socket, 'open')
  return socket
}

void t.test('the page shows the user and the request headers, without the token', async (t) => {
  const { upstream, browser } = await setUp(t)
  const { body, headers } = await browser.get(`${upstream.url}/`, {
    headers: {
      'X-Name': "UTF-8''Zo%C3%AB",
      'X-Groups': 'staff,<b>',
      'authorization': 'Bearer abcdefghijklmnopqrstuvwxyz',
    },
  })
  t.match(headers['content-type'], 'text/html')
  t.match(body, /Signed in as Zoë/)
  t.match(body, /X-Groups<\/th><td>staff,&lt;b&gt;/)
  t.match(body, /Bearer abcdefghijkl…/)
  t.notMatch(body, /klm/, 'the rest of the token stays away')
  t.match(body, 'href="/oauth2/logout"')

  const anonymous = await browser.get(`${upstream.url}/public/anything`)
  t.match(anonymous.body, /Not signed in/)
  t.notMatch(anonymous.body, 'href="/oauth2/logout"')
})

void t.test('the form shows its note as text', async (t) => {
  const { upstream, browser } = await setUp(t)
  const page = await browser.get(`${upstream.url}/`)
  const { answer } = await browser.press(page, 'Order', { note: '<script>alert(1)</script> & Zoë' })
  t.match(answer, { method: 'POST', status: 200, url: `${upstream.url}/orders` })
  t.match(answer.body, '&lt;script&gt;alert(1)&lt;/script&gt; &amp; Zoë')
  t.notMatch(answer.body, '<script>alert')
})

void t.test('an unknown path is a 404 that shows the path as text', async (t) => {
  const { upstream, browser } = await setUp(t)
  for (const path of ['/nothing/%3Cb%3E', '/api/nothing', '/api/', '/api/__proto__']) {
    t.equal((await browser.get(upstream.url + path)).status, 404, path)
  }
  const raw = await browser.get(`${upstream.url}/`, { target: '/<b>' })
  t.match(raw, { status: 404, body: /&lt;b&gt;/ })
  t.notMatch(raw.body, '<code>/<b>')
})

void t.test('the echo reports a whole request, byte for byte', async (t) => {
  const { upstream, browser } = await setUp(t)
  const target = '/api/echo/a%2Fb/../c;d?x=1&x=2&%zz'
  const answer = await browser.request('PROPFIND', `${upstream.url}/`, {
    target,
    kind: 'none',
    headers: { 'X-Twice': ['1', '2'], 'x_under': 'score' },
    body: 'hello',
  })
  const echoed = answer.json()
  t.match(echoed, {
    method: 'PROPFIND',
    url: target,
    headers: { 'x-twice': '1, 2', 'x_under': 'score' },
    body: { length: 5, text: 'hello', sha256: createHash('sha256').update('hello').digest('hex') },
  })
  t.ok(Array.isArray(echoed.rawHeaders) && echoed.rawHeaders.includes('X-Twice'), 'names in their case')
  t.match(upstream.requests, [{ method: 'PROPFIND', url: target, rawHeaders: echoed.rawHeaders }])

  const large = Buffer.alloc(3_000_000, 'x')
  const { body } = (await browser.post(`${upstream.url}/api/echo`, large)).json()
  t.same(body, { length: large.length, sha256: createHash('sha256').update(large).digest('hex'), text: null })
})

void t.test('orders are served as JSON', async (t) => {
  const { upstream, browser } = await setUp(t)
  const answer = await browser.get(`${upstream.url}/api/orders`, { kind: 'script', headers: { 'x-user': 'bob' } })
  t.match(answer, { status: 200, headers: { 'content-type': 'application/json' } })
  t.match(answer.json(), { user: 'bob', orders: [{ id: 'A-1001' }] })
})

void t.test('a status can be requested with headers and for a number of times', async (t) => {
  const { upstream, browser } = await setUp(t)
  for (const status of [204, 304, 404, 503]) {
    t.equal((await browser.get(`${upstream.url}/api/status/${status}`)).status, status)
  }
  const query = new URLSearchParams([
    ['times', '1'],
    ['header', 'WWW-Authenticate: Bearer error="invalid_token"'],
    ['header', 'X-More: a:b'],
    ['body', '{}'],
    ['type', 'application/json'],
  ]).toString()
  t.match(await browser.get(`${upstream.url}/api/status/401?${query}`), {
    status: 401,
    body: '{}',
    headers: {
      'www-authenticate': 'Bearer error="invalid_token"',
      'x-more': 'a:b',
      'content-type': 'application/json',
    },
  })
  const second = await browser.get(`${upstream.url}/api/status/401?${query}`)
  t.equal(second.status, 200)
  t.equal(second.headers['www-authenticate'], undefined)
})

void t.test('redirects and cookies are sent as requested, and a request for what HTTP forbids is a 400', async (t) => {
  const { upstream, browser } = await setUp(t)
  const to = 'https://login.example.com/authorize?x=1'
  t.match(await browser.get(`${upstream.url}/api/redirect?to=${encodeURIComponent(to)}`), {
    status: 302,
    headers: { location: to },
  })
  t.equal((await browser.get(`${upstream.url}/api/redirect?to=/x&status=307`)).status, 307)
  t.equal((await browser.get(`${upstream.url}/api/redirect?to=%0d%0aX-Evil:1`)).status, 400)

  const line = encodeURIComponent('c=3; Path=/api; HttpOnly')
  t.same((await browser.get(`${upstream.url}/api/set-cookie?a=1&b=2&cookie=${line}`)).headers['set-cookie'], [
    'a=1',
    'b=2',
    'c=3; Path=/api; HttpOnly',
  ])
  t.equal(browser.cookies.get(`${upstream.url}/api/x`, 'c'), '3')
  t.equal(browser.cookies.get(`${upstream.url}/other`, 'c'), null)
})

void t.test('bytes are deterministic, and wait for a slow reader', async (t) => {
  const { upstream, browser } = await setUp(t)
  const { bytes, headers } = await browser.get(`${upstream.url}/api/bytes?n=200001`)
  t.equal(bytes.length, 200_001)
  t.equal(headers['content-length'], '200001')
  t.ok(bytes.every((byte, index) => byte === index % 251))
  t.match(await browser.request('HEAD', `${upstream.url}/api/bytes?n=7`), { status: 200, body: '' })

  const before = process.memoryUsage().arrayBuffers
  const unread = request(`${upstream.url}/api/bytes?n=2000000000`).end()
  await once(unread, 'response')
  await sleep(200)
  t.ok(process.memoryUsage().arrayBuffers - before < 50_000_000, 'two gigabytes were not read ahead')
  unread.destroy()
})

void t.test('a slow response is delayed', async (t) => {
  const { upstream, browser } = await setUp(t)
  const started = Date.now()
  t.match(await browser.get(`${upstream.url}/api/slow?ms=120`), { status: 200, body: 'waited 120 ms\n' })
  t.ok(Date.now() - started >= 115)
})

void t.test('the event stream sends the requested number of events', async (t) => {
  const { upstream, browser } = await setUp(t)
  const answer = await browser.get(`${upstream.url}/api/stream?ms=10&count=3`)
  t.equal(answer.headers['content-type'], 'text/event-stream')
  t.equal(answer.body, [1, 2, 3].map((n) => `id: ${n}\nevent: tick\ndata: {"tick":${n}}\n\n`).join(''))
})

void t.test('an endless event stream is counted until its client disconnects', async (t) => {
  const { upstream } = await setUp(t)
  const endless = request(`${upstream.url}/api/stream?ms=5`).end()
  await once(endless, 'response')
  t.equal(upstream.openStreams(), 1)
  endless.destroy()
  await t.resolves(eventually(() => upstream.openStreams() === 0))
})

void t.test('a WebSocket echoes every message', async (t) => {
  const { upstream } = await setUp(t)
  const socket = await openSocket(`${upstream.url}/ws?x=1`, ['orders', 'other'])
  t.equal(socket.protocol, 'orders')
  t.match(upstream.requests, [{ method: 'GET', url: '/ws?x=1', headers: { upgrade: 'websocket' } }])
  t.equal(upstream.openStreams(), 1)

  for (const message of ['hello Zoë', 'x'.repeat(200), 'y'.repeat(300_000), '']) {
    socket.send(message)
    const [data, isBinary]: unknown[] = await once(socket, 'message')
    t.ok(String(data) === message, `${message.length} characters came back`)
    t.equal(isBinary, false)
  }
  socket.send(Buffer.of(0, 255, 1))
  t.same(await once(socket, 'message'), [Buffer.of(0, 255, 1), true])

  socket.send('in ', { fin: false })
  socket.send('pieces', { fin: true })
  const [joined]: unknown[] = await once(socket, 'message')
  t.equal(String(joined), 'in pieces')

  socket.ping('are you there')
  const [pong]: unknown[] = await once(socket, 'pong')
  t.equal(String(pong), 'are you there')

  socket.close(4001, 'enough')
  const [code, reason]: unknown[] = await once(socket, 'close')
  t.same([code, String(reason)], [4001, 'enough'])
})

void t.test('a WebSocket can be refused or closed by the application', async (t) => {
  const { upstream } = await setUp(t)
  for (const [path, status] of [
    ['/ws?status=403', 403],
    ['/elsewhere', 404],
  ] as const) {
    const refused = new WebSocket(upstream.url.replace(/^http/, 'ws') + path)
    await t.rejects(once(refused, 'open'), { message: `Unexpected server response: ${status}` })
  }
  const socket = await openSocket(`${upstream.url}/ws?close=4002`)
  socket.send('the first message')
  const [code]: unknown[] = await once(socket, 'close')
  t.equal(code, 4002)
})

void t.test('the application listens on a Unix socket', async (t) => {
  const socketPath = join(t.testdir(), 'app.sock')
  const upstream = await startUpstream({ socketPath })
  t.teardown(upstream.close)
  t.equal(upstream.url, `unix:${socketPath}`)
  const req = request({ socketPath, path: '/api/orders' }).end()
  const res = await new Promise<NodeJS.ReadableStream>((resolve) => {
    req.once('response', resolve)
  })
  t.match(JSON.parse(await text(res)), { orders: [{ id: 'A-1001' }] })
})

void t.test('the application speaks TLS', async (t) => {
  const authority = createAuthority()
  const upstream = await startUpstream({ tls: authority.issue(['localhost', '127.0.0.1', '::1']) })
  t.teardown(upstream.close)
  const named = upstream.url.replace('127.0.0.1', 'localhost')
  const browser = createBrowser({ ca: authority.ca, origins: { [named]: upstream.url } })
  t.equal((await browser.get(`${named}/public/`)).status, 200, 'by name')
  t.equal((await browser.get(`${upstream.url}/public/`)).status, 200, 'by address')
  await t.rejects(createBrowser().get(`${upstream.url}/public/`), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })

  const other = await startUpstream({ tls: authority.issue(['other.example']) })
  t.teardown(other.close)
  await t.rejects(browser.get(`${other.url}/public/`), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  const old = await startUpstream({ tls: authority.issue(['127.0.0.1'], { from: 0, to: Date.now() - 1000 }) })
  t.teardown(old.close)
  await t.rejects(browser.get(`${old.url}/public/`), { code: 'CERT_HAS_EXPIRED' })
})
