import { once } from 'node:events'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { createAuthority } from '../../support/certificates.ts'
import { documented } from '../../support/documented.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { ask, header, open as openSocket, openAndRead, sendRaw } from '../../support/raw-http.ts'
import { openWebSocket } from '../../support/websocket.ts'
import { documentedProxies, type StartProxy } from './documented-proxies.ts'
import { startEnvoyGateway, startIngressNginx, startIstio } from './kubernetes-proxies.ts'

// Real proxies with the configuration of docs/forward-auth.md, except for ports and file names. Each proxy and its
// gateway start once and serve all scenarios in order; the proxies are tested in parallel.
const [yaml = ''] = documented('forward-auth.md', 'yaml')
const { trustedProxies, routes }: { trustedProxies: string[]; routes: { headers?: object }[] } = parse(yaml)
const headers = routes[0]?.headers
const CORS_ORIGIN = 'https://app.example.org'

const authority = createAuthority()
const script = { kind: 'script' } as const

type Traits = {
  /** Whether the gateway itself answers a denied request, or the proxy passes on the verdict or replaces it. */
  readonly denied: 'gateway' | 'verdict' | 'proxy'
  /** The posted forms that are kept through a login. */
  readonly kept: 'all' | 'urlencoded' | 'none'
  /** The response without a verdict. */
  readonly unreachable: number
  /** Whether the proxy resolves `..` before it asks the gateway and the application. */
  readonly normalizes?: boolean
  /** Whether the example removes what the client says about the connection and the URL. */
  readonly removesClientHeaders?: boolean
}

/** What docs/forward-auth.md promises in its tables. */
const TRAITS: Readonly<Record<string, Traits>> = {
  'nginx': { denied: 'gateway', kept: 'all', unreachable: 502, removesClientHeaders: true },
  'Caddy': { denied: 'gateway', kept: 'all', unreachable: 502, removesClientHeaders: true },
  'HAProxy': { denied: 'gateway', kept: 'all', unreachable: 503, removesClientHeaders: true },
  'Traefik': { denied: 'verdict', kept: 'urlencoded', unreachable: 500, removesClientHeaders: true },
  'Envoy': { denied: 'verdict', kept: 'all', unreachable: 503, removesClientHeaders: true },
  'ingress-nginx': { denied: 'proxy', kept: 'none', unreachable: 500 },
  'Envoy Gateway': { denied: 'verdict', kept: 'none', unreachable: 503, normalizes: true },
  'Istio': { denied: 'verdict', kept: 'none', unreachable: 503, normalizes: true },
}

type Behind = Running & {
  readonly name: string
  readonly traits: Traits
  readonly site: string
  /** A browser that is logged in as alice. */
  readonly browser: Browser
  readonly cookie: string
  readonly newBrowser: () => Browser
}

const startBehind = async (t: Test, name: string, startProxy: StartProxy): Promise<Behind> => {
  const port = await freePort()
  const site = `https://127.0.0.1:${port}`
  const running = await startGateway(t, {
    publicUrl: site,
    config: {
      trustedProxies,
      routes: [
        ...routes,
        { path: '/api/echo/closed', require: { claims: { groups: 'none-has-this' } } },
        { path: '/api/echo/strong', require: { acr: 'urn:demo:mfa' } },
        { path: '/api/echo/exchanged', token: { grant: 'token-exchange', audience: 'api://orders' } },
        { path: '/api/echo/cross', cors: { origins: [CORS_ORIGIN] }, headers },
        { path: '/read/**', access: 'public' },
        { path: '/read/**', methods: ['DELETE'], require: { claims: { groups: 'none-has-this' } } },
      ],
      forwardAuth: { listen: '127.0.0.1:0' },
    },
  })
  const gateway = running.gateway.listener.address()
  await startProxy(t, {
    port,
    gateway: `127.0.0.1:${typeof gateway === 'object' && gateway !== null ? gateway.port : 0}`,
    verdicts: new URL(running.verdicts).host,
    application: new URL(running.upstream.url).host,
    certificate: authority.issue(['127.0.0.1']),
    cors: name === 'nginx',
  })
  const newBrowser = (): Browser => createBrowser({ ca: authority.ca })
  const browser = newBrowser()
  const { answer, hops } = await browser.login(`${site}/orders?page=2`, 'alice')
  t.equal(answer.url, `${site}/orders?page=2`)
  t.equal(hops[0]?.status, 302, 'a navigation is redirected to the login')
  t.match(running.upstream.requests.at(-1), {
    url: '/orders?page=2',
    headers: {
      'x-user': 'alice',
      'x-groups': 'staff,admin',
      'authorization': /^Bearer \S+$/,
      'host': new URL(site).host,
      'x-forwarded-proto': 'https',
    },
  })
  const cookie = `Cookie: ${browser.cookies.header(new URL(site))}`
  const traits = TRAITS[name]
  if (traits === undefined) throw new Error(`no traits of ${name}`)
  return { ...running, name, traits, site, browser, cookie, newBrowser }
}

type Scenario = (t: Test, behind: Behind) => Promise<void>

const injectedHeaders: Scenario = async (t, { site, browser, upstream }) => {
  const secure = 'Path=/; Secure'
  browser.cookies.store(new URL(site), [
    `__Host-gatehouse-tries=1.abcdefgh.0; ${secure}`,
    'theme=dark; Path=/',
    ...[0, 1, 2, 3].map((slot) => `__Host-gatehouse-login-${slot}=x; ${secure}`),
    'lang=de; Path=/',
    `__Host-gatehouse-cleared=1; ${secure}`,
    'my__Host-gatehouse=kept; Path=/',
  ])
  const forged = { 'x-user': 'root', 'x-groups': 'root', 'authorization': 'Bearer forged' }
  for (const [method, body, type] of [
    ['GET', undefined, undefined],
    ['POST', '{"n":1}', 'application/json'],
    ['POST', 'note=1', 'application/x-www-form-urlencoded'],
    ['POST', 'x'.repeat(400_000), 'application/x-www-form-urlencoded'],
    ['PUT', 'x'.repeat(2_000_000), 'application/octet-stream'],
  ] as const) {
    const answer = await browser.request(method, `${site}/api/echo`, {
      ...script,
      headers: { ...forged, ...(type === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body }),
    })
    const what = `${method} ${type ?? ''} ${body?.length ?? 0}`
    t.equal(answer.status, 200, what)
    t.match(answer.json(), { method, body: { length: body?.length ?? 0 } }, 'the whole body reaches the application')
    const { headers = {}, rawHeaders = [] } = upstream.requests.at(-1) ?? {}
    t.match(headers, { 'x-user': 'alice', 'x-groups': 'staff,admin', 'authorization': /^Bearer (?!forged)/ }, what)
    t.notMatch(rawHeaders.join(), 'root', what)
    const cookies = headers.cookie?.split('; ').filter((pair) => !pair.startsWith('demo_idp'))
    t.same(cookies?.toSorted(), ['lang=de', 'my__Host-gatehouse=kept', 'theme=dark'], what)
  }
  await browser.get(`${site}/public/x`, { ...script, headers: { cookie: '__Host-gatehouse=x' } })
  t.equal(upstream.requests.at(-1)?.headers.cookie, undefined, 'no cookie is left')
}

const otherSpellings: Scenario = async (t, { traits, site, browser, newBrowser, upstream }) => {
  for (const [client, path] of [
    [browser, '/api/echo'],
    [newBrowser(), '/public/x'],
  ] as const) {
    for (const name of ['X-User', 'x_user', 'X_USER', 'X.User', 'X_Groups']) {
      upstream.requests.length = 0
      const { status } = await client.get(site + path, { ...script, headers: { [name]: 'root' } })
      t.ok(status === 200 || status === 400, `${name} at ${path}: ${status}`)
      t.equal(upstream.requests.length, status === 200 ? 1 : 0)
      t.notMatch(upstream.requests.map(({ rawHeaders }) => rawHeaders.join()).join(), 'root', `${name} at ${path}`)
    }
    for (const name of [
      'x-forwarded-uri',
      'x-original-uri',
      'x-original-url',
      'x-forwarded-method',
      'x-original-method',
    ]) {
      upstream.requests.length = 0
      const lie = { [name]: name.endsWith('method') ? 'GET' : '/public/x' }
      const { status } = await newBrowser().request('POST', `${site}/api/echo`, { ...script, headers: lie, body: 'x' })
      t.match(String(status), traits.denied === 'proxy' ? /^(?:302|500)$/ : /^40[01]$/, name)
      t.same(upstream.requests, [])
    }
  }
}

const noSession: Scenario = async (t, { traits: { denied, kept }, site, newBrowser, upstream }) => {
  const browser = newBrowser()
  if (denied === 'proxy') {
    t.equal((await browser.get(`${site}/api/orders`, script)).status, 302, 'not even a script gets a 401')
    t.same(upstream.requests, [])
    return
  }
  const problem = await browser.get(`${site}/api/orders`, { ...script, from: `${site}/app` })
  t.match(problem.json(), { status: 401, code: 'login_required', login_url: `${site}/oauth2/login?redirect=%2Fapp` })
  t.match(problem.headers, {
    'www-authenticate': 'Bearer',
    'gatehouse': 'login_required',
    'content-type': 'application/problem+json',
  })
  const post = async (value: string): ReturnType<Browser['post']> =>
    browser.post(`${site}/orders`, new URLSearchParams({ note: value }), { from: `${site}/` })
  const form = await post('keep me')
  t.equal(form.status, 401)
  t.match(form.body, 'Sign in')
  t.match(form.headers['content-security-policy'], /script-src/)
  t.equal(form.body.includes('keep me'), kept !== 'none')
  if (kept !== 'none') {
    t.match(form.body, `"action":"${site}/orders"`)
    t.match(await post('x'.repeat(400_000)), { status: 413, body: /new tab/i })
    const [, href = ''] = /class="actions"[^]*?href="([^"]+)"/.exec(form.body) ?? []
    const { answer } = await browser.login(new URL(href.replaceAll('&amp;', '&'), site).href, 'alice')
    t.match(answer, { status: 200, url: /\/oauth2\/form\?id=/ }, 'the page that posts the kept form')
    t.same(upstream.requests, [])
    const sent = await post('keep me')
    t.match(sent, { status: 200, body: 'keep me' })
    upstream.requests.length = 0
  }
  const parts = await newBrowser().post(
    `${site}/orders`,
    '--b\r\ncontent-disposition: form-data; name="note"\r\n\r\nkeep me\r\n--b--\r\n',
    { from: `${site}/`, headers: { 'content-type': 'multipart/form-data; boundary=b' } },
  )
  t.equal(parts.status, 401)
  t.equal(parts.body.includes('keep me'), kept === 'all')
  t.same(upstream.requests, [])
}

const kinds: Scenario = async (t, { traits, site, newBrowser, upstream }) => {
  if (traits.denied === 'proxy') return
  const browser = newBrowser()
  const url = `${site}/orders?redirect=true`
  const status = async (method: string, options: Parameters<Browser['request']>[2]): Promise<number> =>
    (await browser.request(method, url, options)).status
  t.equal(await status('GET', {}), 302)
  t.equal(await status('HEAD', {}), 302)
  t.equal(await status('GET', { kind: 'frame', from: `${site}/` }), 401)
  t.equal(await status('GET', { headers: { 'sec-purpose': 'prefetch' } }), 401)
  t.equal(await status('GET', script), 401)
  t.equal(await status('GET', { kind: 'none' }), 401)
  t.equal(await status('DELETE', script), 401)
  t.equal(await status('POST', { ...script, body: 'x' }), 401)
  t.equal(await status('GET', { headers: { 'x-requested-with': 'XMLHttpRequest' } }), 401)
  t.equal(await status('GET', { headers: { accept: 'text/event-stream' } }), 401)
  t.same(upstream.requests, [])
}

const crossOrigin: Scenario = async (t, { name, traits, site, browser, newBrowser, upstream }) => {
  const url = `${site}/api/echo/cross`
  const call = { ...script, from: `${CORS_ORIGIN}/` }
  const readable = {
    'access-control-allow-origin': CORS_ORIGIN,
    'access-control-allow-credentials': 'true',
    'vary': /Origin/,
  }
  const asked = { 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-own' }
  const preflight = await newBrowser().request('OPTIONS', url, { ...call, headers: asked })
  t.match(
    preflight,
    traits.denied === 'gateway'
      ? { status: 204, headers: { ...readable, 'access-control-allow-headers': 'x-own' } }
      : { status: traits.denied === 'proxy' ? 302 : 401 },
  )
  if (traits.denied !== 'proxy') t.match(await newBrowser().get(url, call), { status: 401, headers: readable })
  t.same(upstream.requests, [])
  const session = { cookie: browser.cookies.header(new URL(site)) }
  const put = await browser.request('PUT', url, { ...call, headers: session, body: 'x' })
  t.match(put, { status: 200, headers: name === 'nginx' ? readable : {} })
  const other = { ...call, from: 'https://evil.example/', headers: session, body: 'x' }
  const refused = await browser.request('PUT', url, other)
  t.equal(refused.status, 403)
  t.equal(refused.headers['access-control-allow-origin'], undefined)
}

const aboutTheUrl: Scenario = async (t, { traits, site, newBrowser, upstream }) => {
  const headers = {
    'forwarded': 'for=192.0.2.66;proto=evil',
    'x-real-ip': 'evil',
    'x-forwarded-host': 'evil',
    'x-forwarded-method': 'evil',
    'x-forwarded-port': 'evil',
    'x-forwarded-prefix': '/evil',
    'x-forwarded-uri': '/evil',
    'x-original-method': 'evil',
    'x-original-uri': '/evil',
    'x-original-url': '/evil',
    'x-rewrite-url': '/evil',
  }
  if (!traits.removesClientHeaders) return
  const answer = await newBrowser().get(`${site}/public/x`, { ...script, headers })
  t.equal(answer.status, 200)
  t.equal(upstream.requests.length, 1)
  t.notMatch(upstream.requests[0]?.rawHeaders.join(), 'evil')
}

const severalCookieFields: Scenario = async (t, { site, cookie, upstream }) => {
  for (const target of ['/api/echo', '/public/x']) {
    for (const fields of [
      ['Cookie: theme=dark', cookie],
      [cookie, 'Cookie: theme=dark'],
      ['Cookie: a=1', 'Cookie: __Host-gatehouse-login-3=x', cookie, 'Cookie: b=2'],
    ]) {
      await ask(site, 'GET', target, ['Accept: application/json', ...fields])
    }
  }
  for (const { rawHeaders } of upstream.requests) t.notMatch(rawHeaders.join(), '__Host-gatehouse')
}

const publicRoute: Scenario = async (t, { site, newBrowser, upstream }) => {
  const browser = newBrowser()
  t.equal((await browser.get(`${site}/public/x`, { ...script, headers: { 'x-user': 'root' } })).status, 200)
  t.equal(upstream.requests.at(-1)?.headers['x-user'], undefined)
  t.equal(upstream.requests.at(-1)?.headers['x-groups'], undefined)
  const mine = await browser.get(`${site}/public/x`, { ...script, headers: { authorization: 'Basic bWU6bWU=' } })
  t.equal(mine.status, 200)
  t.equal(upstream.requests.at(-1)?.headers.authorization, 'Basic bWU6bWU=', 'a client’s own credentials pass there')
}

const denials: Scenario = async (t, { traits, site, browser, upstream }) => {
  if (traits.denied === 'proxy') {
    t.equal((await browser.get(`${site}/api/echo/closed`, script)).status, 403)
    t.same(upstream.requests, [])
    return
  }
  t.match((await browser.get(`${site}/api/echo/closed`, script)).json(), { status: 403, code: 'forbidden' })
  t.match((await browser.get(`${site}/api/echo/closed`)).body, 'alice', 'the page says who is signed in')
  t.match((await browser.get(`${site}/api/echo/strong`, script)).json(), { status: 401, code: 'step_up_required' })
  t.match(
    (await browser.post(`${site}/api/echo`, 'x', { ...script, from: 'https://evil.example/' })).json(),
    { status: 401 },
    'no cookie comes with it',
  )
  const cross = await browser.post(`${site}/api/echo`, 'x', { ...script, headers: { 'sec-fetch-site': 'cross-site' } })
  t.match(cross.json(), { status: 403, code: 'cross_origin' })
  t.same(upstream.requests, [])
}

const logout: Scenario = async (t, { site, newBrowser, upstream }) => {
  const browser = newBrowser()
  await browser.login(`${site}/`, 'bob')
  t.equal((await browser.get(`${site}/api/orders`, script)).status, 200)
  const { answer, hops } = await browser.follow(
    await browser.get(`${site}/oauth2/logout?redirect=/public/bye`, { from: `${site}/` }),
  )
  t.equal(answer.url, `${site}/public/bye`)
  t.ok(hops.some(({ url }) => url.startsWith(`${site}/oauth2/logout/callback`)))
  const seen = upstream.requests.length
  t.match(String((await browser.get(`${site}/api/orders`, script)).status), /^(?:401|302)$/)
  t.equal(upstream.requests.length, seen)
}

const noVerdictForClients: Scenario = async (t, { name, site, browser, upstream }) => {
  const targets = [
    '/oauth2/auth',
    '/oauth2/auth/',
    '/oauth2/auth/api/orders',
    '/oauth2/auth-redirect/api/orders',
    '/oauth2/%61uth',
    '/oauth2//auth',
    '//oauth2/auth',
    '/x/../oauth2/auth',
    '/oauth2/auth;x',
    '/oauth2/auth?redirect=true',
    '/oauth2/./auth',
    '/oauth2/auth%2fx',
    ...(name === 'nginx' ? ['/gatehouse-verdict'] : []),
    '/oauth2/AUTH',
    '/OAUTH2/auth',
  ]
  for (const [method, list] of [
    ['GET', targets],
    ['POST', targets],
    ['OPTIONS', targets.slice(0, 4)],
    ['PROPFIND', targets.slice(0, 4)],
  ] as const) {
    for (const target of list) {
      const answer = await browser.request(method, `${site}/`, {
        ...script,
        target,
        headers: {
          'x-forwarded-uri': '/',
          'x-original-url': `${site}/`,
          'x-original-uri': '/',
          'x-forwarded-method': 'GET',
          'x-original-method': 'GET',
          'x-envoy-internal': 'true',
        },
      })
      t.notOk(answer.headers.authorization, `${method} ${target}`)
      t.notOk(answer.headers['x-user'], `${method} ${target}`)
      t.not(answer.status, 200, `${method} ${target}`)
    }
  }
  t.same(upstream.requests, [])
}

const manyHeaders: Scenario = async (t, { site, cookie, upstream }) => {
  for (const count of [80, 99, 500, 990, 1100]) {
    for (const [letter, target, more] of [
      ['A', '/orders', []],
      ['Z', '/orders', ['Sec-Fetch-Mode: cors']],
      ['A', '/api/echo/closed', [cookie]],
      ['Z', '/api/echo/closed', [cookie]],
    ] as const) {
      const many = Array.from({ length: count }, (_, i) => `${letter}${i}: 1`)
      const answer = await ask(site, 'GET', target, [...more, ...many])
      t.not(answer.status, 200, `${count} of ${letter} at ${target}`)
    }
  }
  t.same(upstream.requests, [])
}

const namedInConnection: Scenario = async (t, { site, cookie, upstream }) => {
  for (const named of [
    'X-Original-URL, X-Original-Method',
    'X-Forwarded-Uri, X-Forwarded-Method',
    'X-Forwarded-Host',
  ]) {
    const anonymous = await ask(site, 'GET', '/orders', ['Accept: application/json', `Connection: close, ${named}`])
    t.match(String(anonymous.status), /^(?:401|400|302)$/, named)
    t.equal(header(anonymous, 'authorization'), null)
  }
  t.same(upstream.requests, [])
  await ask(site, 'GET', '/api/echo', [cookie, 'X_User: root', 'X-User: root', 'Connection: close, X-User'])
  await ask(site, 'GET', '/api/echo', [cookie, 'X-User: root', 'X-User: root', 'Connection: close, Cookie, X-Groups'])
  t.notMatch(upstream.requests.map(({ rawHeaders }) => rawHeaders.join()).join(), 'root')
  upstream.requests.length = 0
  await ask(site, 'GET', '/api/echo', [cookie, 'Connection: close, X-User, X-Groups, Authorization'])
  for (const { headers } of upstream.requests)
    t.match(headers, { 'x-user': 'alice', 'x-groups': 'staff,admin', 'authorization': /^Bearer / })
}

const spelledTargets: Scenario = async (t, { traits, site, cookie, upstream }) => {
  const { host } = new URL(site)
  for (const target of [
    '/public/../orders',
    '/public/..%2forders',
    '/public/%2e%2e/orders',
    '/public/..;/orders',
    '/public/x/..//../orders',
    '//orders',
    '/orders/../public/../orders',
    '/public/../../orders',
    `https://${host}/orders`,
    `http://${host}/orders`,
    'http://evil.example/orders',
    `https://${host}/public/../orders`,
    '/public\\..\\orders',
    '/oauth2/../orders',
    '/oauth2/%2e%2e/orders',
    '/oauth2/..%2forders',
    '/orders?/public/x',
    '/orders#/public/x',
    '*',
  ]) {
    for (const version of ['1.1', '1.0']) {
      const answer = await sendRaw(
        site,
        `GET ${target} HTTP/${version}\r\nHost: ${host}\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
      )
      // Caddy answers for a host that it does not have by itself, with an empty 200.
      if (!traits.normalizes)
        t.notMatch(answer.toString(), /^HTTP\/1\.[01] 200(?![^]*Content-Length: 0\r\n)/, `${target} HTTP/${version}`)
    }
  }
  const closed = upstream.requests.filter(({ url }) => !/^\/public\/[a-z]+$/.test(url))
  t.same(traits.normalizes ? closed : upstream.requests, [], 'without a session, only a public path is reached')
  for (const [method, more] of [
    ['DELETE', []],
    ['delete', []],
    ['Delete', []],
    ['POST', ['X-HTTP-Method-Override: DELETE']],
    ['POST', ['X_HTTP_Method_Override: DELETE']],
    ['POST', ['X-Forwarded-Method: GET', 'X-HTTP-Method: DELETE']],
    ['DELETE', ['X-Forwarded-Method: GET', 'X-Original-Method: GET']],
  ] as const) {
    const lines = [
      `${method} /read/1 HTTP/1.1`,
      `Host: ${host}`,
      cookie,
      ...more,
      'Content-Length: 0',
      'Connection: close',
    ]
    await sendRaw(site, `${lines.join('\r\n')}\r\n\r\n`)
  }
  for (const { method, rawHeaders } of upstream.requests) {
    t.not(method.toUpperCase(), 'DELETE')
    t.notMatch(rawHeaders.join(), /DELETE/, 'no other method beside it')
  }
}

const clientAddress: Scenario = async (t, { name, site, cookie, upstream, events }) => {
  const socket = openSocket(site, '127.0.0.2')
  const lines = [
    'GET /api/echo HTTP/1.1',
    `Host: ${new URL(site).host}`,
    cookie,
    'X-Forwarded-For: 192.0.2.66',
    'Connection: close',
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  socket.resume()
  await once(socket, 'close')
  const told = upstream.requests.at(-1)?.headers['x-forwarded-for']
  const client = String(told).split(/, ?/).at(-1)
  // Envoy names its own address in place of a loopback address.
  if (name.startsWith('Envoy') || name === 'Istio') t.not(client, '192.0.2.66')
  else t.equal(client, '127.0.0.2')
  t.match(
    events('request').findLast(({ verdict }) => verdict === 'allow'),
    { client },
  )
}

const eventStreams: Scenario = async (t, { site, cookie }) => {
  const { socket, text } = openAndRead(site)
  socket.write(
    `GET /api/stream?ms=300&count=4 HTTP/1.1\r\nHost: ${new URL(site).host}\r\n${cookie}\r\nAccept: text/event-stream\r\n\r\n`,
  )
  await eventually(() => text().includes('{"tick":1}'), { what: 'the first event has arrived' })
  t.notMatch(text(), '{"tick":4}')
  await eventually(() => text().includes('{"tick":2}'), { what: 'the second event has arrived' })
  t.notMatch(text(), '{"tick":4}')
  socket.destroy()
}

const webSockets: Scenario = async (t, { site, cookie }) => {
  const socket = await openWebSocket(`${site}/ws`, { headers: [cookie, `Origin: ${site}`] })
  t.equal(socket.status, 101)
  socket.send('hello')
  const event = await socket.next()
  t.ok('payload' in event && event.payload.length > 0)
  socket.socket.destroy()
  const stranger = await openWebSocket(`${site}/ws`, { headers: [`Origin: ${site}`] })
  t.match(String(stranger.status), /^(?:401|302)$/)
  const cross = await openWebSocket(`${site}/ws`, { headers: [cookie, 'Origin: https://evil.example'] })
  t.equal(cross.status, 403)
}

const withoutVerdict: Scenario = async (t, { name, traits, site, browser, upstream, gateway, idp }) => {
  idp.fail('token', { status: 503 })
  const refused = await browser.get(`${site}/api/echo/exchanged`, script)
  t.equal(refused.status, traits.denied === 'proxy' ? 500 : 503)
  if (traits.denied === 'gateway' || name === 'Traefik') t.match(refused.json(), { code: 'token_unavailable' })
  gateway.cut()
  await gateway.close()
  t.equal((await browser.get(`${site}/api/orders`, script)).status, traits.unreachable)
  t.same(upstream.requests, [])
}

const scenarios: Readonly<Record<string, Scenario>> = {
  'a request carries the injected headers, none of the client’s, the whole body, and no gateway cookie':
    injectedHeaders,
  'other spellings of injected headers, and lies about the request, give nothing': otherSpellings,
  'without a session a script gets the problem, a form is kept, and no request reaches the application': noSession,
  'without a session, only a navigation is redirected': kinds,
  'a listed origin may send requests, and read denials': crossOrigin,
  'what the client says about the connection and the URL does not reach the application': aboutTheUrl,
  'several Cookie fields do not hide a cookie of the gateway': severalCookieFields,
  'a public route needs no session, and accepts no identity from the client': publicRoute,
  'claims, step-up and cross-origin requests are answered as the gateway itself answers them': denials,
  'logout ends the session at the gateway, at the provider and for the next call': logout,
  'no client gets a verdict or a token, by any spelling of the path': noVerdictForClients,
  'a request with hundreds of headers gets the usual verdict, or is refused': manyHeaders,
  'a client can’t remove the proxy’s headers by naming them in Connection': namedInConnection,
  'for any spelling of target and method, the application gets the request that the verdict is for': spelledTargets,
  'the gateway and the application get the address of the client': clientAddress,
  'event streams pass without delay': eventStreams,
  'WebSockets get a verdict and pass': webSockets,
  'a request without a verdict never reaches the application': withoutVerdict,
}

const proxies = [
  ...documentedProxies,
  ['ingress-nginx', startIngressNginx],
  ['Envoy Gateway', startEnvoyGateway],
  ['Istio', startIstio],
] as const

t.jobs = proxies.length
for (const [name, startProxy] of proxies) {
  void t.test(name, { buffered: true }, async (t) => {
    const behind = await startBehind(t, name, startProxy)
    for (const [what, scenario] of Object.entries(scenarios)) {
      await t.test(what, async (t) => {
        behind.upstream.requests.length = 0
        await scenario(t, behind)
      })
    }
  })
}
