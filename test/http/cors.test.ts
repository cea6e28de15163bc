import { once } from 'node:events'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startApplication } from '../support/application.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { ask, header, openAndRead, parseAnswers, sendRaw, type RawAnswer } from '../support/raw-http.ts'
import { eventually } from '../support/eventually.ts'
import { openWebSocket } from '../support/websocket.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

const app = 'https://app.example.org'
const evil = 'https://evil.example'
const cors = { origins: [app, 'https://second.example.org'] }
const own: Readonly<Record<string, Readonly<Record<string, string | string[]>>>> = {
  '/api/own': { 'access-control-allow-origin': '*', 'vary': 'Accept', 'access-control-expose-headers': 'X-Own' },
  '/api/vary': { 'vary': 'Accept-Encoding', 'access-control-expose-headers': 'X-Total' },
}

const application = await startApplication(t, (req, res) => {
  const { url = '' } = req
  if (url === '/api/stream') res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  else if (url === '/api/missing') res.writeHead(404).end('no such thing')
  else if (url !== '/api/slow') res.writeHead(200, own[url] ?? {}).end(req.method)
})
const dead = `http://127.0.0.1:${await freePort()}`
const api = { path: '/api/**', cors }
const running = await startGateway(t, {
  idp,
  config: {
    upstream: application.url,
    forwardAuth: { listen: '127.0.0.1:0' },
    limits: { headerFields: 50, headers: '16kb' },
    routes: [
      { path: '/**' },
      api,
      { path: '/api/slow', cors, timeout: '100ms' },
      { path: '/api/small', cors, maxBody: '1kb' },
      { path: '/api/dead', cors, upstream: dead },
      { path: '/api/admins', cors, require: { claims: { groups: ['nobody'] } } },
      { path: '/api/strong', cors, require: { acr: 'urn:strong' } },
      { path: '/orders', methods: ['GET', 'HEAD'] },
      { path: '/orders', methods: ['POST'], cors },
      { path: '/off', csrf: 'off' },
      { path: '/mcp', bearer: { audience: 'orders' }, cors },
      { path: '/strict/x', require: { claims: { groups: ['nobody'] } } },
    ],
  },
})
const { url, verdicts } = running
const browser = createBrowser()
await browser.login(`${url}/`, 'alice')
const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`

const corsOf = (answer: RawAnswer): Record<string, string | null> => ({
  origin: header(answer, 'access-control-allow-origin'),
  credentials: header(answer, 'access-control-allow-credentials'),
  exposed: header(answer, 'access-control-expose-headers'),
  vary: header(answer, 'vary'),
})
const readable = {
  origin: app,
  credentials: 'true',
  exposed: 'WWW-Authenticate, Mcp-Session-Id, DPoP-Nonce',
  vary: 'Origin',
}
const hidden = { origin: null, credentials: null, exposed: null, vary: 'Origin' }
const none = { ...hidden, vary: null }
const preflight = (method: string, origin = app, ...more: string[]): string[] => [
  `Origin: ${origin}`,
  `Access-Control-Request-Method: ${method}`,
  ...more,
]

void t.test('a preflight request of a listed origin gets a 204 of the gateway without a session', async (t) => {
  const before = application.requests.length
  const names = 'authorization,content-type,x-own'
  const answer = await ask(url, 'OPTIONS', '/api/x', preflight('PUT', app, `Access-Control-Request-Headers: ${names}`))
  t.equal(answer.status, 204)
  t.same(corsOf(answer), {
    ...readable,
    exposed: null,
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
  })
  t.equal(header(answer, 'access-control-allow-methods'), 'PUT')
  t.equal(header(answer, 'access-control-allow-headers'), names)
  t.equal(header(answer, 'access-control-max-age'), '7200')
  t.equal(header(answer, 'access-control-allow-private-network'), null)
  t.equal(header(answer, 'content-length'), null)
  const local = preflight('PUT', app, 'Access-Control-Request-Private-Network: true')
  t.equal(header(await ask(url, 'OPTIONS', '/api/x', local), 'access-control-allow-private-network'), 'true')
  t.equal(application.requests.length, before)
  t.match(running.events('request').at(-1), { method: 'OPTIONS', status: 204, verdict: 'preflight', route: '/api/**' })
})

void t.test('a preflight request is about the route of the method that the page wants to use', async (t) => {
  t.equal((await ask(url, 'OPTIONS', '/orders', preflight('POST'))).status, 204)
  t.match(running.events('request').at(-1), { route: 'POST /orders' })
  for (const method of ['GET', 'PUT'])
    t.equal((await ask(url, 'OPTIONS', '/orders', preflight(method))).status, 401, method)
})

void t.test('a preflight request of any other origin, and any other OPTIONS request, needs a session', async (t) => {
  for (const origin of [evil, 'null', '*', `${app}/`, 'http://app.example.org']) {
    const answer = await ask(url, 'OPTIONS', '/api/x', preflight('PUT', origin))
    t.equal(answer.status, 401, origin)
    t.same(corsOf(answer), hidden)
    t.equal(header(answer, 'access-control-allow-methods'), null)
  }
  t.equal((await ask(url, 'OPTIONS', '/api/x', [`Origin: ${app}`])).status, 401)
  const answer = await ask(url, 'OPTIONS', '/api/x', [`Origin: ${app}`, cookie])
  t.same([answer.status, answer.body.toString(), corsOf(answer)], [200, 'OPTIONS', readable], 'with one, it passes')
  for (const path of ['/oauth2/session', '/oauth2/userinfo']) {
    const own = await ask(url, 'OPTIONS', path, preflight('GET'))
    t.same([own.status === 204, corsOf(own)], [false, none], `the gateway’s own ${path} is not for other origins`)
  }
})

void t.test('the application’s responses get the headers, those without Origin only Vary', async (t) => {
  for (const path of ['/api/x', '/api/missing']) {
    t.same(corsOf(await ask(url, 'GET', path, [cookie, `Origin: ${app}`])), readable, path)
    t.same(corsOf(await ask(url, 'GET', path, [cookie, `Origin: ${evil}`])), hidden)
    t.same(corsOf(await ask(url, 'GET', path, [cookie])), hidden)
  }
  t.same(corsOf(await ask(url, 'GET', '/x', [cookie, `Origin: ${app}`])), none, 'another route')
  const { headers } = await ask(url, 'GET', '/api/vary', [cookie, `Origin: ${app}`])
  t.same(headers.get('vary'), ['Accept-Encoding, Origin'])
  t.same(headers.get('access-control-expose-headers'), ['X-Total', readable.exposed])
})

void t.test('an application’s own Access-Control-Allow-Origin keeps its CORS headers as they are', async (t) => {
  for (const origin of [app, evil]) {
    const answer = await ask(url, 'GET', '/api/own', [cookie, `Origin: ${origin}`])
    t.same(corsOf(answer), { origin: '*', credentials: null, exposed: 'X-Own', vary: 'Accept' })
  }
})

void t.test('an event stream has the headers before its first byte', async (t) => {
  const { socket, text } = openAndRead(url)
  socket.write(`GET /api/stream HTTP/1.1\r\nHost: a\r\nOrigin: ${app}\r\n${cookie}\r\n\r\n`)
  await eventually(() => text().includes('data: 1'))
  t.match(text(), `Access-Control-Allow-Origin: ${app}\r\n`)
  socket.destroy()
})

void t.test('every response of the gateway itself has the headers', async (t) => {
  const from = (origin: string, ...more: string[]): string[] => [`Origin: ${origin}`, ...more]
  const rows: [status: number, code: string, method: string, path: string, headers: string[]][] = [
    [401, 'login_required', 'GET', '/api/x', []],
    [401, 'step_up_required', 'GET', '/api/strong', [cookie]],
    [403, 'forbidden', 'GET', '/api/admins', [cookie]],
    [413, 'payload_too_large', 'POST', '/api/small', [cookie, 'Content-Length: 2000']],
    [502, 'upstream_unreachable', 'GET', '/api/dead', [cookie]],
    [504, 'upstream_timeout', 'GET', '/api/slow', [cookie]],
    [405, 'method_not_allowed', 'TRACE', '/api/x', []],
    [400, 'ambiguous_path', 'GET', '/api/..%2f..%2fstrict/x', [cookie]],
    [501, 'bad_request', 'POST', '/api/x', ['Transfer-Encoding: gzip, chunked']],
    [431, 'bad_request', 'GET', '/api/x', Array.from({ length: 60 }, (_, i) => `X-${i}: x`)],
    [431, 'bad_request', 'GET', '/api/x', [`X-Large: ${'x'.repeat(20_000)}`]],
    [401, 'invalid_token', 'GET', '/mcp', ['Authorization: Bearer no.token.x']],
  ]
  for (const [status, code, method, path, headers] of rows) {
    const answer = await ask(url, method, path, from(app, ...headers))
    t.same([answer.status, header(answer, 'gatehouse')], [status, code], code)
    t.same(corsOf(answer), readable, `${code} to the listed origin`)
    const other = await ask(url, method, path, from(evil, ...headers))
    t.same(corsOf(other), hidden, `${code} to another origin`)
  }
  t.match(JSON.parse((await ask(url, 'GET', '/api/x', from(app))).body.toString()), {
    login_url: `${url}/oauth2/login`,
  })
  t.same(corsOf(await ask(url, 'GET', '/oauth2/session', from(app))), none, 'the session endpoint is no route')
  t.same(corsOf(await ask(url, 'GET', '/x', from(app))), none, 'nor do other routes have the headers')
})

void t.test('a response to a request over the rate limit has the headers', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: { upstream: application.url, rateLimit: { requests: '1/1m' }, routes: [api] },
  })
  await ask(url, 'GET', '/api/x')
  const answer = await ask(url, 'GET', '/api/x', [`Origin: ${app}`])
  t.same([answer.status, corsOf(answer)], [429, readable])
})

void t.test('a broken body gets its 400 with the headers', async (t) => {
  const bytes = await sendRaw(
    url,
    `POST /api/x HTTP/1.1\r\nHost: a\r\nOrigin: ${app}\r\n${cookie}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
  )
  const [answer] = parseAnswers(bytes)
  t.same([answer?.status, answer === undefined ? null : corsOf(answer)], [400, readable])
})

void t.test('csrf lets unsafe requests and WebSockets of a listed origin pass, and no others', async (t) => {
  const post = async (path: string, ...headers: string[]): Promise<RawAnswer> =>
    ask(url, 'POST', path, [cookie, 'Content-Length: 0', ...headers])
  for (const site of ['same-site', 'cross-site']) {
    const answer = await post('/api/x', `Origin: ${app}`, `Sec-Fetch-Site: ${site}`)
    t.same([answer.status, answer.body.toString(), corsOf(answer)], [200, 'POST', readable], site)
    const other = await post('/api/x', `Origin: ${evil}`, `Sec-Fetch-Site: ${site}`)
    t.same([other.status, header(other, 'gatehouse'), corsOf(other)], [403, 'cross_origin', hidden])
  }
  t.equal((await post('/x', `Origin: ${app}`)).status, 403, 'a route without cors')
  t.equal((await post('/api/x', 'Sec-Fetch-Site: cross-site')).status, 403, 'no Origin')
  t.equal((await post('/off', `Origin: ${evil}`)).status, 200, 'csrf: off')
})

void t.test('a WebSocket of a listed origin opens, and one of another origin is 403', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: [{ path: '/**', cors }] } })
  const other = createBrowser()
  await other.login(`${url}/`, 'alice')
  const session = `Cookie: ${other.cookies.header(new URL(url))}`
  const path = `${url}/ws`
  const opened = await openWebSocket(path, { headers: [session, `Origin: ${app}`, 'Sec-Fetch-Site: cross-site'] })
  t.equal(opened.status, 101)
  opened.socket.destroy()
  await once(opened.socket, 'close')
  t.equal((await openWebSocket(path, { headers: [session, `Origin: ${evil}`] })).status, 403)
})

void t.test('an MCP client in a browser gets its preflight response and reads the challenge', async (t) => {
  const names = 'Access-Control-Request-Headers: authorization,mcp-session-id,mcp-protocol-version'
  t.equal((await ask(url, 'OPTIONS', '/mcp', preflight('POST', app, names))).status, 204)
  const answer = await ask(url, 'POST', '/mcp', [`Origin: ${app}`, 'Authorization: Bearer no.token.x'])
  t.same([answer.status, corsOf(answer)], [401, readable])
  t.match(header(answer, 'www-authenticate'), 'invalid_token')
})

void t.test(
  'forward-auth lets a listed origin pass csrf, and its verdicts carry the headers for the proxy',
  async (t) => {
    const describe = async (method: string, path: string, ...headers: string[]): Promise<RawAnswer> =>
      ask(verdicts, 'GET', '/auth', [`X-Original-Method: ${method}`, `X-Original-URI: ${path}`, ...headers])
    const allowed = await describe('POST', '/api/x', cookie, `Origin: ${app}`, 'Sec-Fetch-Site: cross-site')
    t.same([allowed.status, corsOf(allowed)], [200, readable])
    const denied = await describe('POST', '/api/x', cookie, `Origin: ${evil}`, 'Sec-Fetch-Site: cross-site')
    t.same([denied.status, corsOf(denied)], [403, hidden])
    const anonymous = await describe('GET', '/api/x', `Origin: ${app}`)
    t.same([anonymous.status, corsOf(anonymous)], [401, readable])
    const asked = await describe('OPTIONS', '/api/x', ...preflight('POST'))
    t.same([asked.status, header(asked, 'gatehouse')], [401, 'login_required'], 'the proxy passes it on to the gateway')
    t.same(corsOf(await ask(verdicts, 'GET', '/auth', [`Origin: ${app}`])), none, 'a subrequest that describes nothing')
  },
)
