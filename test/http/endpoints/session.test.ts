import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { moveClock } from '../../support/clock.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { beginLogin, signIn } from '../../support/sign-in.ts'

const script = { kind: 'script' } as const

const cookieOf = (browser: Browser, url: string): string => browser.cookies.get(url, 'gatehouse') ?? ''

const isShopSession = ({ name }: { name: string }): boolean => name === '__Secure-shop'

/** What a script gets on a page of the application with exactly this cookie header. */
const withCookie = async (
  url: string,
  cookie: string,
): Promise<{ status: number; code: unknown; cleared: boolean }> => {
  const answer = await createBrowser().get(`${url}/api/orders`, { kind: 'script', headers: { cookie } })
  const cleared = answer.headers['set-cookie']?.some((line) => /^gatehouse=;.*Max-Age=0/.test(line)) ?? false
  return { status: answer.status, code: answer.headers.gatehouse, cleared }
}

void t.test(
  'the session cookie is HttpOnly, SameSite=Lax, for the whole site and an hour longer than the session',
  async (t) => {
    const { url } = await startGateway(t)
    const browser = createBrowser()
    const before = Date.now()
    await browser.login(`${url}/`, 'alice')
    const cookie = browser.cookies.list(url).find(({ name }) => name === 'gatehouse')
    t.match(cookie, { httpOnly: true, sameSite: 'lax', path: '/', hostOnly: true, secure: false })
    t.ok(Math.abs((cookie?.expiresAt ?? 0) - before - 39_600_000) < 10_000)
    t.ok(cookie !== undefined && cookie.value.length < 300, 'small')
  },
)

void t.test('the session cookie on https is Secure and has the __Host- prefix', async (t) => {
  const publicUrl = 'https://orders.example.com'
  const { url } = await startGateway(t, {
    config: { publicUrl },
    client: { redirectUris: [`${publicUrl}/oauth2/callback`] },
  })
  const browser = createBrowser({ origins: { [publicUrl]: url } })
  await browser.login(`${publicUrl}/`, 'alice')
  t.match(
    browser.cookies.list(publicUrl).find(({ name }) => name === '__Host-gatehouse'),
    { secure: true, hostOnly: true, path: '/' },
  )
})

void t.test(
  'the session cookie with a domain has the __Secure- prefix, and login and logout work with it',
  async (t) => {
    const publicUrl = 'https://orders.example.com'
    const { url } = await startGateway(t, {
      config: { publicUrl, session: { cookie: { domain: 'example.com', name: 'shop' } } },
      client: { redirectUris: [`${publicUrl}/oauth2/callback`] },
    })
    const browser = createBrowser({ origins: { [publicUrl]: url } })
    const { answer } = await browser.login(`${publicUrl}/orders`, 'alice')
    t.equal(answer.url, `${publicUrl}/orders`)
    t.match(browser.cookies.list(publicUrl).find(isShopSession), {
      secure: true,
      hostOnly: false,
      domain: 'example.com',
    })
    await browser.post(`${publicUrl}/oauth2/logout/local`, '', script)
    t.notOk(browser.cookies.list(publicUrl).some(isShopSession))
  },
)

void t.test(
  'each login has a new session id, under which the same user’s session continues, and the old id is invalid',
  async (t) => {
    const { url, events } = await startGateway(t)
    const browser = createBrowser()
    await browser.login(`${url}/`, 'alice')
    const first = cookieOf(browser, url)
    moveClock(t, 5_000)
    await browser.login(`${url}/oauth2/login`, 'alice')
    const second = cookieOf(browser, url)
    t.not(first, second)
    t.match(events('session_ended'), [{ reason: 'renewed' }])
    // The browser already has the new cookie: clearing by name would remove it.
    t.same(await withCookie(url, `gatehouse=${first}`), { status: 401, code: 'session_expired', cleared: false })
    t.equal((await withCookie(url, `gatehouse=${second}`)).status, 200)
  },
)

void t.test('another user’s login ends the existing session, and revokes its refresh token', async (t) => {
  const { url, events, idp } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const first = cookieOf(browser, url)
  await browser.login(`${url}/oauth2/login?prompt=login`, 'bob')
  t.match(events('session_ended'), [{ reason: 'replaced' }])
  t.equal((await withCookie(url, `gatehouse=${first}`)).code, 'session_expired')
  t.equal(idp.revocations, 1)
})

void t.test('a cookie with any flipped bit is not a session', async (t) => {
  const { url, log } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = cookieOf(browser, url)
  const flipped = cookie
    .split('')
    .flatMap((char, at) =>
      [0, 1, 2, 3, 4, 5].map((bit) => {
        const other = String.fromCharCode(char.charCodeAt(0) ^ (1 << bit))
        return /[\w.~!#$&'()*+/:<=>?@[\]^`{|}-]/.test(other)
          ? `${cookie.slice(0, at)}${other}${cookie.slice(at + 1)}`
          : null
      }),
    )
    .filter((value) => value !== null)
  t.ok(flipped.length > 500, `${flipped.length} changes`)
  const seen = new Map<string, number>()
  for (let i = 0; i < flipped.length; i += 40) {
    for (const { status, code } of await Promise.all(
      flipped.slice(i, i + 40).map(async (value) => withCookie(url, `gatehouse=${value}`)),
    )) {
      seen.set(`${status} ${String(code)}`, (seen.get(`${status} ${String(code)}`) ?? 0) + 1)
    }
  }
  t.same([...seen.keys()], ['401 login_required'])
  t.equal((await withCookie(url, `gatehouse=${cookie}`)).status, 200)
  t.notMatch(log.join(''), /internal_error/)
})

void t.test('a malformed, truncated or oversized cookie is not a session, and never causes an error', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = cookieOf(browser, url)
  const values = [
    '',
    '.',
    '../..',
    'x',
    'null',
    '%00',
    '"',
    cookie.slice(0, -1),
    cookie.slice(1),
    cookie.slice(0, cookie.indexOf('.')),
    `${cookie}A`,
    `${cookie}.`,
    `"${cookie}"`,
    cookie.toUpperCase(),
    cookie.replace('.', ';'),
    randomBytes(200).toString('base64url'),
    'A'.repeat(8000),
    `${'A'.repeat(2000)}.${'A'.repeat(32)}`,
    encodeURIComponent(`${cookie}==`),
  ]
  for (const value of values)
    t.equal((await withCookie(url, `gatehouse=${value}`)).code, 'login_required', value.slice(0, 40))
  t.equal((await withCookie(url, cookie)).code, 'login_required', 'a value without a name')
  t.equal((await withCookie(url, `a=b;gatehouse=${cookie} ; c`)).status, 200, 'odd spacing does not matter')
})

void t.test('two valid session cookies are not a session, and one next to garbage is a session', async (t) => {
  const { url } = await startGateway(t)
  const [one, other] = [createBrowser(), createBrowser()]
  await one.login(`${url}/`, 'alice')
  await other.login(`${url}/`, 'bob')
  const [a, b] = [cookieOf(one, url), cookieOf(other, url)]
  t.equal((await withCookie(url, `gatehouse=${a}; gatehouse=${b}`)).code, 'login_required')
  t.equal((await withCookie(url, `gatehouse=${a}; x=y; gatehouse=${a}`)).code, 'login_required')
  t.equal((await withCookie(url, `gatehouse=rubbish; gatehouse=${a}`)).status, 200)
})

void t.test('a key that moved to second place opens what it sealed, and a removed key opens nothing', async (t) => {
  const [old, fresh] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]
  const { url, idp, upstream } = await startGateway(t, { config: { session: { keys: [old] } } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = `gatehouse=${cookieOf(browser, url)}`
  // Replicas are one client of the provider.
  const provider = { clientId: `client-${new URL(url).port}` }
  const rotated = await startGateway(t, { idp, upstream, config: { provider, session: { keys: [fresh, old] } } })
  t.equal(
    (await withCookie(rotated.url, cookie)).code,
    'session_expired',
    'it opens; the session is in the memory of the other',
  )
  const removed = await startGateway(t, { idp, upstream, config: { provider, session: { keys: [fresh] } } })
  t.equal((await withCookie(removed.url, cookie)).code, 'login_required', 'it does not open')
})

void t.test('a session ends with its lifetime, regardless of its use', async (t) => {
  const { url, events } = await startGateway(t, { config: { session: { lifetime: '1m', idleTimeout: '30s' } } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = `gatehouse=${cookieOf(browser, url)}`
  for (const _ of [1, 2, 3]) {
    moveClock(t, 19_000)
    t.equal((await withCookie(url, cookie)).status, 200)
  }
  moveClock(t, 4_000)
  t.same(await withCookie(url, cookie), { status: 401, code: 'session_expired', cleared: true })
  t.match(events('session_ended'), [{ reason: 'lifetime' }])
})

void t.test(
  'an idle session ends, and requests to the application count as use, unlike GET session and userinfo',
  async (t) => {
    const { url, events } = await startGateway(t, { config: { session: { idleTimeout: '30s' } } })
    const browser = createBrowser()
    await browser.login(`${url}/`, 'alice')
    moveClock(t, 20_000)
    await browser.get(`${url}/api/orders`, script)
    moveClock(t, 20_000)
    const status = await browser.get(`${url}/oauth2/session`, script)
    t.equal(status.status, 200, 'the request kept it alive')
    t.match(status.json(), { session: { timeout_in_seconds: /^[4-9]$/ } })
    await browser.get(`${url}/oauth2/userinfo`, script)
    moveClock(t, 11_000)
    const ended = await browser.get(`${url}/oauth2/session`, script)
    t.equal(ended.status, 401)
    t.equal(ended.json()['code'], 'session_expired')
    t.match(events('session_ended'), [{ reason: 'idle' }])
  },
)

void t.test('idleTimeout: off keeps an idle session, and reports null and -1', async (t) => {
  const { url } = await startGateway(t, { config: { session: { idleTimeout: 'off' } } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  moveClock(t, 9 * 3_600_000)
  t.match((await browser.get(`${url}/oauth2/session`, script)).json(), {
    session: { timeout_at: null, timeout_in_seconds: -1, active: true },
  })
})

void t.test(
  'with endWithIdToken a session ends with its ID token, and a refreshed ID token moves the end',
  async (t) => {
    const { url, events } = await startGateway(t, {
      config: { session: { endWithIdToken: true } },
      idp: { lifetimes: { idToken: 100, accessToken: 60 } },
    })
    const browser = createBrowser()
    await browser.login(`${url}/`, 'alice')
    const asLongAsTheIdToken = { session: { ends_in_seconds: /^9\d$/ } }
    t.match((await browser.get(`${url}/oauth2/session`, script)).json(), asLongAsTheIdToken)
    moveClock(t, 70_000)
    t.equal(
      (await browser.get(`${url}/api/orders`, script)).status,
      200,
      'refreshes the expired access token, the ID token with it',
    )
    t.match((await browser.get(`${url}/oauth2/session`, script)).json(), asLongAsTheIdToken)
    moveClock(t, 101_000)
    t.equal((await browser.get(`${url}/api/orders`, script)).json()['code'], 'session_expired')
    t.match(events('session_ended'), [{ reason: 'id_token' }])
  },
)

void t.test('GET session answers as documented', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const answer = await browser.get(`${url}/oauth2/session`, script)
  t.match(answer.headers['content-type'], /^application\/json/)
  t.equal(answer.headers['cache-control'], 'no-store')
  const createdAt = /"created_at":"([^"]+)"/.exec(answer.body)?.[1]
  const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/
  t.match(answer.json(), {
    session: {
      created_at: iso,
      ends_at: iso,
      timeout_at: iso,
      ends_in_seconds: /^3599\d$/,
      timeout_in_seconds: /^179\d$/,
      active: true,
    },
    tokens: {
      expire_at: iso,
      refreshed_at: createdAt,
      expire_in_seconds: /^29\d$/,
      next_auto_refresh_in_seconds: /^14\d$/,
      refresh_cooldown: false,
      refresh_cooldown_seconds: 0,
      refreshable: true,
      last_refresh_error: null,
    },
  })
})

void t.test('values that the provider omits are null and -1', async (t) => {
  const { url, idp } = await startGateway(t)
  idp.settings.reshapeTokenResponse = ({ expires_in: _expires, refresh_token: _refresh, ...rest }) => rest
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  t.match((await browser.get(`${url}/oauth2/session`, script)).json(), {
    tokens: { expire_at: null, expire_in_seconds: -1, next_auto_refresh_in_seconds: -1, refreshable: false },
  })
  moveClock(t, 1_000_000)
  t.equal((await browser.get(`${url}/api/orders`, script)).status, 200, 'a token of unknown age is used')
})

void t.test('GET session and userinfo without a session are problems, never redirects', async (t) => {
  const { url } = await startGateway(t)
  for (const path of ['session', 'userinfo']) {
    const none = await createBrowser().get(`${url}/oauth2/${path}`, { kind: 'script', from: `${url}/app` })
    t.equal(none.status, 401)
    t.equal(none.headers['www-authenticate'], 'Bearer')
    t.match(none.json(), { code: 'login_required', login_url: `${url}/oauth2/login?redirect=%2Fapp` })
    t.notOk(none.headers['set-cookie'])
    t.equal((await createBrowser().get(`${url}/oauth2/${path}`)).status, 401, 'also for a navigation')
  }
})

void t.test('GET session with an ended session reports it and clears the cookie', async (t) => {
  const { url } = await startGateway(t, { config: { session: { idleTimeout: '1m' } } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  moveClock(t, 61_000)
  const answer = await browser.get(`${url}/oauth2/session`, script)
  t.equal(answer.status, 401)
  t.equal(answer.json()['code'], 'session_expired')
  t.match(answer.headers['set-cookie'], [/^gatehouse=;.*Max-Age=0/])
})

void t.test('userinfo returns the claims, and no token', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'zoe')
  const answer = await browser.get(`${url}/oauth2/userinfo`, script)
  t.match(answer.json(), { sub: 'zoe', name: 'Zoë', email: 'zoe@example.com', groups: ['staff'], iss: idp.issuer })
  t.equal(answer.headers['cache-control'], 'no-store')
  for (const secret of idp.secretsIssued) t.notOk(answer.body.includes(secret))
})

void t.test(
  'a session dropped by a full memory store is noticed at once: its cookie is cleared, a new login follows, and the ' +
    'metrics count it',
  async (t) => {
    const admin = await freePort()
    const { url } = await startGateway(t, {
      config: { session: { store: 'memory:?max=2' }, admin: { listen: `127.0.0.1:${admin}` } },
    })
    const browsers = [createBrowser(), createBrowser(), createBrowser()]
    for (const browser of browsers) await browser.login(`${url}/`, 'alice')
    const [first = createBrowser(), second = createBrowser()] = browsers
    const lost = await first.get(`${url}/orders`)
    t.equal(lost.status, 302)
    t.match(lost.headers['set-cookie'], [/^gatehouse=;.*Max-Age=0/])
    t.equal((await second.get(`${url}/api/orders`, script)).status, 200, 'the others go on')
    const { answer } = await first.login(`${url}/orders`, 'alice')
    t.equal(answer.url, `${url}/orders`)
    const metrics = (await createBrowser().get(`http://127.0.0.1:${admin}/metrics`)).body
    t.match(metrics, /^gatehouse_store_evictions_total 2$/m)
    t.match(metrics, /^gatehouse_store_sessions 2$/m)
    t.match(metrics, /^gatehouse_sessions_ended_total\{reason="lost"\} 2$/m)
  },
)

void t.test('the tokens never reach the browser', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  const { hops } = await browser.login(`${url}/public/`, 'alice')
  t.ok(hops.length > 3)
  const answers = [
    await browser.get(`${url}/oauth2/session`, script),
    await browser.get(`${url}/oauth2/userinfo`, script),
  ]
  const seen = [
    ...answers.map(({ body, rawHeaders }) => body + rawHeaders.join()),
    JSON.stringify(browser.cookies.all()),
  ].join('\n')
  for (const secret of idp.secretsIssued) t.notOk(seen.includes(secret))
})

const oddNumbers = [0, -1, 0.3, 1e300, Number('9223372036854775'), 9e12, null, 'soon', '', [60], true]

for (const value of oddNumbers) {
  void t.test(`a lifetime of ${JSON.stringify(value)} is unknown: null and -1, without a refresh`, async (t) => {
    const { url, idp } = await startGateway(t)
    idp.settings.reshapeTokenResponse = (body) => ({ ...body, expires_in: value, refresh_expires_in: value })
    const browser = createBrowser()
    t.equal((await browser.login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
    const unknown = { tokens: { expire_at: null, expire_in_seconds: -1, next_auto_refresh_in_seconds: -1 } }
    for (const method of ['GET', 'POST']) {
      const path = method === 'POST' ? 'session/refresh' : 'session'
      const answer = await browser.request(method, `${url}/oauth2/${path}`, script)
      t.equal(answer.status, 200)
      t.match(answer.json(), unknown)
    }
    const before = idp.tokenRequests
    for (let i = 0; i < 5; i += 1) t.equal((await browser.get(`${url}/api/orders`, script)).status, 200)
    t.equal(idp.tokenRequests, before)
  })
}

void t.test('a lifetime as a string of digits is accepted', async (t) => {
  const { url, idp } = await startGateway(t)
  idp.settings.reshapeTokenResponse = (body) => ({ ...body, expires_in: '3600' })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  t.match((await browser.get(`${url}/oauth2/session`, script)).json(), { tokens: { expire_in_seconds: /^35\d\d$/ } })
})

void t.test('a max_age that is not a number of seconds is not sent', async (t) => {
  const { url } = await startGateway(t)
  for (const value of ['-1', '1e3', 'soon', '', '99999999999999999999', '1.5', 'NaN']) {
    const authorization = await beginLogin(createBrowser(), url, { max_age: value })
    t.equal(authorization.searchParams.get('max_age'), null, value)
  }
})

void t.test('an ID token whose lifetime exceeds the range of Date ends no session', async (t) => {
  const { url, idp } = await startGateway(t, { config: { session: { endWithIdToken: true } } })
  const browser = createBrowser()
  const authorization = await beginLogin(browser, url)
  const callback = await signIn(browser, authorization)
  const { searchParams } = authorization
  const idToken = await idp.sign({
    iss: idp.issuer,
    sub: 'alice',
    aud: searchParams.get('client_id') ?? '',
    nonce: searchParams.get('nonce') ?? '',
    iat: Math.floor(Date.now() / 1000),
    exp: 1e300,
  })
  idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: idToken })
  t.equal((await browser.get(callback.href)).status, 302)
  const answer = await browser.get(`${url}/oauth2/session`, script)
  t.match(answer.json(), { session: { ends_in_seconds: /^35\d\d\d$/ } })
})
