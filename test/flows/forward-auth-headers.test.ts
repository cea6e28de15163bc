import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { loggedIn, type LoggedIn } from '../support/logged-in.ts'
import { ask, header } from '../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const routes = [
  { path: '/**', headers: { set: { 'X-User': '{claims.sub}' } } },
  { path: '/open/**', access: 'public' },
]
const start = async (t: Parameters<typeof loggedIn>[0], trustedProxies = ['127.0.0.1']): Promise<LoggedIn> =>
  loggedIn(t, { idp, config: { trustedProxies, routes } })

const cookieOf = ({ browser, url }: LoggedIn): string => `Cookie: ${browser.cookies.header(new URL(url))}`

/** What a browser adds to a script's request, and to a navigation. */
const fetched = ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Mode: cors', 'Sec-Fetch-Dest: empty']
const navigated = ['Sec-Fetch-Site: none', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document', 'Accept: text/html']

void t.test('a proxy that asks about another request gets the upstream headers', async (t) => {
  const running = await start(t)
  const { url } = running
  const rows: [who: string, target: string, headers: string[], method?: string][] = [
    // nginx copies what the client has sent, Sec-Fetch headers included.
    [
      'nginx',
      '/oauth2/auth',
      ['X-Original-Method: GET', `X-Original-URL: ${url}/orders?page=2`, 'X-Forwarded-For: 192.0.2.7', ...navigated],
    ],
    ['nginx, a script', '/oauth2/auth', ['X-Original-Method: GET', 'X-Original-URI: /api/orders', ...fetched]],
    [
      'Traefik',
      '/oauth2/auth',
      [
        'X-Forwarded-Method: GET',
        'X-Forwarded-Proto: http',
        `X-Forwarded-Host: ${new URL(url).host}`,
        'X-Forwarded-Uri: /orders',
        'X-Forwarded-For: 192.0.2.7',
        ...navigated,
      ],
    ],
    [
      'Caddy',
      '/oauth2/auth',
      [
        'X-Forwarded-Method: POST',
        'X-Forwarded-Uri: /orders',
        'X-Forwarded-For: 192.0.2.7',
        'Via: 1.1 Caddy',
        ...fetched,
      ],
    ],
    ['Envoy', '/oauth2/auth/orders?page=2', ['X-Envoy-Internal: true', 'Content-Length: 0']],
    [
      'Envoy, with what the client has sent',
      '/oauth2/auth/orders',
      ['X-Envoy-Internal: true', 'Content-Length: 0', 'X-Forwarded-For: 192.0.2.7', ...navigated],
    ],
    [
      'Envoy, with the request’s method',
      '/oauth2/auth/orders',
      ['X-Envoy-Internal: true', `Origin: ${url}`, 'Content-Length: 0'],
      'POST',
    ],
    ['a proxy that asks about / by itself', '/oauth2/auth', []],
  ]
  for (const [who, target, headers, method = 'GET'] of rows) {
    const answer = await ask(url, method, target, [cookieOf(running), ...headers])
    t.match([answer.status, header(answer, 'x-user'), header(answer, 'authorization')], [200, 'alice', /^Bearer /], who)
  }
})

void t.test('what a load balancer passes on for a browser gets the status alone', async (t) => {
  const running = await start(t)
  const { url, events } = running
  const passedOn = ['X-Forwarded-For: 192.0.2.7', 'X-Forwarded-Proto: http', `X-Forwarded-Host: ${new URL(url).host}`]
  const rows: [what: string, target: string, headers: string[]][] = [
    ['a navigation', '/oauth2/auth', [...passedOn, ...navigated]],
    ['a fetch', '/oauth2/auth', [...passedOn, ...fetched]],
    ['somebody’s program', '/oauth2/auth', passedOn],
    ['through a balancer that adds nothing', '/oauth2/auth', fetched],
    ['through one that says so in another way', '/oauth2/auth', ['Via: 1.1 balancer']],
    ['a link to a path behind it', '/oauth2/auth/orders', [...passedOn, ...navigated]],
    ['a fetch of a path behind it', '/oauth2/auth/orders', fetched],
    ['a path behind it with a header beside', '/oauth2/auth/orders', ['X-Original-URI: /orders', ...fetched]],
    ['a program at a path behind it', '/oauth2/auth/orders', passedOn],
    [
      'through an Envoy that carries the traffic',
      '/oauth2/auth/orders',
      ['X-Envoy-Internal: true', ...passedOn, ...navigated],
    ],
  ]
  for (const [what, target, headers] of rows) {
    const answer = await ask(url, 'GET', target, [cookieOf(running), ...headers])
    t.same([answer.status, header(answer, 'x-user'), header(answer, 'authorization')], [200, null, null], what)
  }
  t.equal(events('forward_auth_untold').length, rows.length, 'and the operator reads why')
})

void t.test('a balancer that describes the very request that it passes on has asked about nothing else', async (t) => {
  const running = await start(t)
  for (const described of [
    'X-Original-URI: /oauth2/auth',
    'X-Forwarded-Uri: /oauth2/auth?x=y',
    'X-Original-URL: /prefix/oauth2/auth',
    `X-Original-URL: ${running.url}/oauth2/auth`,
  ]) {
    const answer = await ask(running.url, 'GET', '/oauth2/auth', [
      cookieOf(running),
      described,
      'X-Forwarded-For: 192.0.2.7',
      ...navigated,
    ])
    t.same([header(answer, 'x-user'), header(answer, 'authorization')], [null, null], described)
  }
})

void t.test('Envoy’s method has to agree with what headers say of it', async (t) => {
  const running = await start(t)
  const status = async (method: string, named: string): Promise<number> =>
    (await ask(running.url, method, '/oauth2/auth/orders', [cookieOf(running), named, 'Content-Length: 0'])).status
  for (const name of ['X-Original-Method', 'X-Forwarded-Method']) {
    t.equal(await status('POST', `${name}: GET`), 400, name)
    t.equal(await status('POST', `${name}: POST`), 200, name)
  }
})

void t.test('who is not trusted hears of GET /, and no more when that is more than what is claimed', async (t) => {
  const running = await start(t, [])
  const named = async (what: string, cookie: string[]): Promise<(number | string | null)[]> => {
    const answer = await ask(running.url, 'GET', '/oauth2/auth', [...cookie, what])
    return [answer.status, header(answer, 'x-user'), header(answer, 'authorization')]
  }
  t.same(await named('X-Original-URL: /open/x', []), [401, null, null])
  t.same(await named('X-Original-URL: /orders', [cookieOf(running)]), [200, null, null])
  t.same(await named('X-Original-URL: /open/..%2forders', [cookieOf(running)]), [403, null, null])
})
