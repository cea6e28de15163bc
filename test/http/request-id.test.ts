import { once } from 'node:events'
import { connect } from 'node:http2'
import { request } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { newRequestId } from '../../src/http/request-id.ts'
import { startApplication } from '../support/application.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { ask, header, parseAnswers, sendRaw } from '../support/raw-http.ts'
import { openWebSocket } from '../support/websocket.ts'

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const behindProxy = { trustedProxies: ['127.0.0.1'] }
const routes = [
  { path: '/**', cors: { origins: ['https://shop.example.com'] } },
  { path: '/public/**', access: 'public' },
  { path: '/ws', access: 'public' },
  { path: '/api/stream', access: 'public' },
]

const lastLine = async ({ events }: Running, path: string): Promise<Record<string, unknown>> => {
  await eventually(() => events('request').some((line) => line['path'] === path))
  return events('request').findLast((line) => line['path'] === path) ?? {}
}

void t.test('ids are UUIDs of version 7 with the time, unique and ascending within a millisecond', (t) => {
  const before = Date.now()
  const ids = Array.from({ length: 20_000 }, newRequestId)
  for (const id of ids) if (!UUID_V7.test(id)) t.fail(id)
  t.equal(new Set(ids).size, ids.length)
  t.same(ids.toSorted(), ids)
  const made = Number.parseInt((ids[0] ?? '').replace('-', '').slice(0, 12), 16)
  t.ok(made >= before && made <= Date.now(), `${made} is between ${before} and ${Date.now()}`)
  t.end()
})

void t.test('the id of a request is the same upstream, in the response and in the log', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes } })
  const answer = await ask(running.url, 'GET', '/public/x')
  const id = header(answer, 'x-request-id')
  t.match(id, UUID_V7)
  t.equal(upstream.requests.at(-1)?.headers['x-request-id'], id)
  t.match(await lastLine(running, '/public/x'), { id })
})

void t.test('an untrusted client’s X-Request-Id is replaced, in each spelling', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes } })
  const spellings = ['X-Request-Id', 'X-REQUEST-ID', 'X_Request_Id', 'X.Request.ID', 'X-Request_Id']
  const answer = await ask(running.url, 'GET', '/public/y', [
    ...spellings.map((name) => `${name}: mallory`),
    'Connection: X-Request-Id',
  ])
  const id = header(answer, 'x-request-id')
  t.match(id, UUID_V7)
  const sent = upstream.requests.at(-1)
  t.equal(sent?.headers['x-request-id'], id)
  t.notMatch(sent?.rawHeaders.join(), /mallory/)
  t.match(await lastLine(running, '/public/y'), { id })
})

void t.test('the X-Request-Id of a trusted proxy is taken if it is one id of at most 64 safe characters', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes, ...behindProxy } })
  const idFor = async (fields: readonly string[]): Promise<string | null> => {
    const id = header(await ask(running.url, 'GET', '/public/z', fields), 'x-request-id')
    t.equal(upstream.requests.at(-1)?.headers['x-request-id'], id, 'upstream')
    return id
  }
  for (const id of ['b1946ac92492d2347c6235b4d2611184', 'Root_1-67891233.abc', 'x'.repeat(64)])
    t.equal(await idFor([`X-Request-Id: ${id}`]), id)
  for (const id of ['x'.repeat(65), 'a b', 'a,b', '"a"', 'a/b', 'é', 'a%0Ab', ''])
    t.match(await idFor([`X-Request-Id: ${id}`]), UUID_V7, id)
  t.match(await idFor(['X-Request-Id: a', 'X-Request-Id: b']), UUID_V7, 'two fields')
  t.match(await idFor(['X_Request_Id: a']), UUID_V7, 'another spelling')
  t.match(await idFor([]), UUID_V7, 'none')
  await ask(running.url, 'GET', '/public/logged', ['X-Request-Id: from-nginx'])
  t.match(await lastLine(running, '/public/logged'), { id: 'from-nginx' })
})

void t.test('on a Unix socket, the X-Request-Id of every peer is taken with trustedProxies', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gh-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const idThrough = async (trustedProxies: string[]): Promise<unknown> => {
    const socketPath = join(folder, String(trustedProxies.length))
    const forwardAuth = { listen: `unix:${socketPath}` }
    await startGateway(t, { idp, upstream, config: { routes, trustedProxies, forwardAuth } })
    const headers = { 'x-original-uri': '/public/x', 'x-original-method': 'GET', 'x-request-id': 'from-nginx' }
    const [answer] = await once(request({ socketPath, path: '/auth', headers }).end(), 'response')
    answer.resume()
    return answer.headers['x-request-id']
  }
  t.equal(await idThrough(['10.0.0.1']), 'from-nginx')
  t.match(await idThrough([]), UUID_V7)
})

void t.test('each response has one X-Request-Id, the one on its page or problem and in its access line', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes, ...behindProxy } })
  const given = 'X-Request-Id: given-1'
  const navigation = ['Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Accept: text/html']
  const preflight = ['Origin: https://shop.example.com', 'Access-Control-Request-Method: GET']
  const cases: readonly (readonly [string, string, string, readonly string[], number, RegExp | null])[] = [
    ['a redirect to the login', 'GET', '/page', navigation, 302, null],
    ['a problem', 'GET', '/data', [], 401, /"request_id":"given-1"/],
    ['a page', 'POST', '/form', navigation, 401, /Request given-1</],
    ['a preflight', 'OPTIONS', '/data2', preflight, 204, null],
    ['TRACE', 'TRACE', '/trace', [], 405, /"request_id":"given-1"/],
    ['a malformed path', 'GET', '/%zz', [], 400, /"request_id":"given-1"/],
    ['an endpoint', 'GET', '/oauth2/session', [], 401, /"request_id":"given-1"/],
    ['a browser script', 'GET', '/oauth2/client.js', [], 200, null],
    ['a login', 'GET', '/oauth2/login', navigation, 200, null],
  ]
  for (const [name, method, path, headers, status, body] of cases) {
    const answer = await ask(running.url, method, path, [given, ...headers])
    t.equal(answer.status, status, name)
    t.equal(header(answer, 'x-request-id'), 'given-1', name)
    if (body !== null) t.match(answer.body.toString(), body, name)
    const line = running.events('request').at(-1)
    t.match(line, { status, id: 'given-1' }, name)
  }
})

void t.test('a request that the HTTP parser rejects has an id in its response and in its line', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes, ...behindProxy } })
  const requests = {
    400: 'GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n',
    431: `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(200_000)}\r\n\r\n`,
    405: 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n',
  }
  for (const [status, bytes] of Object.entries(requests)) {
    const [answer] = parseAnswers(await sendRaw(running.url, bytes))
    if (answer === undefined) throw new Error('no answer')
    t.equal(answer.status, Number(status))
    const id = header(answer, 'x-request-id')
    t.match(id, UUID_V7, status)
    t.match(running.events('request').at(-1), { id, status: Number(status) })
  }
})

void t.test('the application’s own X-Request-Id does not reach the client, even as a trailer', async (t) => {
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'X-Request-Id': 'of-the-application', 'Trailer': 'X-Request-Id' })
    res.write('hello')
    res.addTrailers({ 'X-Request-Id': 'of-the-application' })
    res.end()
  })
  const { url } = await startGateway(t, { idp, upstream, config: { upstream: application.url, routes } })
  const answer = await ask(url, 'GET', '/public/x')
  t.match(header(answer, 'x-request-id'), UUID_V7)
  t.same(answer.trailers, [])
  t.equal(header(answer, 'trailer'), null)
})

void t.test('WebSockets and event streams have the id', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes, ...behindProxy } })
  const socket = await openWebSocket(`${running.url}/ws`, { headers: ['X-Request-Id: a-socket'] })
  t.equal(socket.status, 101)
  t.equal(socket.headers.get('x-request-id'), 'a-socket')
  t.equal(upstream.requests.at(-1)?.headers['x-request-id'], 'a-socket')
  socket.socket.destroy()
  t.match(await lastLine(running, '/ws'), { id: 'a-socket', status: 101 })
  const answer = await ask(running.url, 'GET', '/api/stream?count=1&every=1', ['X-Request-Id: a-stream'])
  t.equal(header(answer, 'x-request-id'), 'a-stream')
})

void t.test('over HTTP/2, the id is the same upstream, in the response and in the log', async (t) => {
  const running = await startGateway(t, { idp, upstream, config: { routes, ...behindProxy, listenH2c: true } })
  const session = connect(running.url)
  t.teardown(() => {
    session.destroy()
  })
  const idOf = async (path: string, headers: Record<string, string | string[]>): Promise<unknown> => {
    const stream = session.request({ ':path': path, ...headers })
    const [received] = await once(stream, 'response')
    stream.resume()
    await once(stream, 'close')
    return received['x-request-id']
  }
  t.equal(await idOf('/public/h2', { 'x-request-id': 'a-stream' }), 'a-stream')
  t.equal(upstream.requests.at(-1)?.headers['x-request-id'], 'a-stream')
  t.match(await lastLine(running, '/public/h2'), { id: 'a-stream' })
  t.equal(await idOf('/problem', { 'x-request-id': 'a-problem' }), 'a-problem')
  t.match(await idOf('/public/h2', { 'x-request-id': ['one', 'two'] }), UUID_V7)
})

void t.test('a forward-auth proxy gets the id for the application', async (t) => {
  const running = await startGateway(t, {
    idp,
    upstream,
    config: { routes, ...behindProxy, forwardAuth: { listen: '127.0.0.1:0' } },
  })
  const about = ['X-Original-Method: GET', 'X-Original-URI: /public/x', 'X-Request-Id: from-nginx']
  const allowed = await ask(running.verdicts, 'GET', '/auth', about)
  t.equal(allowed.status, 200)
  t.equal(header(allowed, 'x-request-id'), 'from-nginx')
  const denied = await ask(running.verdicts, 'GET', '/auth', ['X-Original-URI: /data', 'X-Request-Id: from-nginx'])
  t.equal(denied.status, 401)
  t.equal(header(denied, 'x-request-id'), 'from-nginx')
  t.match(denied.body.toString(), /"request_id":"from-nginx"/)
})

void t.test('a route can remove X-Request-Id, or set a value of its own', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    upstream,
    config: {
      routes: [
        { path: '/removed', access: 'public', headers: { remove: ['X_Request_Id'] } },
        { path: '/set', access: 'public', headers: { set: { 'X-Request-ID': 'fixed' } } },
      ],
    },
  })
  t.match(header(await ask(url, 'GET', '/removed'), 'x-request-id'), UUID_V7)
  t.equal(upstream.requests.at(-1)?.headers['x-request-id'], undefined)
  await ask(url, 'GET', '/set')
  t.equal(upstream.requests.at(-1)?.headers['x-request-id'], 'fixed')
})
