import t from 'tap'
import type { Route } from '../../src/config/schema.ts'
import { compileRoutes, type Match } from '../../src/gate/match.ts'
import { bearerOf, requirement, routeOf } from './request.ts'

const tableOf = (...routes: (string | Partial<Route>)[]) =>
  compileRoutes(
    routes.map((route) => routeOf(typeof route === 'string' ? { path: route } : route)),
    '/oauth2',
  )

const name = (match: Match): string | null => (match === null || match === 'endpoint' ? match : match.label)

void t.test('the most specific path wins, whatever the order of the routes', (t) => {
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

void t.test('* matches exactly one segment, ** any number including zero', (t) => {
  const table = tableOf('/a/*/c', '/d/**')
  t.equal(name(table.match('h', 'GET', '/a/b/c')), '/a/*/c')
  t.equal(table.match('h', 'GET', '/a/c'), null)
  t.equal(table.match('h', 'GET', '/a//c'), null, 'an empty segment does not match')
  t.equal(table.match('h', 'GET', '/a/b/b/c'), null)
  t.equal(name(table.match('h', 'GET', '/d')), '/d/**')
  t.equal(name(table.match('h', 'GET', '/d/')), '/d/**')
  t.equal(name(table.match('h', 'GET', '/d/e/f/g')), '/d/**')
  t.equal(table.match('h', 'GET', '/dd'), null)
  t.end()
})

void t.test('a dead end falls back to the next pattern', (t) => {
  const table = tableOf('/a/b/c', '/a/*/d', '/a/**')
  t.equal(name(table.match('h', 'GET', '/a/b/d')), '/a/*/d')
  t.equal(name(table.match('h', 'GET', '/a/b/e')), '/a/**')
  t.end()
})

void t.test('for equal paths a route with a host wins, then a route with a method', (t) => {
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

void t.test('a variant that selects another route is found', (t) => {
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
  for (const path of elsewhere)
    t.not(table.conflictingVariant('h', 'GET', path, table.match('h', 'GET', path)), null, path)
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
  for (const path of clear)
    t.equal(table.conflictingVariant('h', 'GET', path, table.match('h', 'GET', path)), null, path)
  t.end()
})

void t.test('a variant of a protected path is refused, and a variant that selects no other route passes', (t) => {
  const table = tableOf({ path: '/**', access: 'public' }, '/secret/**', '/exact')
  const reading = (path: string): string | null =>
    table.conflictingVariant('h', 'GET', path, table.match('h', 'GET', path))
  for (const path of [
    '/secret%3fx',
    '/public/..%2fsecret%3fx',
    '/sec%09ret/x',
    '/sec%0aret',
    '//host/secret',
    '/%5c%5chost/secret/x',
    '/secret.',
    '/secret./x',
    '/secret%20',
    '/secret::$DATA',
    '/secret:$i30:$index_allocation/x',
    '/%EF%BD%93ecret/x',
    '/%EF%BC%B3ECRET',
    '/public%EF%BC%8F..%EF%BC%8Fsecret',
    '/exact.',
    '/exact%20/',
    '/exact%3f/x',
  ])
    t.not(reading(path), null, path)
  for (const path of [
    '/what%3f',
    '/c%23/x',
    '/a%09b',
    '/end.',
    '/v1:batch',
    '/secret:x',
    '/exact/x',
    '/exact.html',
    '/%EF%BD%81',
    '/secret/a%3fb',
    '/secret/%EF%BD%93ecret.',
    '/users:$me',
  ])
    t.equal(reading(path), null, path)
  t.end()
})

void t.test('a trailing slash does not bypass a route', (t) => {
  const claims = requirement({ claims: { groups: ['staff'] } })
  const inner = { claims: { groups: ['staff'] }, networks: null, any: null, not: null }
  const refused: [routes: Parameters<typeof tableOf>, path: string, reading: string][] = [
    [[{ path: '/**', access: 'public' }, '/admin'], '/admin/', '/admin'],
    [[{ path: '/**', access: 'public' }, '/admin'], '/admin//', '/admin'],
    [[{ path: '/**', access: 'public' }, '/admin'], '/admin/.', '/admin'],
    [[{ path: '/**', access: 'public' }, '/admin'], '/ADMIN/', '/admin'],
    [[{ path: '/**', access: 'public' }, '/admin'], '/%61dmin/', '/admin'],
    [[{ path: '/**', access: 'optional' }, '/Admin'], '/Admin/', '/admin'],
    [[{ path: '/**', access: 'optional' }, '/Admin'], '/admin/', '/admin'],
    [[{ path: '/**', access: 'public' }, '/admin/'], '/admin', '/admin/'],
    [[{ path: '/**', access: 'public' }, '/a/*'], '/a/b/', '/a/b'],
    [['/**', { path: '/admin', require: claims }], '/admin/', '/admin'],
    [['/**', { path: '/admin', require: requirement({ networks: ['10.0.0.0/8'] }) }], '/admin/', '/admin'],
    [['/**', { path: '/admin', require: requirement({ any: [inner] }) }], '/admin/', '/admin'],
    [['/**', { path: '/admin', require: requirement({ not: inner }) }], '/admin/', '/admin'],
    [[{ path: '/**', bearer: bearerOf() }, '/admin'], '/admin/', '/admin'],
    [
      [
        { path: '/**', bearer: bearerOf() },
        { path: '/admin', bearer: bearerOf({ require: requirement({ networks: ['10.0.0.0/8'] }) }) },
      ],
      '/admin/',
      '/admin',
    ],
    [['/**', { path: '/admin', provider: ['staff'] }], '/admin/', '/admin'],
    [[{ path: '/**', csrf: 'off' }, '/admin'], '/admin/', '/admin'],
    [
      [{ path: '/admin/**', host: 'h', methods: ['POST'] }, { path: '/**', access: 'public' }, '/admin'],
      '/admin/',
      '/admin',
    ],
  ]
  for (const [routes, path, reading] of refused) {
    const table = tableOf(...routes)
    t.equal(table.conflictingVariant('h', 'GET', path, table.match('h', 'GET', path)), reading, path)
  }
  const clear: [routes: Parameters<typeof tableOf>, path: string][] = [
    [[{ path: '/', access: 'public' }, '/**'], '/'],
    [[{ path: '/api', access: 'public' }, '/api/**'], '/api'],
    [[{ path: '/api', access: 'public' }, '/api/**'], '/api/'],
    [['/api', { path: '/api/**', access: 'public' }], '/api/'],
    [['/api', { path: '/api/**', access: 'public' }], '/api/x/'],
    [['/api', { path: '/api/', access: 'public' }], '/api/'],
    [['/api/', { path: '/api', access: 'public' }], '/api'],
    [['/**', { path: '/login', access: 'public' }], '/login/'],
    [['/**', '/admin'], '/admin/'],
    [
      [
        { path: '/**', bearer: bearerOf() },
        { path: '/admin', bearer: bearerOf() },
      ],
      '/admin/',
    ],
    [['/**', { path: '/admin', bearer: bearerOf() }], '/admin/'],
    [['/**', { path: '/a/*', access: 'public' }, { path: '/b/', access: 'public' }], '/a/x'],
    [
      [
        { path: '/**', require: claims },
        { path: '/x', require: claims },
      ],
      '/x/',
    ],
    [['/x'], '/x/'],
    [[{ path: '/**', access: 'public' }, '/admin'], '/admin/x'],
    [[{ path: '/**', access: 'public' }, '/admin'], '/administrators/'],
  ]
  for (const [routes, path] of clear) {
    const table = tableOf(...routes)
    t.equal(table.conflictingVariant('h', 'GET', path, table.match('h', 'GET', path)), null, path)
  }
  t.end()
})

void t.test('variants are compared for the host and the method of the request', (t) => {
  const table = tableOf(
    { path: '/x/**', access: 'public', host: 'a.example.com' },
    { path: '/y/**', methods: ['GET'] },
    '/**',
  )
  const odd = (host: string, method: string, path: string): boolean =>
    table.conflictingVariant(host, method, path, table.match(host, method, path)) !== null
  t.ok(odd('a.example.com', 'GET', '/x/../z'))
  t.notOk(odd('b.example.com', 'GET', '/x/../z'), 'there the route is the same')
  t.ok(odd('h', 'GET', '/y/../z'))
  t.notOk(odd('h', 'POST', '/y/../z'))
  t.end()
})

void t.test('a path without a route is ambiguous if a variant has a route', (t) => {
  const table = tableOf('/a/**')
  t.equal(table.match('h', 'GET', '/b/../a'), null)
  t.not(table.conflictingVariant('h', 'GET', '/b/../a', null), null)
  t.equal(table.conflictingVariant('h', 'GET', '/b/../c', null), null)
  t.end()
})

void t.test('patterns are case-sensitive, and a path that differs only in case is ambiguous', (t) => {
  const table = tableOf('/API/**', '/**')
  t.equal(name(table.match('h', 'GET', '/API/x')), '/API/**')
  t.equal(table.conflictingVariant('h', 'GET', '/API/x', table.match('h', 'GET', '/API/x')), null)
  t.not(table.conflictingVariant('h', 'GET', '/api/x', table.match('h', 'GET', '/api/x')), null)
  t.end()
})

void t.test('the search for variants stays cheap for the longest paths and many routes', (t) => {
  const table = tableOf('/**', ...Array.from({ length: 200 }, (_, i) => `/r${i}/*/*/**`))
  for (const piece of ['/r1', '/..;x%5c%2f', '/%252e%252e', '//', '/A;%2f', '/r.%20', '%EF%BC%8F%253f//x/']) {
    const path = `/r7/a/b${piece.repeat(Math.floor(16_000 / piece.length))}`
    const ms = Math.min(
      ...[1, 2, 3].map(() => {
        const start = performance.now()
        table.conflictingVariant('h', 'GET', path, table.match('h', 'GET', path))
        return performance.now() - start
      }),
    )
    t.ok(ms < 50, `${piece} in ${ms.toFixed(1)} ms`)
  }
  t.end()
})
