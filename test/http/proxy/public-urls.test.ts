import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import type { Route } from '../../../src/config/schema.ts'
import { toPublicUrls } from '../../../src/http/proxy/public-urls.ts'
import { startApplication, type Application } from '../../support/application.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header } from '../../support/raw-http.ts'
import { openWebSocket } from '../../support/websocket.ts'
import { compiled, factsOf } from '../../gate/request.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

type Rows = readonly (readonly [sent: string, received: string])[]

/** Returns what the client receives for a header of the application. */
const received = (name: string, value: string, route: Partial<Route>, facts = factsOf()): string => {
  const headers = ['X-Before', '/x', name, value, 'X-After', '/x']
  toPublicUrls(headers, compiled(route), facts, { basePath: '/oauth2' })
  t.same(
    [headers.slice(0, 3), headers.slice(4)],
    [
      ['X-Before', '/x', name],
      ['X-After', '/x'],
    ],
  )
  return headers[3] ?? ''
}

const unchanged = (...values: string[]): Rows => values.map((value) => [value, value])

const strip: Partial<Route> = { stripPrefix: '/app' }
const rewrite: Partial<Route> = { rewritePrefix: { from: '/app', to: '/ctx' } }
const ownHost: Partial<Route> = {
  upstream: { origin: 'http://app.internal:3000', socketPath: null },
  upstreamHost: 'upstream',
}

void t.test('a URL of the application gets the prefix, and one that is public already stays', (t) => {
  const rows: Rows = [
    ['/login', '/app/login'],
    ['/', '/app/'],
    ['/apple', '/app/apple'],
    ['/a?b=/c&d=https://e/f#/g', '/app/a?b=/c&d=https://e/f#/g'],
    ['/?x', '/app/?x'],
    ['/caf\u00e9', '/app/caf\u00e9'],
    ['https://orders.example.com/login?x#y', 'https://orders.example.com/app/login?x#y'],
    ['https://orders.example.com', 'https://orders.example.com/app/'],
    ['https://orders.example.com?x', 'https://orders.example.com/app/?x'],
    ['HTTPS://Orders.Example.com:443/login', 'HTTPS://Orders.Example.com:443/app/login'],
    ['http://orders.example.com/login', 'http://orders.example.com/app/login'],
    ...unchanged(
      '/app',
      '/app/login',
      '/app?x',
      'https://orders.example.com/app/login',
      '',
      'login',
      '../login',
      './',
      '?page=2',
      '#top',
      '//orders.example.com/login',
      '//other.example/login',
      '/\\other.example/login',
      'https://other.example/login',
      'https://orders.example.com.evil.example/login',
      'https://orders.example.com:8443/login',
      'https://orders.example.com@evil.example/login',
      'https://orders.example.com\\@evil.example/login',
      'http://127.0.0.1:3000/login',
      'mailto:alice@example.com',
      '/oauth2/logout?redirect=/app/',
      '/oauth2/login',
    ),
  ]
  for (const name of ['Location', 'content-location'])
    for (const [sent, expected] of rows) t.equal(received(name, sent, strip), expected, sent)
  t.end()
})

void t.test('with rewritePrefix, the old prefix replaces the new one', (t) => {
  const rows: Rows = [
    ['/ctx', '/app'],
    ['/ctx/', '/app/'],
    ['/ctx/login?x', '/app/login?x'],
    ['https://orders.example.com/ctx/x', 'https://orders.example.com/app/x'],
    ...unchanged('/', '/other', '/ctxt', '/app/login', 'https://orders.example.com/other'),
  ]
  for (const [sent, expected] of rows) t.equal(received('Location', sent, rewrite), expected, sent)
  t.equal(received('Location', '/x', { rewritePrefix: { from: '/app', to: '' } }), '/app/x')
  const longer: Partial<Route> = { rewritePrefix: { from: '/app', to: '/app/v2' } }
  t.equal(received('Location', '/app/v2/x', longer), '/app/x')
  t.equal(received('Location', '/app/x', longer), '/app/x')
  const shorter: Partial<Route> = { rewritePrefix: { from: '/app/v2', to: '/app' } }
  t.equal(received('Location', '/app/x', shorter), '/app/v2/x')
  t.equal(received('Location', '/app/v2/x', shorter), '/app/v2/x')
  t.end()
})

void t.test('with upstreamHost, the public origin replaces the application’s own', (t) => {
  const rows: Rows = [
    ['http://app.internal:3000/login?x', 'https://orders.example.com/app/login?x'],
    ['https://app.internal:3000/login', 'https://orders.example.com/app/login'],
    ['http://APP.internal:3000', 'https://orders.example.com/app/'],
    ['http://app.internal:3000/app/x', 'https://orders.example.com/app/x'],
    ['/login', '/app/login'],
    ...unchanged('http://app.internal/login', 'http://other.internal:3000/x', '//app.internal:3000/x'),
  ]
  for (const [sent, expected] of rows) t.equal(received('Location', sent, { ...strip, ...ownHost }), expected, sent)
  t.equal(
    received('Location', 'http://app.internal:3000/x', ownHost),
    'https://orders.example.com/x',
    'without a prefix',
  )
  t.equal(received('Location', 'https://orders.example.com', ownHost), 'https://orders.example.com')
  t.equal(received('Set-Cookie', 'a=b; Path=/', ownHost), 'a=b; Path=/')
  const named: Partial<Route> = { ...ownHost, upstreamHost: 'shop.example' }
  t.equal(received('Location', 'https://shop.example/x', named), 'https://orders.example.com/x')
  t.equal(received('Location', 'http://app.internal:3000/x', named), 'https://orders.example.com/x')
  t.equal(
    received('Location', 'http://app.internal:3000/x', { ...named, prefixHeaders: false }),
    'http://app.internal:3000/x',
  )
  t.end()
})

void t.test('cookie paths get the prefix', (t) => {
  const rows: Rows = [
    ['a=b; Path=/', 'a=b; Path=/app'],
    ['a=b; path=/; HttpOnly', 'a=b; path=/app; HttpOnly'],
    ['a=b;PATH = /sub ;Secure', 'a=b;PATH = /app/sub ;Secure'],
    ['a=b; Path="/"; Version=1', 'a=b; Path="/app"; Version=1'],
    ['a=path=/; Path=/x/; Path=/y', 'a=path=/; Path=/app/x/; Path=/app/y'],
    ['__Secure-a=b; Path=/; Secure', '__Secure-a=b; Path=/app; Secure'],
    ...unchanged(
      'a=b',
      'a=/; HttpOnly',
      'a=b; Path=/app',
      'a=b; Path=/app/sub',
      'a=b; Path=',
      'a=b; Path=sub',
      '__Host-a=b; Path=/; Secure',
      '__host-a=b; Path=/; Secure',
      'a=b; XPath=/x',
    ),
  ]
  for (const [sent, expected] of rows) t.equal(received('Set-Cookie', sent, strip), expected, sent)
  const rewritten: Rows = [
    ['a=b; Path=/ctx', 'a=b; Path=/app'],
    ['a=b; Path=/ctx/', 'a=b; Path=/app/'],
    ['a=b; Path=/ctx/x', 'a=b; Path=/app/x'],
    ...unchanged('a=b; Path=/', 'a=b; Path=/other'),
  ]
  for (const [sent, expected] of rewritten) t.equal(received('Set-Cookie', sent, rewrite), expected, sent)
  t.end()
})

void t.test('a cookie without a path, set at the prefix itself, gets the prefix as its path', (t) => {
  const at = (path: string): ReturnType<typeof factsOf> => factsOf({ path })
  const rows: Rows = [
    ['a=b', 'a=b; Path=/app'],
    ['a=b; HttpOnly', 'a=b; HttpOnly; Path=/app'],
    ['a=b; Path=', 'a=b; Path=; Path=/app'],
    ['a=b; Path=sub', 'a=b; Path=sub; Path=/app'],
    ['a=b; Path=/x', 'a=b; Path=/app/x'],
    ...unchanged('__Host-a=b; Secure', 'a=b; Path=/app'),
  ]
  for (const [sent, expected] of rows) t.equal(received('Set-Cookie', sent, strip, at('/app')), expected, sent)
  const toRoot: Partial<Route> = { rewritePrefix: { from: '/a/b', to: '' } }
  t.equal(received('Set-Cookie', 'a=b', toRoot, at('/a/b')), 'a=b; Path=/a/b')
  for (const path of ['/app/', '/app/x', '/app/x/'])
    t.equal(received('Set-Cookie', 'a=b', strip, at(path)), 'a=b', path)
  t.equal(received('Set-Cookie', 'a=b', rewrite, at('/app')), 'a=b', 'the default path is / at the application, too')
  t.equal(received('Set-Cookie', 'a=b', ownHost, at('/')), 'a=b', 'without a prefix')
  t.equal(received('Set-Cookie', 'a=b', { ...strip, prefixHeaders: false }, at('/app')), 'a=b')
  t.end()
})

void t.test('with upstreamHost, a cookie loses the Domain that names the application', (t) => {
  const rows: Rows = [
    ['a=b; Domain=app.internal', 'a=b'],
    ['a=b; Domain=app.internal; Path=/; Secure', 'a=b; Path=/; Secure'],
    ['a=b; Path=/;domain = .APP.internal ;Secure', 'a=b; Path=/;Secure'],
    ['a=b; Domain="app.internal"; Secure', 'a=b; Secure'],
    ['__Secure-a=b; Secure; Domain=app.internal', '__Secure-a=b; Secure'],
    ...unchanged(
      'a=b',
      'a=domain=app.internal',
      'a=b; Domain=internal',
      'a=b; Domain=x.app.internal',
      'a=b; Domain=other.example',
      'a=b; Domain=example.com',
      'a=b; Domain=orders.example.com',
      'a=b; Domain=',
      'a=b; XDomain=app.internal',
    ),
  ]
  for (const [sent, expected] of rows) t.equal(received('Set-Cookie', sent, ownHost), expected, sent)
  const named: Partial<Route> = { ...ownHost, upstreamHost: 'shop.example:8443' }
  t.equal(received('Set-Cookie', 'a=b; Domain=shop.example', named), 'a=b')
  t.equal(received('Set-Cookie', 'a=b; Domain=shop.example; Path=/', { ...named, ...strip }), 'a=b; Path=/app')
  const parent: Partial<Route> = { ...ownHost, upstreamHost: 'example.com' }
  t.equal(received('Set-Cookie', 'a=b; Domain=example.com', parent), 'a=b; Domain=example.com', 'a browser accepts it')
  for (const off of [{ ...named, prefixHeaders: false }, strip, {}])
    t.equal(received('Set-Cookie', 'a=b; Domain=shop.example', off), 'a=b; Domain=shop.example')
  t.end()
})

void t.test('a browser sends back the cookies of an application with a prefix and a Host of its own', async (t) => {
  const application = await startApplication(t, ({ headers }, res) => {
    if (headers.cookie === undefined) res.setHeader('Set-Cookie', ['own=1', 'named=1; Domain=shop.internal; Path=/'])
    res.end(String(headers.cookie))
  })
  const { url } = await startGateway(t, {
    idp,
    config: {
      upstream: application.url,
      routes: [
        { path: '/legacy/**', access: 'public', stripPrefix: '/legacy', upstreamHost: 'shop.internal' },
        { path: '/**', access: 'public' },
      ],
    },
  })
  const browser = createBrowser()
  await browser.get(`${url}/legacy`)
  const seen = async (path: string): Promise<string[]> =>
    (await browser.get(`${url}${path}`)).body.split('; ').toSorted()
  t.same(await seen('/legacy'), ['named=1', 'own=1'])
  t.same(await seen('/legacy/x/y'), ['named=1', 'own=1'])
  t.same(await seen('/other'), ['undefined'])
})

void t.test('URLs with the prefixes of trusted proxies are public already', (t) => {
  const facts = factsOf({ headers: { 'X-Forwarded-Prefix': '/outer/, /inner' } })
  const behind = { ...facts, client: { ...facts.client, trusted: true } }
  t.equal(received('Location', '/outer/inner/app/x', strip, behind), '/outer/inner/app/x')
  t.equal(received('Location', '/x', strip, behind), '/app/x')
  t.equal(received('Location', '/outer/inner/app/x', strip, facts), '/app/outer/inner/app/x', 'an untrusted client')
  t.end()
})

/** An application that redirects, sets cookies and shows the prefix that it was told. */
const startShop = async (t: Test): Promise<Application> =>
  startApplication(t, ({ headers }, res) => {
    res.writeHead(302, [
      ['Location', '/login?next=/app'],
      ['content-location', '/orders/7'],
      ['Set-Cookie', 'a=b; Path=/'],
      ['Set-Cookie', '__Host-c=d; Path=/; Secure'],
      ['Set-Cookie', 'gatehouse=forged; Path=/'],
      ['X-Path', '/orders'],
    ])
    res.end(String(headers['x-forwarded-prefix']))
  })

void t.test('a prefix goes up, and comes back in redirects and cookie paths', async (t) => {
  const application = await startShop(t)
  const { url } = await startGateway(t, {
    idp,
    config: {
      upstream: application.url,
      trustedProxies: ['127.0.0.2'],
      routes: [
        { path: '/app/**', access: 'public', stripPrefix: '/app' },
        { path: '/off/**', access: 'public', stripPrefix: '/off', prefixHeaders: false },
        { path: '/**', access: 'public' },
      ],
    },
  })
  const forged = ['X-Forwarded-Prefix: /evil', 'X_Forwarded_Prefix: /evil']
  const answer = await ask(url, 'GET', '/app/orders', forged)
  t.equal(answer.body.toString(), '/app')
  t.notOk('x_forwarded_prefix' in (application.requests.at(-1)?.headers ?? {}))
  t.equal(header(answer, 'location'), '/app/login?next=/app')
  t.equal(header(answer, 'content-location'), '/app/orders/7')
  t.equal(header(answer, 'x-path'), '/orders')
  t.same(answer.headers.get('set-cookie'), ['a=b; Path=/app', '__Host-c=d; Path=/; Secure'])
  for (const path of ['/off/orders', '/orders']) {
    const other = await ask(url, 'GET', path, forged)
    t.equal(other.body.toString(), 'undefined', path)
    t.equal(header(other, 'location'), '/login?next=/app')
    t.same(other.headers.get('set-cookie'), ['a=b; Path=/', '__Host-c=d; Path=/; Secure'])
  }
})

void t.test('behind a trusted proxy that sent a prefix, the route’s own is appended', async (t) => {
  const application = await startShop(t)
  const { url } = await startGateway(t, {
    idp,
    config: {
      upstream: application.url,
      trustedProxies: ['127.0.0.1'],
      routes: [
        { path: '/app/**', access: 'public', rewritePrefix: { from: '/app', to: '/ctx' } },
        { path: '/**', access: 'public' },
      ],
    },
  })
  const sent = ['X-Forwarded-Prefix: /outer', 'X-Forwarded-Prefix: /inner', 'X_Forwarded_Prefix: /evil']
  t.equal((await ask(url, 'GET', '/app/x', sent)).body.toString(), '/outer, /inner, /app')
  t.notOk('x_forwarded_prefix' in (application.requests.at(-1)?.headers ?? {}))
  t.equal((await ask(url, 'GET', '/app/x')).body.toString(), '/app')
  t.equal((await ask(url, 'GET', '/x', ['X-Forwarded-Prefix: /outer'])).body.toString(), '/outer')
})

void t.test('loginRedirects are compared with what the application sent', async (t) => {
  const application = await startShop(t)
  const { url } = await startGateway(t, {
    idp,
    config: {
      upstream: application.url,
      routes: [{ path: '/app/**', access: 'public', stripPrefix: '/app', loginRedirects: ['/login'] }],
    },
  })
  const browser = createBrowser()
  t.equal((await browser.get(`${url}/app/x`, { kind: 'script' })).status, 401)
  t.equal((await browser.request('GET', `${url}/app/x`)).headers.location, '/app/login?next=/app')
})

void t.test('a WebSocket gets the prefix and the Host of the application', async (t) => {
  const upstream = await startUpstream()
  t.teardown(() => upstream.close())
  const { url } = await startGateway(t, {
    idp,
    upstream,
    config: { routes: [{ path: '/app/**', access: 'public', stripPrefix: '/app', upstreamHost: 'upstream' }] },
  })
  const socket = await openWebSocket(`${url}/app/ws`, { headers: [`Origin: ${url}`] })
  t.equal(socket.status, 101)
  socket.send('hello')
  t.match(await socket.next(), { payload: Buffer.from('hello') })
  t.match(upstream.requests.at(-1)?.headers, {
    'host': new URL(upstream.url).host,
    'x-forwarded-host': new URL(url).host,
    'x-forwarded-prefix': '/app',
  })
  socket.socket.destroy()
})
