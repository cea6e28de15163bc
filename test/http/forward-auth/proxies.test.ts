import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import type { IdpOptions } from '../../../src/demo/idp.ts'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { createAuthority } from '../../support/certificates.ts'
import { documented } from '../../support/documented.ts'
import { documentedProxies, type StartProxy } from './documented-proxies.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { ask, header, openAndRead, sendRaw } from '../../support/raw-http.ts'
import { eventually } from '../../support/eventually.ts'
import { openWebSocket } from '../../support/websocket.ts'

// Real proxies, with the very configuration of docs/forward-auth.md: only ports and the names of files are others here.
const [yaml = ''] = documented('forward-auth.md', 'yaml')
const { trustedProxies, routes }: { trustedProxies: string[]; routes: object[] } = parse(yaml)

const authority = createAuthority()
const script = { kind: 'script' } as const

type Started = Running & { readonly site: string; readonly browser: Browser; readonly cookie: () => string }

const startBehind = async (
  t: Test,
  startProxy: StartProxy,
  more: { readonly routes?: readonly object[]; readonly idp?: IdpOptions; readonly cors?: boolean } = {},
): Promise<Started> => {
  const port = await freePort()
  const site = `https://127.0.0.1:${port}`
  const running = await startGateway(t, {
    publicUrl: site,
    ...(more.idp === undefined ? {} : { idp: more.idp }),
    config: {
      trustedProxies,
      routes: [...routes, ...(more.routes ?? [])],
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
    ...(more.cors === undefined ? {} : { cors: more.cors }),
  })
  const browser = createBrowser({ ca: authority.ca })
  return { ...running, site, browser, cookie: () => `Cookie: ${browser.cookies.header(new URL(site))}` }
}

for (const [name, startProxy] of documentedProxies) {
  const start = async (t: Test, more: Parameters<typeof startBehind>[2] = {}): Promise<Started> =>
    startBehind(t, startProxy, more)

  void t.test(
    `${name}: a navigation goes through the login and returns, and the application receives the user`,
    async (t) => {
      const { site, browser, upstream } = await start(t)
      const { answer, hops } = await browser.login(`${site}/orders?page=2`, 'alice')
      t.equal(answer.url, `${site}/orders?page=2`)
      t.equal(hops[0]?.status, 302)
      t.match(upstream.requests.at(-1), {
        url: '/orders?page=2',
        headers: {
          'x-user': 'alice',
          'x-groups': 'staff,admin',
          'authorization': /^Bearer \S+$/,
          'host': new URL(site).host,
          'x-forwarded-proto': 'https',
          'x-forwarded-for': '127.0.0.1',
        },
      })
    },
  )

  void t.test(
    `${name}: a script’s request carries the injected headers, none of the client’s, and no gateway cookie`,
    async (t) => {
      const { site, browser, upstream } = await start(t)
      await browser.login(`${site}/`, 'alice')
      const secure = 'Path=/; Secure'
      browser.cookies.store(new URL(site), [
        `__Host-gatehouse-tries=1.abcdefgh.0; ${secure}`,
        'theme=dark; Path=/',
        ...[0, 1, 2, 3].map((slot) => `__Host-gatehouse-login-${slot}=x; ${secure}`),
        'lang=de; Path=/',
        `__Host-gatehouse-cleared=1; ${secure}`,
        'my__Host-gatehouse=kept; Path=/',
      ])
      const forged = {
        'x-user': 'root',
        'x-groups': 'root',
        'x_user': 'root',
        'X.User': 'root',
        'authorization': 'Bearer forged',
        'x-forwarded-uri': '/public/x',
        'x-original-uri': '/public/x',
      }
      for (const [method, body] of [
        ['GET', undefined],
        ['POST', '{"n":1}'],
      ] as const) {
        const answer = await browser.request(method, `${site}/api/echo`, {
          ...script,
          headers: forged,
          ...(body === undefined ? {} : { body }),
        })
        t.equal(answer.status, 200)
        t.match(answer.json(), { method, body: { text: body ?? '' } }, 'the body went to the application alone')
        const { headers = {}, rawHeaders = [] } = upstream.requests.at(-1) ?? {}
        t.match(headers, { 'x-user': 'alice', 'x-groups': 'staff,admin', 'authorization': /^Bearer (?!forged)/ })
        t.notMatch(rawHeaders.join(), 'root')
        const cookies = headers.cookie?.split('; ').filter((pair) => !pair.startsWith('demo_idp'))
        t.same(cookies?.toSorted(), ['lang=de', 'my__Host-gatehouse=kept', 'theme=dark'])
      }
    },
  )

  void t.test(
    `${name}: without a session a script gets the problem, a form is kept, and no request reaches the application`,
    async (t) => {
      const { site, browser, upstream } = await start(t)
      const problem = await browser.get(`${site}/api/orders`, { ...script, from: `${site}/app` })
      t.match(problem.json(), {
        status: 401,
        code: 'login_required',
        login_url: `${site}/oauth2/login?redirect=%2Fapp`,
      })
      t.match(problem.headers, {
        'www-authenticate': 'Bearer',
        'gatehouse': 'login_required',
        'content-type': 'application/problem+json',
      })
      const kept = await browser.post(`${site}/orders`, new URLSearchParams({ note: 'keep me' }), { from: `${site}/` })
      t.equal(kept.status, 401)
      t.match(kept.body, 'keep me')
      t.same(upstream.requests, [])
    },
  )

  void t.test(
    `${name}: the gateway answers the preflight request of a listed origin, which then passes csrf`,
    async (t) => {
      const from = 'https://app.example.org'
      const { site, browser, upstream } = await start(t, {
        routes: [{ path: '/api/**', cors: { origins: [from] } }],
        cors: name === 'nginx',
      })
      const call = { ...script, from: `${from}/` }
      const readable = {
        'access-control-allow-origin': from,
        'access-control-allow-credentials': 'true',
        'vary': /Origin/,
      }
      const headers = { 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-own' }
      const preflight = await browser.request('OPTIONS', `${site}/api/echo`, { ...call, headers })
      t.match(preflight, { status: 204, headers: { ...readable, 'access-control-allow-headers': 'x-own' } })
      t.match(await browser.get(`${site}/api/echo`, call), { status: 401, headers: readable })
      t.same(upstream.requests, [])
      await browser.login(`${site}/`, 'alice')
      const session = { cookie: browser.cookies.header(new URL(site)) }
      const put = await browser.request('PUT', `${site}/api/echo`, { ...call, headers: session, body: 'x' })
      t.match(put, { status: 200, headers: name === 'nginx' ? readable : {} })
      const other = { ...call, from: 'https://evil.example/', headers: session, body: 'x' }
      const refused = await browser.request('PUT', `${site}/api/echo`, other)
      t.equal(refused.status, 403)
      t.equal(refused.headers['access-control-allow-origin'], undefined)
    },
  )

  void t.test(`${name}: a public route needs no session, and accepts no identity from the client`, async (t) => {
    const { site, browser, upstream } = await start(t)
    const forged = { 'x-user': 'root', 'x_user': 'root', 'X.Groups': 'root', 'X_Groups': 'root' }
    t.equal((await browser.get(`${site}/public/x`, { ...script, headers: forged })).status, 200)
    t.notMatch(upstream.requests.at(-1)?.rawHeaders.join(), 'root')
    t.same(upstream.requests.at(-1)?.headers['x-user'], undefined)
    const mine = await browser.get(`${site}/public/x`, { ...script, headers: { authorization: 'Basic bWU6bWU=' } })
    t.equal(mine.status, 200)
    t.equal(upstream.requests.at(-1)?.headers.authorization, 'Basic bWU6bWU=', 'a client’s own credentials pass there')
  })

  void t.test(
    `${name}: claims, step-up and cross-origin requests are answered as the gateway itself answers them`,
    async (t) => {
      const { site, browser, upstream } = await start(t, {
        routes: [
          { path: '/api/echo/closed', require: { claims: { groups: 'none-has-this' } } },
          { path: '/api/echo/strong', require: { acr: 'urn:demo:mfa' } },
        ],
      })
      await browser.login(`${site}/`, 'alice')
      upstream.requests.length = 0
      t.match((await browser.get(`${site}/api/echo/closed`, script)).json(), { status: 403, code: 'forbidden' })
      t.match((await browser.get(`${site}/api/echo/strong`, script)).json(), { status: 401, code: 'step_up_required' })
      t.match(
        (await browser.post(`${site}/api/echo`, 'x', { ...script, from: 'https://evil.example/' })).json(),
        { status: 401 },
        'no cookie comes with it',
      )
      const cross = await browser.post(`${site}/api/echo`, 'x', {
        ...script,
        headers: { 'sec-fetch-site': 'cross-site' },
      })
      t.match(cross.json(), { status: 403, code: 'cross_origin' })
      t.same(upstream.requests, [])
    },
  )

  void t.test(`${name}: logout ends the session at the gateway, at the provider and for the next call`, async (t) => {
    const { site, browser, upstream } = await start(t)
    await browser.login(`${site}/`, 'alice')
    t.equal((await browser.get(`${site}/api/orders`, script)).status, 200)
    const { answer, hops } = await browser.follow(
      await browser.get(`${site}/oauth2/logout?redirect=/public/bye`, { from: `${site}/` }),
    )
    t.equal(answer.url, `${site}/public/bye`)
    t.ok(hops.some(({ url }) => url.startsWith(`${site}/oauth2/logout/callback`)))
    const seen = upstream.requests.length
    t.match((await browser.get(`${site}/api/orders`, script)).json(), { status: 401 })
    t.equal(upstream.requests.length, seen)
  })

  void t.test(`${name}: no client gets a verdict or a token, by any spelling of the path`, async (t) => {
    const { site, browser, upstream } = await start(t)
    await browser.login(`${site}/`, 'alice')
    upstream.requests.length = 0
    for (const target of [
      '/oauth2/auth',
      '/oauth2/auth/',
      '/oauth2/auth/api/orders',
      '/oauth2/%61uth',
      '/oauth2//auth',
      '//oauth2/auth',
      '/x/../oauth2/auth',
      '/oauth2/auth;x',
      '/oauth2/auth?x=1',
      '/oauth2/./auth',
      '/oauth2/auth%2fx',
      ...(name === 'nginx' ? ['/gatehouse-verdict'] : []),
      '/oauth2/AUTH',
    ]) {
      for (const method of ['GET', 'POST', 'PUT', 'OPTIONS', 'PROPFIND']) {
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
  })

  void t.test(`${name}: a request without a verdict is a 502 or 503, and never reaches the application`, async (t) => {
    const { site, browser, upstream, gateway, idp } = await start(t, { idp: { lifetimes: { accessToken: 1 } } })
    await browser.login(`${site}/`, 'alice')
    idp.fail('token', { status: 503 })
    await sleep(1100)
    upstream.requests.length = 0
    t.match((await browser.get(`${site}/api/orders`, script)).json(), { status: 503, code: 'token_unavailable' })
    // Caddy passes the backslash on as %5C.
    const backslash = await browser.get(`${site}/`, { ...script, target: '/a\\b' })
    t.match(String(backslash.status), name === 'Caddy' ? '503' : '400')
    gateway.cut()
    await gateway.close()
    t.match(String((await browser.get(`${site}/api/orders`, script)).status), /^50[23]$/)
    t.same(upstream.requests, [])
  })

  void t.test(`${name}: a request with hundreds of headers gets the usual verdict, or is refused`, async (t) => {
    const { site, browser, cookie, upstream } = await start(t, {
      routes: [{ path: '/api/echo/closed', require: { claims: { groups: 'none-has-this' } } }],
    })
    await browser.login(`${site}/`, 'bob')
    upstream.requests.length = 0
    for (const count of [80, 99, 500, 990, 1000, 1100]) {
      for (const letter of ['A', 'D', 'Z']) {
        const many = Array.from({ length: count }, (_, i) => `${letter}${i}: 1`)
        for (const [target, headers] of [
          ['/orders', many],
          ['/orders', ['Sec-Fetch-Mode: cors', ...many]],
          ['/api/echo/closed', [cookie(), ...many]],
        ] as const) {
          const answer = await ask(site, 'GET', target, headers)
          t.not(answer.status, 200, `${count} of ${letter} at ${target}`)
        }
      }
    }
    t.same(upstream.requests, [])
  })

  void t.test(`${name}: a client can’t remove the proxy’s headers by naming them in Connection`, async (t) => {
    const { site, browser, cookie, upstream } = await start(t)
    await browser.login(`${site}/`, 'alice')
    upstream.requests.length = 0
    for (const named of [
      'X-Original-URL, X-Original-Method',
      'X-Forwarded-Uri, X-Forwarded-Method',
      'X-Forwarded-Host',
    ]) {
      const anonymous = await ask(site, 'GET', '/orders', ['Accept: application/json', `Connection: close, ${named}`])
      t.equal(anonymous.status, 401, named)
      t.equal(header(anonymous, 'authorization'), null)
    }
    t.same(upstream.requests, [])
    await ask(site, 'GET', '/api/echo', [cookie(), 'X_User: root', 'X-User: root', 'Connection: close, X-User'])
    t.notMatch(upstream.requests.map(({ rawHeaders }) => rawHeaders.join()).join(), 'root')
  })

  void t.test(
    `${name}: for any spelling of target and method, the application gets the request that the verdict is for`,
    async (t) => {
      const { site, browser, cookie, upstream } = await start(t, {
        routes: [
          { path: '/read/**', access: 'public' },
          { path: '/read/**', methods: ['DELETE'], require: { claims: { groups: 'none-has-this' } } },
        ],
      })
      await browser.login(`${site}/`, 'bob')
      upstream.requests.length = 0
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
        '/orders?/public/x',
        '/orders#/public/x',
      ]) {
        const socket = await sendRaw(
          site,
          `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
        )
        // Caddy answers for a host that it does not have by itself, with an empty 200.
        t.notMatch(socket.toString(), /^HTTP\/1\.1 200(?![^]*Content-Length: 0\r\n)/, target)
      }
      t.same(upstream.requests, [], 'no request without a session reaches the application')
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
          cookie(),
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
    },
  )

  void t.test(`${name}: event streams pass without delay`, async (t) => {
    const { site, browser, cookie } = await start(t)
    await browser.login(`${site}/`, 'alice')
    const { socket, text } = openAndRead(site)
    socket.write(
      `GET /api/stream?ms=700&count=4 HTTP/1.1\r\nHost: ${new URL(site).host}\r\n${cookie()}\r\nAccept: text/event-stream\r\n\r\n`,
    )
    await eventually(() => text().includes('{"tick":1}'), { what: 'the first event has arrived' })
    t.notMatch(text(), '{"tick":4}')
    await eventually(() => text().includes('{"tick":2}'), { what: 'the second event has arrived' })
    t.notMatch(text(), '{"tick":4}')
    socket.destroy()
  })

  void t.test(`${name}: WebSockets get a verdict and pass`, async (t) => {
    const { site, browser, cookie } = await start(t)
    await browser.login(`${site}/`, 'alice')
    const socket = await openWebSocket(`${site}/ws`, { headers: [cookie(), `Origin: ${site}`] })
    t.equal(socket.status, 101)
    socket.send('hello')
    const event = await socket.next()
    t.ok('payload' in event && event.payload.length > 0)
    socket.socket.destroy()
    const stranger = await openWebSocket(`${site}/ws`, { headers: [`Origin: ${site}`] })
    t.equal(stranger.status, 401)
    const cross = await openWebSocket(`${site}/ws`, { headers: [cookie(), 'Origin: https://evil.example'] })
    t.equal(cross.status, 403)
  })
}
