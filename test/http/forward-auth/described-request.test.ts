import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { readAuthUrl } from '../../../src/http/forward-auth/described-request.ts'
import { startGateway } from '../../support/gateway.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { ask, header, type RawAnswer } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const routes = [
  { path: '/**', headers: { set: { 'X-User': '{claims.sub}' } } },
  { path: '/open/**', access: 'public' },
  { path: '/keys/**', token: { header: 'X-Access-Token' }, headers: { set: { 'X-Groups': '{claims.groups}' } } },
  { path: '/read/**', access: 'public' },
  { path: '/read/**', methods: ['DELETE'], require: { claims: { groups: ['root'] } } },
]
const start = async (t: Parameters<typeof loggedIn>[0], config: object = {}): Promise<LoggedIn> =>
  loggedIn(t, {
    idp,
    config: { trustedProxies: ['127.0.0.1'], routes, forwardAuth: { listen: '127.0.0.1:0' }, ...config },
  })

/** The gateway of all tests that need no other configuration. */
const shared = await start(t)

const cookieOf = ({ browser, url }: LoggedIn): string => `Cookie: ${browser.cookies.header(new URL(url))}`

/** What a browser adds to a script's request, and to a navigation. */
const fetched = ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty']
const navigated = ['Sec-Fetch-Site: none', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Accept: text/html']

const about = (target: string, method = 'GET'): string[] => [
  `X-Original-Method: ${method}`,
  `X-Original-URI: ${target}`,
]

const told = (answer: RawAnswer): unknown[] => [
  answer.status,
  header(answer, 'x-user'),
  header(answer, 'authorization'),
]

void t.test('both paths of the endpoint give the verdict, by any method', async (t) => {
  const running = shared
  for (const target of ['/auth', '/oauth2/auth']) {
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'OPTIONS', 'PROPFIND']) {
      const answer = await ask(running.verdicts, method, target, [cookieOf(running), ...about('/orders'), ...fetched])
      t.match(told(answer), [200, 'alice', /^Bearer /], `${method} ${target}`)
    }
  }
})

void t.test('another spelling of the path gives no verdict', async (t) => {
  const running = shared
  for (const target of [
    '/oauth2/%61uth',
    '/%61uth',
    '/oauth2/auth/',
    '/auth/',
    '/oauth2//auth',
    '//auth',
    '//oauth2/auth',
    '/x/../auth',
    '/./auth',
    '/oauth2/auth;x',
    '/oauth2/AUTH',
    '/oauth2/auth%2f',
    '/oauth2/auth%3fx',
    '/oauth2/authx',
    '/auth-redirect',
    '/oauth2/auth-redirect',
    '/auth-redirectx/orders',
    '/auth%2dredirect/orders',
    '/AUTH-redirect/orders',
    `http://${new URL(running.url).host}/oauth2/auth`,
    `http://${new URL(running.verdicts).host}/auth`,
    '*',
  ]) {
    for (const named of [about('/'), about('/orders'), []]) {
      const answer = await ask(running.verdicts, 'GET', target, [cookieOf(running), ...named])
      t.match([answer.status >= 400 && answer.status <= 404, ...told(answer).slice(1)], [true, null, null], target)
    }
  }
})

void t.test('the forward-auth listener serves no other URLs', async (t) => {
  const running = shared
  for (const target of ['/', '/orders', '/oauth2/session', '/oauth2/login', '/oauth2/userinfo', '/livez', '/metrics']) {
    const answer = await ask(running.verdicts, 'GET', target, [cookieOf(running), ...about('/orders')])
    t.same(told(answer), [404, null, null], target)
  }
})

void t.test('the public listener has no such path, by any spelling, method or header', async (t) => {
  const running = shared
  const { url, upstream } = running
  upstream.requests.length = 0
  const asProxies = [
    [],
    about('/'),
    [`X-Original-URL: ${url}/`],
    ['X-Forwarded-Method: GET', 'X-Forwarded-Uri: /', `X-Forwarded-Host: ${new URL(url).host}`],
    ['X-Envoy-Internal: true', 'Content-Length: 0'],
  ]
  for (const target of [
    '/oauth2/auth',
    '/oauth2/auth?redirect=true',
    '/oauth2/auth/',
    '/oauth2/auth/orders',
    '/oauth2/auth-redirect/orders',
    '/oauth2/%61uth',
    '/oauth2/%61uth/orders',
    '/oauth2/auth%2forders',
    '/oauth2//auth',
    '/oauth2/./auth',
  ]) {
    for (const method of ['GET', 'POST', 'HEAD', 'OPTIONS', 'PROPFIND']) {
      for (const more of asProxies) {
        const answer = await ask(url, method, target, [cookieOf(running), ...more, ...fetched])
        t.same(told(answer), [404, null, null], `${method} ${target} ${more.join()}`)
      }
    }
  }
  t.same(upstream.requests, [])
})

void t.test('there is no verdict if no header names a request', async (t) => {
  const running = shared
  for (const [target, headers] of [
    ['/auth', []],
    ['/auth', ['X-Original-Method: GET']],
    ['/auth', ['X-Forwarded-Method: GET', `X-Forwarded-Host: ${new URL(running.url).host}`]],
    ['/auth', ['X-Original-URI:']],
    ['/oauth2/auth?redirect=true', navigated],
  ] as const) {
    const answer = await ask(running.verdicts, 'GET', target, [cookieOf(running), ...headers])
    t.same(told(answer), [400, null, null], headers.join())
  }
  t.match(running.events('bad_request').at(-1), { cause: /no X-Original-URL, X-Original-URI or X-Forwarded-Uri/ })
})

void t.test('there is no verdict if headers name different requests, or one of them is repeated', async (t) => {
  const running = shared
  const { host } = new URL(running.url)
  for (const headers of [
    ['X-Original-URI: /open/x', 'X-Forwarded-Uri: /orders'],
    ['X-Original-URI: /open/x', `X-Original-URL: http://${host}/orders`],
    ['X-Original-URI: /open/x', 'X-Original-URI: /orders'],
    ['X-Original-URL: /open/x', 'X-Original-URL: /orders'],
    ['X-Forwarded-Uri: /open/x', 'X-Forwarded-Uri: /open/x'],
    [...about('/open/x'), 'X-Forwarded-Method: POST'],
    ['X-Original-URI: /open/x', 'X-Original-Method: GET', 'X-Original-Method: POST'],
    [`X-Original-URL: http://${host}/open/x`, 'X-Forwarded-Host: other.example.com'],
    ['X-Forwarded-Uri: /open/x', `X-Forwarded-Host: ${host}`, 'X-Forwarded-Host: other.example.com'],
    [`X-Forwarded-Uri: http://${host}/open/x`, 'X-Forwarded-Host: other.example.com'],
    ['X-Original-URL: http://other.example.com\\@x/open/x'],
    ['X-Original-URL: ftp://other.example.com/open/x'],
    ['X-Forwarded-Uri: http://other.example.com/open/x'],
    ['X-Original-URI: /open/../orders\\x'],
    ['X-Original-URI: /open/x#/orders'],
  ]) {
    const answer = await ask(running.verdicts, 'GET', '/auth', [cookieOf(running), ...headers])
    t.same(told(answer), [400, null, null], headers.join(', '))
  }
  const envoy = async (...headers: string[]): Promise<number> =>
    (
      await ask(running.verdicts, 'POST', '/auth/open/x', [
        cookieOf(running),
        'Content-Length: 0',
        `Origin: ${running.url}`,
        ...headers,
      ])
    ).status
  t.equal(await envoy(), 200)
  t.equal(await envoy('X-Original-Method: POST'), 200)
  for (const one of ['X-Forwarded-Method: GET', 'X-Original-Method: GET', 'X-Forwarded-Uri: /open/x'])
    t.equal(await envoy(one), 400, one)
})

void t.test('Envoy appends the path and the query of the request to the endpoint’s path', async (t) => {
  const running = shared
  const envoy = async (target: string, ...headers: string[]): Promise<RawAnswer> =>
    ask(running.verdicts, 'GET', target, ['Content-Length: 0', ...headers])
  for (const own of ['/auth', '/oauth2/auth', '/auth-redirect', '/oauth2/auth-redirect']) {
    t.match(told(await envoy(`${own}/orders?page=2`, cookieOf(running))), [200, 'alice', /^Bearer /])
    t.match(told(await envoy(`${own}/`, cookieOf(running))), [200, 'alice', /^Bearer /], 'the start page')
    t.equal((await envoy(`${own}/open/x`)).status, 200)
    t.equal((await envoy(`${own}/oauth2/session`)).status, 403, 'the gateway’s own are no application')
    for (const query of ['', '?redirect=true', '?redirect=false']) {
      const navigation = await envoy(`${own}/orders${query}`, ...navigated)
      const redirects = own.endsWith('-redirect')
      t.equal(navigation.status, redirects ? 302 : 401, 'the client’s query says nothing')
      const target = encodeURIComponent(`/orders${query}`)
      t.equal(header(navigation, 'location'), redirects ? `${running.url}/oauth2/login?redirect=${target}` : null)
      t.equal((await envoy(`${own}/orders${query}`, ...fetched)).status, 401)
    }
  }
})

void t.test('paths under a base path of /auth are unambiguous', (t) => {
  const behind = (path: string, basePath: string): unknown => readAuthUrl({ path, query: '?x' }, basePath)?.described
  t.equal(behind('/auth/open/x', '/oauth2'), '/open/x?x')
  for (const [path, meaning] of [
    ['/auth', null],
    ['/auth/auth', null],
    ['/auth/auth/open/x', '/open/x?x'],
    ['/auth/open/x', undefined],
    ['/auth/auth-redirect/open/x', '/open/x?x'],
    ['/auth-redirect/open/x', '/open/x?x'],
    ['/auth/login', undefined],
  ] as const)
    t.equal(behind(path, '/auth'), meaning, path)
  t.end()
})

void t.test('a cookie of the gateway after a comma is refused, on every route', async (t) => {
  const running = shared
  const own = cookieOf(running).replace('Cookie: ', '')
  const cookies = async (target: string, value: string): Promise<number> =>
    (await ask(running.verdicts, 'GET', '/auth', [`Cookie: ${value}`, ...about(target)])).status
  for (const target of ['/orders', '/open/x']) {
    t.equal(await cookies(target, `a=1,gatehouse=x; ${own}`), 400)
    t.equal(await cookies(target, `a=1, \tgatehouse-tries=x; ${own}`), 400)
    t.equal(await cookies(target, `${own}; a=1,b=2,gatehouse`), 400)
    t.equal(await cookies(target, `${own}; a=1,b=2; c="x, mygatehouse=1"`), 200)
  }
})

void t.test('another spelling of a header that any route sets is refused, on every route', async (t) => {
  const running = shared
  for (const name of [
    'X_User',
    'X.User',
    'x_user',
    'X~User',
    'X_GROUPS',
    'X_Access-Token',
    'Content_Length',
    'X_Request_Id',
  ]) {
    for (const target of ['/orders', '/open/x']) {
      const answer = await ask(running.verdicts, 'GET', '/auth', [cookieOf(running), ...about(target), `${name}: root`])
      t.same(told(answer), [400, null, null], `${name} ${target}`)
    }
  }
  const exact = await ask(running.verdicts, 'GET', '/auth', [
    cookieOf(running),
    ...about('/orders'),
    'X-User: root',
    'x-user: root',
  ])
  t.match(told(exact), [200, 'alice', /^Bearer /], 'the proxy takes the verdict’s in place of this one')
})

void t.test(
  'the method must be named and known, and a method override that selects another route is refused',
  async (t) => {
    const running = shared
    const status = async (...headers: string[]): Promise<number> =>
      (await ask(running.verdicts, 'GET', '/auth', [cookieOf(running), ...headers])).status
    t.equal(await status(...about('/read/1')), 200)
    t.equal(await status(...about('/read/1', 'DELETE')), 403)
    for (const method of ['delete', 'Delete', 'DELETE1', 'GET DELETE', 'X'])
      t.equal(await status(...about('/read/1', method)), 400, method)
    for (const method of ['TRACE', 'TRACK', 'CONNECT']) t.equal(await status(...about('/orders', method)), 405, method)
    for (const name of ['X-HTTP-Method-Override', 'X_HTTP_Method_Override', 'X-HTTP-Method', 'X-Method-Override']) {
      t.equal(await status(...about('/read/1', 'POST'), `${name}: DELETE`), 400, name)
      t.equal(await status(...about('/orders', 'POST'), `${name}: DELETE`), 200, `${name}, where it selects nothing`)
    }
    t.equal(await status('X-Original-URI: /orders'), 200, 'not named, and it does not matter')
    t.equal(await status('X-Original-URI: /read/1'), 400, 'not named, and another one would be another route')
    t.equal(await status('X-Original-URI: /orders', 'Origin: https://evil.example', 'Sec-Fetch-Site: cross-site'), 400)
  },
)

void t.test('more header fields than a client and its proxy may send are refused before the decision', async (t) => {
  const running = shared
  const filled = async (count: number, url = running.verdicts): Promise<RawAnswer> => {
    const lines = ['Cookie: a=b', ...about('/open/x')]
    const more = Array.from({ length: count - lines.length - 2 }, (_, i) => `A${i}: 1`)
    return ask(url, 'GET', '/auth', [...more, ...lines])
  }
  t.equal((await filled(100)).status, 200)
  for (const count of [101, 999, 1000, 1001, 1100]) {
    const answer = await filled(count)
    t.same([answer.status, header(answer, 'gatehouse')], [431, 'bad_request'], String(count))
  }
})

void t.test('redirect=true redirects only a navigation to the login', async (t) => {
  const { verdicts, url } = await start(t, {
    routes: [...routes, { path: '/never/**', challenge: 401 }, { path: '/always/**', challenge: 'redirect' }],
  })
  const asked = async (target: string, headers: readonly string[], method = 'GET'): Promise<unknown[]> => {
    const answer = await ask(verdicts, 'GET', '/auth?redirect=true', [...about(target, method), ...headers])
    return [answer.status, header(answer, 'location')]
  }
  const login = `${url}/oauth2/login?redirect=%2Forders%3Fpage%3D2`
  t.same(await asked('/orders?page=2', navigated), [302, login])
  t.same(await asked('/orders?page=2', fetched), [401, null], 'a script')
  t.same(await asked('/always/x', fetched), [401, null], 'a script, where the route redirects')
  t.same(await asked('/never/x', navigated), [401, null], 'a route that never redirects')
  t.same(await asked('/orders', [...navigated, `Origin: ${url}`], 'POST'), [401, null], 'a form')
  const plain = await ask(verdicts, 'GET', '/auth', [...about('/orders?page=2'), ...navigated])
  t.same([plain.status, header(plain, 'location')], [401, null], 'without the parameter')
})

void t.test('the named host selects one of several public URLs', async (t) => {
  const { verdicts } = await startGateway(t, {
    idp,
    config: {
      publicUrl: ['http://127.0.0.1:1', 'http://other.example.com'],
      routes: [
        { path: '/**', access: 'public' },
        { path: '/**', host: 'other.example.com' },
      ],
      forwardAuth: { listen: '127.0.0.1:0' },
    },
  })
  const status = async (...headers: string[]): Promise<number> =>
    (await ask(verdicts, 'GET', '/auth', ['X-Forwarded-Method: GET', ...headers])).status
  t.equal(await status('X-Forwarded-Uri: /', 'X-Forwarded-Host: other.example.com'), 401)
  t.equal(await status('X-Forwarded-Uri: /', 'X-Forwarded-Host: Other.example.com:80'), 401)
  t.equal(await status('X-Forwarded-Uri: /', 'X-Forwarded-Host: 127.0.0.1:1'), 200)
  t.equal(await status('X-Original-URL: http://other.example.com/'), 401)
  t.equal(await status('X-Original-URL: http://127.0.0.1:1/'), 200)
  t.equal(
    await status('X-Forwarded-Uri: /', 'Host: other.example.com'),
    401,
    'the Host of the proxy’s own request is the fallback',
  )
})

void t.test('two valid session cookies are cleared once on the way to the login', async (t) => {
  const running = shared
  const second = createBrowser()
  await second.login(`${running.url}/`, 'bob')
  const both = `${cookieOf(running)}; ${second.cookies.header(new URL(running.url))}`
  const asked = async (cookie: string): Promise<RawAnswer> =>
    ask(running.verdicts, 'GET', '/auth?redirect=true', [...about('/orders'), ...navigated, cookie])
  const cleared = await asked(both)
  t.equal(cleared.status, 302)
  t.match(cleared.headers.get('set-cookie')?.join(), /gatehouse=; [^]*gatehouse-cleared=1/)
  t.equal((await asked(`${both}; gatehouse-cleared=1`)).status, 400, 'then the user is told what to do')
})

void t.test('the rate limit of requests counts the client that a trusted proxy names', async (t) => {
  const running = await start(t, { rateLimit: { requests: '2/1m' } })
  const status = async (client: string): Promise<number> =>
    (await ask(running.verdicts, 'GET', '/auth', [...about('/open/x'), `X-Forwarded-For: ${client}`])).status
  const statuses = [await status('192.0.2.7'), await status('192.0.2.7'), await status('192.0.2.7')]
  t.same(statuses, [200, 200, 429])
  t.equal(await status('192.0.2.8'), 200)
})

void t.test('with several public URLs, an unknown host gets no verdict', async (t) => {
  const admin = 'https://admin.example.com'
  const { verdicts } = await startGateway(t, {
    publicUrl: 'https://www.example.com',
    config: {
      publicUrl: ['https://www.example.com', admin],
      forwardAuth: { listen: '127.0.0.1:0' },
      routes: [
        { path: '/**', access: 'public' },
        { path: '/**', host: 'admin.example.com' },
      ],
    },
  })
  const about = async (host: string): Promise<number> =>
    (
      await ask(verdicts, 'GET', '/auth', [
        'X-Forwarded-Uri: /',
        'X-Forwarded-Method: GET',
        `X-Forwarded-Host: ${host}`,
      ])
    ).status
  t.equal(await about('www.example.com'), 200)
  for (const host of ['admin.example.com', 'ADMIN.example.com', 'admin.example.com.', 'admin.example.com:443'])
    t.equal(await about(host), 401, host)
  for (const host of ['admin.example.com:1234', 'admin.example.com.:1234', 'admin.example.com:80', 'other.example.com'])
    t.equal(await about(host), 400, host)
})
