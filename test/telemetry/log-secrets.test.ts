import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import { exportJWK } from 'jose'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { sendRaw } from '../support/raw-http.ts'
import { startRedis } from '../support/redis.ts'
import { beginLogin, callbackFor } from '../support/sign-in.ts'
import { openWebSocket } from '../support/websocket.ts'

const script = { kind: 'script' } as const

/** Collects what must not be in the log, and looks for it in the end. */
const watch = ({ log, idp }: Pick<Running, 'log' | 'idp'>, ...known: readonly string[]) => {
  const secrets = new Set(known)
  return {
    secrets,
    /** All cookies that a browser has. */
    cookiesOf: (browser: Browser): void => {
      for (const { value } of browser.cookies.all()) if (value.length > 20) secrets.add(value)
    },
    /** What is secret in a URL of the provider's or of the callback. */
    partsOf: (url: URL): void => {
      for (const name of ['state', 'code', 'nonce', 'request_uri', 'id_token_hint', 'code_challenge']) {
        const value = url.searchParams.get(name)
        if (value !== null) secrets.add(value)
      }
    },
    search: (t: Test): void => {
      const all = log.join('')
      for (const secret of [...secrets, ...idp.secretsIssued]) {
        t.notOk(all.includes(secret), `${secret.slice(0, 12)}…`)
        // Of a token also its parts: header, claims and signature.
        for (const part of secret.split('.').filter((one) => one.length > 40))
          t.notOk(all.includes(part), `a part of ${secret.slice(0, 12)}…`)
      }
      for (const line of log) t.equal(typeof JSON.parse(line), 'object')
    },
  }
}

void t.test('no log line at any level contains a token, code, cookie, state or secret', async (t) => {
  const clientSecret = 'the-client-secret-of-this-test'
  const headers = { set: { 'X-Assertion': '{assertion}', 'X-Id-Token': '{idToken}', 'X-Token': '{accessToken}' } }
  const routes = [
    { path: '/**', headers },
    { path: '/admin', require: { claims: { groups: ['none'] } } },
    { path: '/gone', headers, upstream: 'http://127.0.0.1:1' },
  ]
  const { url, idp, log, events, upstream } = await startGateway(t, {
    idp: { lifetimes: { accessToken: 100 }, pushedAuthorization: true },
    config: {
      provider: { clientSecret, userinfo: true, timeout: '1s' },
      routes,
      log: { fields: ['bytes', 'user_agent', 'referer'] },
    },
    client: { clientSecret },
  })
  const browser = createBrowser()
  const secrets = new Set([clientSecret])
  const note = (): void => {
    for (const { value } of browser.cookies.all()) if (value.length > 20) secrets.add(value)
  }

  // Logins: one that succeeds, one for each way to fail.
  const callback = await callbackFor(browser, url, { redirect: '/orders?secret=in-the-query' })
  note()
  for (const name of ['state', 'code']) secrets.add(callback.searchParams.get(name) ?? name)
  await browser.get(callback.href)
  note()
  await browser.get(callback.href, script)
  await createBrowser().get(callback.href)
  const noJson = { status: 200, body: 't'.repeat(40), contentType: 'application/json' }
  for (const failure of [{ status: 500 }, { status: 400, body: { error: 'invalid_grant' } }, noJson]) {
    const other = createBrowser()
    const failing = await callbackFor(other, url)
    idp.fail('token', failure)
    await other.get(failing.href)
    idp.fail('token', null)
    for (const name of ['state', 'code']) secrets.add(failing.searchParams.get(name) ?? name)
  }
  secrets.add('t'.repeat(10))
  secrets.add('in-the-query')
  const canceled = await beginLogin(browser, url)
  secrets.add(canceled.searchParams.get('request_uri') ?? '')

  // The application, with every kind of no.
  await browser.get(`${url}/orders?token=in-the-query`, {
    headers: { authorization: 'Bearer a-client-token-of-its-own' },
  })
  secrets.add('a-client-token-of-its-own')
  const assertion = String(upstream.requests.at(-1)?.headers['x-assertion'])
  for (const part of assertion.split('.')) secrets.add(part)
  await browser.get(`${url}/gone`)
  const inHeaders = 'a-token-in-other-headers-of-a-client'
  for (const referer of [
    `${url}/page?token=${inHeaders}#${inHeaders}`,
    `https://me:${inHeaders}@a.example/`,
    inHeaders,
  ])
    await browser.get(`${url}/orders`, { headers: { referer, 'x-request-id': inHeaders, 'x_request_id': inHeaders } })
  secrets.add(inHeaders)
  await browser.get(`${url}/admin`)
  await browser.get(`${url}/orders/%zz`)
  await browser.get(`${url}/api/orders`, { kind: 'script', headers: { cookie: `gatehouse=${'x'.repeat(60)}` } })
  secrets.add('x'.repeat(60))

  // Refreshes: one that succeeds, one that fails, one that ends the session; a logout.
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  idp.fail('token', { status: 500 })
  moveClock(t, 101_000)
  await browser.get(`${url}/api/orders`, script)
  idp.fail('token', null)
  moveClock(t, 31_000)
  await browser.get(`${url}/api/orders`, script)
  await browser.login(`${url}/oauth2/login?prompt=login`, 'bob')
  note()
  idp.fail('revocation', { status: 500 })
  await browser.follow(await browser.get(`${url}/oauth2/logout?redirect=%2Fpublic%2Fbye`, { from: `${url}/` }))
  await eventually(() => events('revocation_failed').length > 0)

  t.ok(log.length > 15, `${log.length} lines`)
  t.ok(idp.secretsIssued.length > 8, `${idp.secretsIssued.length} secrets of the provider`)
  const all = log.join('')
  for (const secret of [...secrets, ...idp.secretsIssued]) t.notOk(all.includes(secret), secret.slice(0, 12))
})

void t.test(
  'no log line contains a secret of token exchange, bearer tokens, silent renewal, provider logout, streams, forms ' +
    'and forward-auth',
  async (t) => {
    const clientSecret = 'the-client-secret-of-this-test'
    const key = randomBytes(32).toString('base64')
    const running = await loggedIn(t, {
      idp: { lifetimes: { accessToken: 100 }, resources: ['api://orders', 'api://stock'] },
      client: { clientSecret },
      config: {
        trustedProxies: ['127.0.0.1/32'],
        forwardAuth: { listen: '127.0.0.1:0' },
        session: { keys: [key] },
        provider: { clientSecret, scopes: ['openid', 'profile', 'offline_access', 'orders.read'] },
        routes: [
          { path: '/**' },
          { path: '/api/**', bearer: { audience: 'api://orders' } },
          { path: '/api/echo/mine', token: { grant: 'client-credentials', resource: 'api://orders' } },
          {
            path: '/api/echo/orders',
            token: { grant: 'token-exchange', audience: 'api://orders', scopes: ['orders.read'] },
          },
          { path: '/api/echo/behalf', token: { grant: 'on-behalf-of', scopes: ['api://orders/.default'] } },
          { path: '/api/echo/stock', token: { grant: 'session', resource: 'api://stock' } },
          {
            path: '/api/echo/refused',
            token: { grant: 'token-exchange', audience: 'api://stock', scopes: ['orders.read'] },
          },
        ],
      },
    })
    const { url, idp, browser, log, events } = running
    const { secrets, cookiesOf, partsOf, search } = watch(
      running,
      clientSecret,
      key,
      'posted-secretly-by-a-form',
      'sent-over-the-web-socket',
    )
    cookiesOf(browser)
    // Before the clock is moved: not every check of a token's times goes by that clock.
    const now = Math.floor(Date.now() / 1000)

    for (const name of ['orders', 'behalf', 'mine', 'stock'])
      t.equal((await browser.get(`${url}/api/echo/${name}`, script)).status, 200, name)
    idp.fail('token', {
      status: 400,
      body: { error: 'invalid_target', error_description: `no: ${idp.secretsIssued.join(' ')} ${clientSecret}` },
    })
    await browser.get(`${url}/api/echo/refused`, script)
    moveClock(t, 101_000)
    for (const name of ['orders', 'behalf', 'mine', 'stock']) await browser.get(`${url}/api/echo/${name}`, script)
    idp.fail('token', null)
    moveClock(t, 31_000)

    const claims = {
      iss: idp.issuer,
      aud: 'api://orders',
      sub: 'alice',
      client_id: 'robot',
      iat: now,
      exp: now + 300,
      jti: randomUUID(),
    }
    const tokens = [
      await idp.sign(claims, { typ: 'at+jwt' }),
      await idp.sign({ ...claims, aud: 'api://other' }, { typ: 'at+jwt' }),
      'no-jwt-at-all-but-a-token',
    ]
    for (const token of tokens) {
      secrets.add(token)
      await createBrowser().get(`${url}/api/echo`, { kind: 'none', headers: { authorization: `Bearer ${token}` } })
    }
    t.equal(events('invalid_token').length, 2)

    const frame = { kind: 'frame', from: `${url}/` } as const
    for (let at = await browser.get(`${url}/oauth2/silent`, frame); at.headers.location !== undefined;) {
      partsOf(new URL(at.headers.location, at.url))
      cookiesOf(browser)
      at = await browser.get(new URL(at.headers.location, at.url).href, frame)
    }
    cookiesOf(browser)

    const cookie = browser.cookies.header(new URL(url), { crossSite: false, topLevelGet: true })
    const socket = await openWebSocket(`${url}/ws?ticket=in-the-query-of-a-socket`, {
      headers: [`Cookie: ${cookie}`, `Origin: ${url}`],
    })
    secrets.add('in-the-query-of-a-socket')
    socket.send('sent-over-the-web-socket')
    await socket.next()
    const asked = await browser.get(`${running.verdicts}/auth`, {
      ...script,
      headers: {
        cookie,
        'x-original-uri': '/api/echo?token=in-the-query-of-another',
        'x-original-method': 'GET',
      },
    })
    t.equal(asked.status, 200)
    secrets.add('in-the-query-of-another')
    const kept = await createBrowser().post(
      `${url}/orders`,
      new URLSearchParams({ note: 'posted-secretly-by-a-form' }),
      { from: `${url}/new` },
    )
    t.equal(kept.status, 401)

    const { sid, aud } = (await browser.get(`${url}/oauth2/userinfo`, script)).json()
    const event = { 'http://schemas.openid.net/event/backchannel-logout': {} }
    const logoutToken = await idp.sign(
      {
        iss: idp.issuer,
        aud: String(aud),
        iat: now,
        exp: now + 900,
        jti: randomUUID(),
        sid: String(sid),
        events: event,
      },
      { typ: 'logout+jwt' },
    )
    secrets.add(logoutToken)
    for (const token of [logoutToken, logoutToken, `${logoutToken}x`, 'no-logout-token-at-all']) {
      secrets.add(token)
      await createBrowser().post(`${url}/oauth2/logout/backchannel`, new URLSearchParams({ logout_token: token }), {
        kind: 'none',
      })
    }
    socket.socket.destroy()
    await eventually(() => events('websocket_closed').length > 0)
    await createBrowser().get(
      `${url}/oauth2/logout/frontchannel?iss=${encodeURIComponent(idp.issuer)}&sid=somebody-elses-session`,
      frame,
    )
    await browser.login(`${url}/oauth2/login`, 'alice')
    cookiesOf(browser)
    const leaving = await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
    partsOf(new URL(leaving.headers.location ?? ''))
    const all = [
      'exchange_failed',
      'replay',
      'logout',
      'logout_refused',
      'websocket_open',
      'websocket_closed',
      'session_ended',
      'login',
    ]
    t.same(
      all.filter((name) => events(name).length === 0),
      [],
      'all of it has happened',
    )
    t.ok(log.length > 30)
    search(t)
  },
)

void t.test('no log line contains a secret that a failing provider repeats', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const running = await loggedIn(t, {
    idp: { lifetimes: { accessToken: 100 }, clientAuthentications: ['private_key_jwt'] },
    client: {
      clientSecret: undefined,
      clientAuthentication: 'private_key_jwt',
      jwks: { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig' }] },
    },
    config: { provider: { clientSecret: null, privateKey: pem, userinfo: true, timeout: '1s' } },
  })
  const { url, idp, browser, events } = running
  const { secrets, cookiesOf, partsOf, search } = watch(
    running,
    ...pem.split('\n').filter((line) => line.length > 20 && !line.startsWith('-')),
  )
  cookiesOf(browser)
  let clock = 0
  for (const status of [400, 401, 500]) {
    const all = (): string => [...secrets, ...idp.secretsIssued].join(' ')
    const bodies = [
      { body: { error: 'invalid_request', error_description: `what is ${all()}?` } },
      { body: { error: all(), error_description: 'no' } },
      { body: { access_token: all(), token_type: 'bearer' } },
      { body: `<html>${all()}</html>`, contentType: 'text/html' },
      { body: all(), contentType: 'application/json' },
      { body: `{"access_token":"${all()}"`, contentType: 'application/json' },
      {
        body: {},
        headers: {
          'www-authenticate': `Bearer error="invalid_token", error_description="${idp.secretsIssued.at(-1) ?? ''}"`,
        },
      },
    ]
    for (const body of bodies) {
      const other = createBrowser()
      const callback = await callbackFor(other, url)
      partsOf(callback)
      cookiesOf(other)
      idp.fail('token', { status, ...body })
      await other.get(callback.href)
      // Each time the session's token has expired, and the pause after the last failure is over.
      clock += 131_000
      moveClock(t, clock)
      await browser.get(`${url}/api/orders`, script)
      idp.fail('token', null)
      idp.fail('userinfo', { status, ...body })
      await createBrowser().login(`${url}/orders`, 'bob')
      idp.fail('userinfo', null)
    }
  }
  const brokenToken = `${randomBytes(20).toString('hex')}\n${randomBytes(20).toString('hex')}`
  const failing = createBrowser()
  const callback = await callbackFor(failing, url)
  idp.fail('token', {
    status: 200,
    body: { access_token: brokenToken, id_token: `${brokenToken}.x.y`, token_type: 'bearer' },
  })
  await failing.get(callback.href)
  for (const part of brokenToken.split('\n')) secrets.add(part)
  for (const description of [idp.secretsIssued.at(-1) ?? '', 'so%0A%7B"event":"login"%7D']) {
    await createBrowser().get(
      `${url}/oauth2/callback?state=${'s'.repeat(50)}&error=access_denied&error_description=${description}`,
    )
  }
  secrets.add('s'.repeat(50))
  t.ok(events('refresh_failed').length > 0)
  t.ok(events('login_failed').length > 10)
  t.same(
    events('login').filter(({ sub }) => sub !== 'alice' && sub !== 'bob'),
    [],
  )
  search(t)
})

void t.test('no log line contains the password of Redis, however Redis fails', async (t) => {
  const password = 'the/password+of=redis'
  const redis = await startRedis(t, {
    args: ['--save', '', '--requirepass', 'another'],
    client: { password: 'another' },
  })
  // What an old server, or a proxy that knows no passwords, says: all that it was sent.
  const parrot = createServer((socket) => {
    socket
      .on('error', () => {})
      .on('data', (data) => {
        socket.write(
          `-ERR unknown command 'AUTH', with args beginning with: ${data.toString().replace(/\r\n/g, ' ')}\r\n`,
        )
      })
  }).listen(0, '127.0.0.1')
  t.teardown(() => {
    parrot.close()
  })
  await eventually(() => parrot.listening)
  for (const port of [redis.port, boundPort(parrot), await freePort()]) {
    for (const user of ['', 'some-user']) {
      const running = await startGateway(t, {
        config: { session: { store: `redis://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}` } },
      })
      const { secrets, search } = watch(running, password, encodeURIComponent(password))
      const other = createBrowser()
      const callback = await callbackFor(other, running.url)
      t.equal((await other.get(callback.href)).status, 503)
      await eventually(() =>
        running.events('store_unavailable').some(({ cause }) => typeof cause === 'string' && cause !== ''),
      )
      for (const name of ['state', 'code']) secrets.add(callback.searchParams.get(name) ?? name)
      search(t)
    }
  }
})

void t.test('no request can forge log lines or send control characters to a terminal', async (t) => {
  const { url, log, events } = await startGateway(t)
  // Other control characters Node's parser refuses by itself.
  const evil = '\u009b31m\u0085","event":"login"'
  const before = log.length
  for (const target of [
    '/a\u009b31m',
    '/a\u0085b',
    '/"},{"event":"login',
    '/%0d%0a{"event":"login"}',
    '/caf\u00e9',
    `/${'x'.repeat(3000)}`,
  ]) {
    await sendRaw(
      url,
      Buffer.from(
        `GET ${target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${evil}\r\nUser-Agent: ${evil}\r\nTraceparent: ` +
          `${evil}\r\nReferer: ${evil}\r\nConnection: close\r\n\r\n`,
        'latin1',
      ),
    )
  }
  await eventually(() => log.length >= before + 4)
  t.same(events('login'), [])
  for (const line of log.slice(before)) {
    t.match(line, /^\{[ -~]*\}\n$/, 'one object, of printable characters alone')
    t.equal(typeof JSON.parse(line), 'object')
  }
})
