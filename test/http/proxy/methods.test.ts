import { METHODS } from 'node:http'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header, parseAnswers, sendRaw } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const refused = ['TRACE', 'TRACK', 'CONNECT']
const publicRoutes = [{ path: '/**', access: 'public' }]

void t.test('every method passes except TRACE, TRACK and CONNECT', async (t) => {
  const application = await startApplication(t, (req, res) => {
    res.end(req.method)
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  for (const method of METHODS.filter((name) => !refused.includes(name))) {
    const answer = await ask(url, method, '/thing')
    t.equal(answer.status, 200, method)
    t.equal(application.requests.at(-1)?.method, method)
  }
  for (const method of ['PROPFIND', 'MKCOL', 'PURGE', 'REPORT', 'LOCK'])
    t.ok(METHODS.includes(method), `${method} was among them`)
})

void t.test('TRACE, TRACK and CONNECT never reach the application', async (t) => {
  const application = await startApplication(t, (_req, res) => {
    res.end()
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  for (const [method, target] of [
    ['TRACE', '/'],
    ['TRACE', '/oauth2/login'],
    ['CONNECT', 'example.com:443'],
    ['CONNECT', '/'],
  ] as const) {
    const answer = await ask(url, method, target)
    t.equal(answer.status, 405, `${method} ${target}`)
    t.match(JSON.parse(answer.body.toString()), { status: 405, code: 'method_not_allowed' })
    t.equal(header(answer, 'gatehouse'), 'method_not_allowed')
  }
  t.ok([400, 405].includes((await ask(url, 'TRACK', '/')).status), 'TRACK, which the parser may refuse itself')
  t.equal(application.requests.length, 0)
})

void t.test('an unknown method is refused by the parser with a problem', async (t) => {
  const { url } = await startGateway(t, { idp })
  const answer = await ask(url, 'FROBNICATE', '/')
  t.equal(answer.status, 400)
  t.match(JSON.parse(answer.body.toString()), { code: 'bad_request' })
})

void t.test('methods are case-sensitive', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  t.equal((await ask(url, 'get', '/')).status, 400)
})

void t.test('HEAD is answered with headers only', async (t) => {
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'content-length': '1000', 'x-from': 'application' }).end()
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const bytes = await sendRaw(
    url,
    `HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nHEAD /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
  )
  const answers = parseAnswers(bytes, ['HEAD', 'HEAD'])
  t.equal(answers.length, 2, 'there are exactly two answers')
  for (const answer of answers) {
    t.equal(header(answer, 'content-length'), '1000')
    t.equal(header(answer, 'x-from'), 'application')
  }
})

void t.test('a HEAD that is denied has no body', async (t) => {
  const { url } = await startGateway(t, { idp })
  const bytes = await sendRaw(
    url,
    'HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nHEAD /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  )
  t.same(
    parseAnswers(bytes, ['HEAD', 'HEAD']).map(({ status }) => status),
    [401, 401],
  )
})

void t.test('a route for certain methods leaves all others without a route', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', access: 'public', methods: ['GET', 'POST'] }] },
  })
  t.equal((await ask(url, 'GET', '/api/orders')).status, 200)
  t.equal((await ask(url, 'HEAD', '/api/orders')).status, 200, 'HEAD comes with GET')
  const before = upstream.requests.length
  for (const method of ['DELETE', 'PUT', 'OPTIONS', 'PROPFIND'])
    t.equal((await ask(url, method, '/api/orders')).status, 404, method)
  t.equal(upstream.requests.length, before)
})

void t.test('method overrides do not reach a route for certain methods', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', access: 'public', methods: ['POST'] }] },
  })
  const spellings = [
    'X-HTTP-Method-Override',
    'x_http_method_override',
    'X-HTTP-Method',
    'X-Method-Override',
    'X.Method.Override',
  ]
  await ask(url, 'POST', '/api/echo', [...spellings.map((name) => `${name}: DELETE`), 'Content-Length: 0'])
  t.notMatch(upstream.requests.at(-1)?.rawHeaders.join(), /override|DELETE/i)
})

void t.test('the gateway’s endpoints name the methods that they support', async (t) => {
  const { url } = await startGateway(t, { idp })
  const rows = [
    ['DELETE', 'login', 'GET'],
    ['PUT', 'callback', 'GET, POST'],
    ['GET', 'logout/local', 'POST'],
    ['GET', 'session/refresh', 'POST'],
    ['POST', 'session', 'GET'],
  ]
  for (const [method = '', path = '', allow = ''] of rows) {
    const answer = await ask(url, method, `/oauth2/${path}`, ['Content-Length: 0'])
    t.equal(answer.status, 405, `${method} ${path}`)
    t.equal(header(answer, 'allow'), allow)
    t.equal(header(answer, 'gatehouse'), 'method_not_allowed')
  }
})

void t.test('with a session every unsafe method from another origin is refused, even an unknown method', async (t) => {
  const { url, upstream } = await startGateway(t, { idp })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  const before = upstream.requests.length
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'MKCOL', 'PURGE']) {
    const answer = await ask(url, method, '/api/echo', [cookie, 'Origin: https://evil.example'])
    t.equal(answer.status, 403, method)
    t.equal(header(answer, 'gatehouse'), 'cross_origin')
  }
  t.equal(upstream.requests.length, before)
  for (const method of ['GET', 'HEAD', 'OPTIONS'])
    t.equal((await ask(url, method, '/api/echo', [cookie, 'Origin: https://evil.example'])).status, 200, method)
})
