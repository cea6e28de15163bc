import type { Test } from 'tap'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { ask, header, parseAnswers, sendRaw, type RawAnswer } from '../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

type Kind = 'navigation' | 'frame' | 'form' | 'script' | 'websocket'

const html = 'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8'
const fetched = (mode: string, site: string, dest = 'empty'): string[] => [
  `Sec-Fetch-Mode: ${mode}`,
  `Sec-Fetch-Site: ${site}`,
  `Sec-Fetch-Dest: ${dest}`,
]
const form = ['Content-Type: application/x-www-form-urlencoded', 'Content-Length: 0']

/** What clients really send. */
const clients: [name: string, kind: Kind, method: string, headers: string[]][] = [
  [
    'the address bar',
    'navigation',
    'GET',
    [html, ...fetched('navigate', 'none', 'document'), 'Sec-Fetch-User: ?1', 'Upgrade-Insecure-Requests: 1'],
  ],
  ['a link from another site', 'navigation', 'GET', [html, ...fetched('navigate', 'cross-site', 'document')]],
  ['a browser without Sec-Fetch', 'navigation', 'GET', [html]],
  ['HEAD of a browser', 'navigation', 'HEAD', [html, ...fetched('navigate', 'none', 'document')]],
  ['an iframe', 'frame', 'GET', [html, ...fetched('navigate', 'same-origin', 'iframe')]],
  ['an embedded object', 'frame', 'GET', [html, ...fetched('navigate', 'same-origin', 'object')]],
  ['a form', 'form', 'POST', [html, ...fetched('navigate', 'same-origin', 'document'), ...form]],
  ['a form of a browser without Sec-Fetch', 'form', 'POST', [html, ...form]],
  ['fetch', 'script', 'GET', ['Accept: */*', ...fetched('cors', 'same-origin')]],
  ['fetch that accepts a page', 'script', 'GET', [html, ...fetched('cors', 'same-origin')]],
  ['fetch in mode same-origin', 'script', 'GET', ['Accept: */*', ...fetched('same-origin', 'same-origin')]],
  ['an image', 'script', 'GET', ['Accept: image/webp,*/*', ...fetched('no-cors', 'same-origin', 'image')]],
  [
    'fetch with POST',
    'script',
    'POST',
    [
      'Accept: application/json',
      'Content-Type: application/json',
      'Content-Length: 0',
      ...fetched('cors', 'same-origin'),
    ],
  ],
  ['XMLHttpRequest with jQuery', 'script', 'GET', [html, 'X-Requested-With: XMLHttpRequest']],
  ['htmx', 'script', 'GET', [html, ...fetched('cors', 'same-origin'), 'HX-Request: true']],
  ['EventSource', 'script', 'GET', ['Accept: text/event-stream', ...fetched('cors', 'same-origin')]],
  ['a prefetch', 'script', 'GET', [html, ...fetched('navigate', 'same-origin', 'document'), 'Sec-Purpose: prefetch']],
  ['curl', 'script', 'GET', ['User-Agent: curl/8.5.0', 'Accept: */*']],
  ['a client that says nothing', 'script', 'GET', []],
  ['PUT', 'script', 'PUT', ['Content-Length: 0']],
  [
    'a WebSocket',
    'websocket',
    'GET',
    [
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ],
  ],
]

const isPage = (answer: RawAnswer): boolean => header(answer, 'content-type')?.startsWith('text/html') === true

const problemOf = (answer: RawAnswer): Record<string, unknown> => JSON.parse(answer.body.toString())

/** What every response of the gateway's own has in common; `method` HEAD has no body to look at. */
const looksOwn = (
  t: Test,
  answer: RawAnswer,
  kind: Kind,
  status: number,
  code: string,
  name: string,
  method: string,
): void => {
  t.equal(answer.status, status, name)
  t.equal(header(answer, 'gatehouse'), code, name)
  t.equal(header(answer, 'cache-control'), 'no-store', name)
  t.equal(header(answer, 'x-content-type-options'), 'nosniff', name)
  if (status === 302) return
  if (kind === 'script' || kind === 'websocket') {
    t.equal(header(answer, 'content-type'), 'application/problem+json', name)
    t.match(problemOf(answer), { type: 'about:blank', title: /\S/, status, code, detail: /\S/ }, name)
    return
  }
  t.ok(isPage(answer), name)
  if (method !== 'HEAD') t.match(answer.body.toString(), /<h1>[^]*Request [\w-]+/, name)
}

const cookieOf = async (url: string, user: string): Promise<string> => {
  const browser = createBrowser()
  await browser.login(`${url}/`, user)
  return `Cookie: gatehouse=${browser.cookies.get(url, 'gatehouse') ?? ''}`
}

/** A 401, or for a navigation the way to the login. */
const asksToLogIn = (
  t: Test,
  { url }: Running,
  answer: RawAnswer,
  client: (typeof clients)[number],
  code: string,
  query = '',
): void => {
  const [name, kind, method, headers] = client
  const login = new URL(
    kind === 'navigation'
      ? (header(answer, 'location') ?? '')
      : kind === 'script' || kind === 'websocket'
        ? String(problemOf(answer)['login_url'])
        : `${url}/oauth2/login`,
  )
  looksOwn(t, answer, kind, kind === 'navigation' ? 302 : 401, code, name, method)
  t.equal(login.origin + login.pathname, `${url}/oauth2/login`, name)
  t.equal(header(answer, 'www-authenticate'), kind === 'navigation' ? null : 'Bearer', name)
  t.notOk(
    answer.headers.get('set-cookie')?.some((line) => line.includes('-login-')),
    `${name}: no login cookie`,
  )
  if (kind === 'navigation') t.equal(login.searchParams.get('redirect'), '/orders?page=2', name)
  if (query !== '')
    t.ok(
      kind === 'form' || kind === 'frame' ? answer.body.toString().includes(query) : login.href.includes(query),
      `${name}: ${query}`,
    )
  t.equal(header(answer, 'hx-redirect') === null, !headers.includes('HX-Request: true'), name)
  if (kind === 'frame') t.match(answer.body.toString(), /target="_top"/, name)
}

void t.test('without a session a request is redirected to the login, or gets a 401', async (t) => {
  const running = await startGateway(t, { idp })
  for (const client of clients) {
    const answer = await ask(running.url, client[2], '/orders?page=2', client[3])
    asksToLogIn(t, running, answer, client, 'login_required')
    t.notOk(answer.headers.get('set-cookie'), `${client[0]}: no cookie at all`)
  }
  t.equal(running.upstream.requests.length, 0)
})

void t.test(
  'a request with an ended session is answered like one without a session, and the cookie is cleared',
  async (t) => {
    const running = await startGateway(t, { idp })
    const cookie = await cookieOf(running.url, 'alice')
    t.equal((await ask(running.url, 'POST', '/oauth2/logout/local', [cookie, 'Content-Length: 0'])).status, 204)
    const before = running.upstream.requests.length
    for (const client of clients) {
      const answer = await ask(running.url, client[2], '/orders?page=2', [...client[3], cookie])
      asksToLogIn(t, running, answer, client, 'session_expired')
      t.match(header(answer, 'set-cookie'), /^gatehouse=; .*Max-Age=0/, client[0])
    }
    t.equal(running.upstream.requests.length, before)
  },
)

void t.test('a request that needs a step-up goes to a login with the step-up, and the session stays', async (t) => {
  const running = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**' }, { path: '/orders', require: { acr: ['gold', 'platinum'] } }] },
  })
  const cookie = await cookieOf(running.url, 'alice')
  const before = running.upstream.requests.length
  for (const client of clients) {
    const answer = await ask(running.url, client[2], '/orders?page=2', [...client[3], cookie])
    asksToLogIn(t, running, answer, client, 'step_up_required', 'acr_values=gold+platinum')
    t.notOk(answer.headers.get('set-cookie'), client[0])
  }
  t.equal(running.upstream.requests.length, before)
})

void t.test('insufficient claims are a 403 that does not name them', async (t) => {
  const running = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**' }, { path: '/orders', require: { claims: { groups: 'kings' } } }] },
  })
  const cookie = await cookieOf(running.url, 'alice')
  for (const [name, kind, method, headers] of clients) {
    const answer = await ask(running.url, method, '/orders?page=2', [...headers, cookie])
    looksOwn(t, answer, kind, 403, 'forbidden', name, method)
    t.notMatch(answer.body.toString(), /kings|groups/)
  }
  t.match(running.events('forbidden')[0], { why: /groups/ }, 'the log has it')
})

void t.test('no route is a 404, an ambiguous path a 400, and an unreachable application a 502', async (t) => {
  const upstream = `http://127.0.0.1:${await freePort()}`
  const { url } = await startGateway(t, {
    idp,
    config: { upstream, routes: [{ path: '/public/**', access: 'public' }, { path: '/private/**' }] },
  })
  for (const [name, kind, method, headers] of clients) {
    looksOwn(t, await ask(url, method, '/nowhere', headers), kind, 404, 'not_found', name, method)
    looksOwn(t, await ask(url, method, '/public/../private/x', headers), kind, 400, 'ambiguous_path', name, method)
    looksOwn(t, await ask(url, method, '/public/%zz', headers), kind, 400, 'bad_request', name, method)
    looksOwn(t, await ask(url, method, '/public/x', headers), kind, 502, 'upstream_unreachable', name, method)
    looksOwn(t, await ask(url, method, '/oauth2/nothing', headers), kind, 404, 'not_found', name, method)
  }
})

void t.test('an unreachable provider yields a 503 with Retry-After, only for requests that need it', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: {
      provider: { issuer: `http://127.0.0.1:${await freePort()}` },
      routes: [{ path: '/**' }, { path: '/public/**', access: 'public' }],
    },
  })
  const browser = createBrowser()
  const answer = await browser.get(`${url}/oauth2/login`)
  t.equal(answer.status, 503)
  t.match(answer.headers['content-type'], /^text\/html/)
  t.match(answer.headers['retry-after'], /^\d+$/)
  t.equal(answer.headers.gatehouse, 'provider_unavailable')
  t.notOk(answer.headers['set-cookie'])
  t.equal((await browser.get(`${url}/public/x`)).status, 200)
  t.equal((await browser.get(`${url}/private`, { kind: 'script' })).status, 401)
})

void t.test('a cross-site request with a session is a 403', async (t) => {
  const { url, upstream } = await startGateway(t, { idp })
  const cookie = await cookieOf(url, 'alice')
  const before = upstream.requests.length
  const foreign: [string, Kind, string[]][] = [
    ['fetch', 'script', fetched('cors', 'cross-site')],
    ['fetch from a neighbor', 'script', fetched('cors', 'same-site')],
    ['an old browser’s fetch', 'script', ['Origin: https://evil.example']],
    ['a sandboxed page', 'script', ['Origin: null']],
    ['a form', 'form', [html, ...fetched('navigate', 'cross-site', 'document'), ...form.slice(0, 1)]],
    ['an old browser’s form', 'form', [html, 'Origin: https://evil.example', ...form.slice(0, 1)]],
  ]
  for (const [name, kind, headers] of foreign) {
    looksOwn(
      t,
      await ask(url, 'POST', '/api/echo', [...headers, cookie, 'Content-Length: 0']),
      kind,
      403,
      'cross_origin',
      name,
      'POST',
    )
  }
  t.equal(upstream.requests.length, before)
  for (const headers of [
    [`Origin: ${url}`],
    fetched('cors', 'same-origin'),
    fetched('navigate', 'none', 'document'),
    [],
  ]) {
    t.equal(
      (await ask(url, 'POST', '/api/echo', [...headers, cookie, 'Content-Length: 0'])).status,
      200,
      headers.join(),
    )
  }
  const socket = [
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    cookie,
  ]
  t.equal((await ask(url, 'GET', '/ws', [...socket, 'Origin: https://evil.example'])).status, 403, 'a WebSocket')
})

void t.test('csrf: off accepts a request from any origin', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: [{ path: '/**', csrf: 'off' }] } })
  t.equal(
    (
      await ask(url, 'POST', '/api/echo', [
        await cookieOf(url, 'alice'),
        'Origin: https://evil.example',
        'Content-Length: 0',
      ])
    ).status,
    200,
  )
})

void t.test('a public route never reads the session', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: [{ path: '/**', access: 'public' }] } })
  const cookie = await cookieOf(url.replace('/api', ''), 'alice')
  await ask(url, 'POST', '/oauth2/logout/local', [cookie, 'Content-Length: 0'])
  for (const headers of [[cookie], ['Cookie: gatehouse=rubbish'], [cookie, 'Origin: https://evil.example']]) {
    const answer = await ask(url, 'POST', '/api/echo', [...headers, 'Content-Length: 0'])
    t.equal(answer.status, 200)
    t.notOk(answer.headers.get('set-cookie'))
    t.notOk(upstream.requests.at(-1)?.headers.authorization)
  }
})

void t.test('an optional route uses a session if there is one, and works without one', async (t) => {
  const { url, upstream } = await startGateway(t, {
    idp,
    config: {
      routes: [
        { path: '/**', access: 'optional', headers: { set: { 'X-User': '{claims.sub}' } } },
        { path: '/in', access: 'required' },
      ],
    },
  })
  const browser = createBrowser()
  t.equal((await ask(url, 'GET', '/api/orders')).status, 200)
  t.notOk(upstream.requests.at(-1)?.headers['x-user'])
  await browser.login(`${url}/in`, 'alice')
  const cookie = `Cookie: gatehouse=${browser.cookies.get(url, 'gatehouse') ?? ''}`
  t.equal((await ask(url, 'GET', '/api/orders', [cookie])).status, 200)
  t.match(upstream.requests.at(-1)?.headers, { 'x-user': 'alice', 'authorization': /^Bearer / })
  t.equal(
    (await ask(url, 'POST', '/api/echo', [cookie, 'Origin: https://evil.example', 'Content-Length: 0'])).status,
    403,
    'with a session other sites write nothing',
  )
  t.equal((await ask(url, 'POST', '/api/echo', ['Origin: https://evil.example', 'Content-Length: 0'])).status, 200)
  await ask(url, 'POST', '/oauth2/logout/local', [cookie, 'Content-Length: 0'])
  t.equal((await ask(url, 'GET', '/api/orders', [cookie])).status, 200, 'an ended session counts as none')
  t.notOk(upstream.requests.at(-1)?.headers['x-user'])
})

void t.test('claims match by name, by path, in lists and as numbers', async (t) => {
  const claims = { 'level': 3, 'realm_access': { roles: ['editor'] }, 'https://example.com/role': 'boss' }
  const { url } = await startGateway(t, {
    idp: { users: [{ sub: 'dora', name: 'Dora', email: 'dora@example.com', groups: ['staff', 'admin'], claims }] },
    config: {
      routes: [
        { path: '/**' },
        ...[
          { groups: ['other', 'admin'] },
          { level: [3] },
          { 'realm_access.roles': 'editor' },
          { 'https://example.com/role': 'boss' },
          { groups: 'staff', level: 3 },
        ].map((wanted, i) => ({ path: `/yes/${i}`, require: { claims: wanted } })),
        ...[
          { groups: 'other' },
          { level: [4] },
          { 'realm_access.roles': 'admin' },
          { missing: 'x' },
          { groups: 'staff', level: 4 },
        ].map((wanted, i) => ({ path: `/no/${i}`, require: { claims: wanted } })),
      ],
    },
  })
  const cookie = await cookieOf(url, 'dora')
  for (let i = 0; i < 5; i += 1) {
    t.equal((await ask(url, 'GET', `/yes/${i}`, [cookie])).status, 404, `the application’s 404 for /yes/${i}`)
    t.equal((await ask(url, 'GET', `/no/${i}`, [cookie])).status, 403, `/no/${i}`)
  }
})

void t.test('challenge can be redirect or 401', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: {
      routes: [
        { path: '/**' },
        { path: '/r', challenge: 'redirect' },
        { path: '/u', challenge: '401' },
        { path: '/n', challenge: 401 },
      ],
    },
  })
  for (const [name, kind, method, headers] of clients) {
    t.equal((await ask(url, method, '/r', headers)).status, kind === 'websocket' ? 401 : 302, name)
    t.equal((await ask(url, method, '/u', headers)).status, 401, name)
    t.equal((await ask(url, method, '/n', headers)).status, 401, name)
  }
})

void t.test('a script’s login returns to its page, and htmx gets HX-Redirect', async (t) => {
  const { url } = await startGateway(t, { idp })
  const loginUrl = async (headers: string[]): Promise<unknown> =>
    problemOf(await ask(url, 'GET', '/api/orders', headers))['login_url']
  t.equal(await loginUrl([`Referer: ${url}/current/page`]), `${url}/oauth2/login?redirect=%2Fcurrent%2Fpage`)
  t.equal(await loginUrl([]), `${url}/oauth2/login`)
  t.equal(await loginUrl(['Referer: https://evil.example/x']), `${url}/oauth2/login`)
  const htmx = await ask(url, 'GET', '/api/orders', ['HX-Request: true', `HX-Current-URL: ${url}/list?x=1`])
  t.equal(header(htmx, 'hx-redirect'), `${url}/oauth2/login?redirect=%2Flist%3Fx%3D1`)
  t.equal(problemOf(htmx)['login_url'], header(htmx, 'hx-redirect'))
})

void t.test('the operator configures script headers, and the message for scripts', async (t) => {
  const { url } = await startGateway(t, {
    idp,
    config: {
      scripts: { headers: [{ name: 'X-Ajax', value: '1' }, { name: 'X-App' }], message: 'Please reload the page.' },
    },
  })
  for (const line of ['X-Ajax: 1', 'x-app: anything']) {
    const answer = await ask(url, 'GET', '/', [html, line])
    t.equal(answer.status, 401, line)
    t.match(problemOf(answer), { detail: 'Please reload the page.' })
  }
  t.equal((await ask(url, 'GET', '/', [html, 'X-Ajax: 2'])).status, 302)
  t.notMatch((await ask(url, 'POST', '/', clients[6]?.[3] ?? [])).body.toString(), /reload/, 'a page has another text')
})

void t.test('an endpoint accepts a script’s body headers without a body', async (t) => {
  const { url } = await startGateway(t, { idp })
  const cookie = await cookieOf(url, 'alice')
  for (const type of [
    'application/json',
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/x-unheard-of',
  ]) {
    for (const body of ['', '{', 'a=b']) {
      const lines = [
        `POST /oauth2/session/refresh HTTP/1.1`,
        'Host: a',
        'Connection: close',
        cookie,
        `Content-Type: ${type}`,
        `Content-Length: ${body.length}`,
        '',
        body,
      ]
      const [answer] = parseAnswers(await sendRaw(url, lines.join('\r\n')))
      t.equal(answer?.status, 200, `${type}: ${body}`)
    }
  }
})

void t.test('a prefetch of an endpoint that changes state has no effect', async (t) => {
  const { url } = await startGateway(t, { idp })
  const cookie = await cookieOf(url, 'alice')
  for (const line of [
    'Sec-Purpose: prefetch',
    'Purpose: prefetch',
    'X-Moz: prefetch',
    'Sec-Purpose: prefetch;prerender',
  ]) {
    for (const path of ['login', 'start', 'sign_in', 'callback?code=x&state=y', 'logout', 'sign_out']) {
      const answer = await ask(url, 'GET', `/oauth2/${path}`, [html, line, cookie])
      t.equal(answer.status, 204, `${path} with ${line}`)
      t.notOk(answer.headers.get('set-cookie'))
    }
  }
  t.equal((await ask(url, 'GET', '/api/orders', [cookie])).status, 200, 'the session lives')
})
