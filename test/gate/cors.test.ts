import t from 'tap'
import { addCorsHeaders, preflightHeaders, preflightRoute } from '../../src/gate/cors.ts'
import { passesCsrfCheck } from '../../src/gate/csrf.ts'
import { compileRoutes } from '../../src/gate/match.ts'
import { compiled, factsOf, routeOf, sessionOf } from './request.ts'

const app = 'https://app.example.org'
const listed = { cors: { origins: ['https://first.example.org', app] } }
const exposed = 'WWW-Authenticate, Mcp-Session-Id, DPoP-Nonce'
const ours = [
  'Access-Control-Allow-Credentials',
  'true',
  'Access-Control-Allow-Origin',
  app,
  'Access-Control-Expose-Headers',
  exposed,
]

const preflight = (headers: Record<string, string>, method = 'OPTIONS'): ReturnType<typeof factsOf> =>
  factsOf({ method, path: '/api/orders', headers })

void t.test('a preflight request selects the route of the method that the page wants to use', (t) => {
  const routes = compileRoutes(
    [
      routeOf(),
      routeOf({ path: '/api/**', methods: ['GET', 'HEAD'] }),
      routeOf({ path: '/api/**', methods: ['POST'], ...listed }),
      routeOf({ path: '/api/**', methods: ['OPTIONS'], access: 'public' }),
    ],
    '/oauth2',
  )
  const asks = (method: string, origin = app): Record<string, string> => ({
    origin,
    'access-control-request-method': method,
  })
  const routeFor = (...args: Parameters<typeof preflight>): number | undefined =>
    preflightRoute(routes, preflight(...args))?.index
  t.equal(routeFor(asks('POST')), 2)
  for (const method of ['GET', 'PUT', 'OPTIONS', 'post', '', 'POST, POST', 'PO ST'])
    t.equal(routeFor(asks(method)), undefined, `no listed route for ${method}`)
  for (const origin of [
    'https://evil.example',
    'null',
    '*',
    `${app}/`,
    `${app}.evil.example`,
    'http://app.example.org',
  ])
    t.equal(routeFor(asks('POST', origin)), undefined, origin)
  t.equal(routeFor({ origin: app }), undefined, 'an OPTIONS request without Access-Control-Request-Method')
  t.equal(routeFor({ 'access-control-request-method': 'POST' }), undefined, 'a request without Origin')
  t.equal(routeFor(asks('POST'), 'GET'), undefined, 'another method than OPTIONS')
  t.end()
})

void t.test('a preflight request for an ambiguous path or for the gateway’s own URL selects no route', (t) => {
  const routes = compileRoutes([routeOf({ path: '/**', ...listed }), routeOf({ path: '/admin/**' })], '/oauth2')
  const headers = { 'origin': app, 'access-control-request-method': 'POST' }
  const routeFor = (path: string): number | undefined =>
    preflightRoute(routes, factsOf({ method: 'OPTIONS', path, headers }))?.index
  t.equal(routeFor('/orders'), 0)
  for (const path of ['/x/..%2fadmin/', '/oauth2/session', '/admin/x']) t.equal(routeFor(path), undefined, path)
  t.end()
})

void t.test('a preflight response repeats the requested header names, unless they are no list of names', (t) => {
  const allowed = (names: string): string | undefined =>
    preflightHeaders({ headers: { 'origin': app, 'access-control-request-headers': names } })[
      'access-control-allow-headers'
    ]
  for (const names of ['content-type', 'authorization,x-own, x-other', 'a'.repeat(4_096)])
    t.equal(allowed(names), names)
  for (const names of ['', 'a b', 'a,,b', 'a:b', '"a"', 'a'.repeat(4_097), ', '.repeat(2_000)])
    t.equal(allowed(names), undefined, names.slice(0, 20))
  t.end()
})

void t.test('an application’s response gets the CORS headers, and Vary is extended', (t) => {
  const rows: [sent: string[], added: string[]][] = [
    [[], ['Vary', 'Origin', ...ours]],
    [
      ['vary', 'Accept-Encoding'],
      ['vary', 'Accept-Encoding, Origin', ...ours],
    ],
    [
      ['Vary', 'A', 'Vary', 'B'],
      ['Vary', 'A', 'Vary', 'B, Origin', ...ours],
    ],
    [
      ['Vary', 'ORIGIN, A', 'Vary', 'B'],
      ['Vary', 'ORIGIN, A', 'Vary', 'B', ...ours],
    ],
    [
      ['Vary', '*'],
      ['Vary', '*', ...ours],
    ],
    [
      ['Vary', 'X-Origin'],
      ['Vary', 'X-Origin, Origin', ...ours],
    ],
    [
      ['Access-Control-Expose-Headers', 'X-Total'],
      ['Access-Control-Expose-Headers', 'X-Total', 'Vary', 'Origin', ...ours],
    ],
    [
      ['access-control-allow-credentials', 'false'],
      ['access-control-allow-credentials', 'true', 'Vary', 'Origin', ...ours.slice(2)],
    ],
  ]
  for (const [sent, expected] of rows) {
    const headers = [...sent]
    addCorsHeaders(headers, listed, app)
    t.same(headers, expected)
  }
  for (const origin of [undefined, 'https://evil.example', 'null', '']) {
    const headers = ['Vary', 'A']
    addCorsHeaders(headers, listed, origin)
    t.same(headers, ['Vary', 'A, Origin'], `only Vary for ${origin}`)
  }
  t.end()
})

void t.test('an application’s response with its own Access-Control-Allow-Origin stays as it is', (t) => {
  for (const value of ['*', app, 'https://evil.example', '']) {
    const sent = ['Vary', 'A', 'access-control-allow-origin', value, 'Access-Control-Expose-Headers', 'X']
    const headers = [...sent]
    addCorsHeaders(headers, listed, app)
    t.same(headers, sent)
  }
  t.end()
})

void t.test('a listed origin passes the CSRF check, also for a WebSocket, and no other origin does', (t) => {
  const passes = (headers: Record<string, string>, method = 'POST'): boolean =>
    passesCsrfCheck(factsOf({ method, headers }), compiled(listed), sessionOf())
  for (const site of ['same-site', 'cross-site', 'none']) {
    t.ok(passes({ 'origin': app, 'sec-fetch-site': site }), site)
    t.ok(passes({ 'origin': app, 'sec-fetch-site': site, 'upgrade': 'websocket' }, 'GET'), `a WebSocket, ${site}`)
  }
  t.ok(passes({ origin: app }))
  for (const origin of ['https://evil.example', 'null', `${app}:8443`, `${app}, ${app}`]) {
    t.notOk(passes({ origin, 'sec-fetch-site': 'cross-site' }), origin)
    t.notOk(passes({ origin, upgrade: 'websocket' }, 'GET'), `a WebSocket of ${origin}`)
  }
  t.notOk(passes({ 'sec-fetch-site': 'cross-site', 'referer': `${app}/` }), 'a Referer does not count')
  t.end()
})

void t.test('a route that lets more origins call is the more lenient twin of a path with a trailing slash', (t) => {
  const routes = compileRoutes([routeOf({ path: '/**', ...listed }), routeOf({ path: '/admin' })], '/oauth2')
  const host = 'orders.example.com'
  t.equal(routes.conflictingVariant(host, 'POST', '/admin/', routes.match(host, 'POST', '/admin/')), '/admin')
  const both = compileRoutes([routeOf({ path: '/**', ...listed }), routeOf({ path: '/admin', ...listed })], '/oauth2')
  t.equal(both.conflictingVariant(host, 'POST', '/admin/', both.match(host, 'POST', '/admin/')), null)
  t.end()
})
