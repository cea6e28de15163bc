import { request } from 'node:http'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import type { Answer } from '../support/exchange.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'

const script = { kind: 'script' } as const

const tokenOf = ({ upstream }: Running): string => upstream.requests.at(-1)?.headers.authorization ?? ''

void t.test('a fresh token is not refreshed', async (t) => {
  const { call, idp } = await loggedIn(t)
  moveClock(t, 49_000)
  t.equal((await call()).status, 200)
  await sleep(50)
  t.equal(idp.grants.refresh_token, 0)
})

void t.test('a token that is due but valid is refreshed in the background: no request waits', async (t) => {
  const running = await loggedIn(t)
  const { call, idp } = running
  await call()
  const old = tokenOf(running)
  idp.fail('token', { delay: 600 })
  moveClock(t, 51_000)
  const started = performance.now()
  t.equal((await call()).status, 200)
  t.ok(performance.now() - started < 300, 'answered while the provider takes its time')
  t.equal(tokenOf(running), old)
  await eventually(() => idp.grants.refresh_token === 1)
  await eventually(async () => (await call()).status === 200 && tokenOf(running) !== old)
  t.equal(idp.grants.refresh_token, 1)
})

void t.test('refreshBefore can be a duration', async (t) => {
  const { call, idp } = await loggedIn(t, { config: { session: { refreshBefore: '10s' } } })
  moveClock(t, 89_000)
  await call()
  await sleep(50)
  t.equal(idp.grants.refresh_token, 0)
  moveClock(t, 2_000)
  await call()
  await eventually(() => idp.grants.refresh_token === 1)
})

void t.test('fifty requests at expiry wait for one refresh, and all succeed', async (t) => {
  const running = await loggedIn(t)
  const { call, idp, upstream } = running
  idp.fail('token', { delay: 200 })
  moveClock(t, 101_000)
  const before = upstream.requests.length
  const answers = await Promise.all(Array.from({ length: 50 }, call))
  t.same([...new Set(answers.map(({ status }) => status))], [200])
  t.equal(idp.tokenRequests, 2, 'one for the login, one for all of these')
  const tokens = new Set(upstream.requests.slice(before).map(({ headers }) => headers.authorization))
  t.equal(tokens.size, 1)
})

void t.test('a client disconnect does not lose the new tokens', async (t) => {
  const { call, idp, url, browser, status } = await loggedIn(t)
  idp.fail('token', { delay: 300 })
  moveClock(t, 101_000)
  const leaving = request(`${url}/api/orders`, { headers: { cookie: browser.cookies.header(new URL(url)) } })
  leaving.on('error', () => {})
  leaving.end()
  await sleep(100)
  leaving.destroy()
  await eventually(async () => (await status()).tokens['refreshed_at'] !== (await status()).session['created_at'])
  t.equal((await call()).status, 200)
  t.equal(idp.tokenRequests, 2)
})

void t.test('without a refresh token an expired token ends the session only for routes that need it', async (t) => {
  const running = await startGateway(t, {
    idp: { lifetimes: { accessToken: 100 } },
    config: {
      provider: { scopes: ['openid'] },
      routes: [
        { path: '/**' },
        { path: '/api/echo', token: { grant: 'none' } },
        { path: '/api/echo/optional', access: 'optional' },
        { path: '/orders', access: 'optional', token: { grant: 'none' } },
      ],
    },
  })
  running.idp.settings.reshapeTokenResponse = ({ refresh_token: _gone, ...rest }) => rest
  const { url, idp } = running
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  moveClock(t, 101_000)
  const spent = await browser.get(`${url}/api/orders`, script)
  t.equal(spent.status, 401)
  t.equal(spent.json()['code'], 'session_expired')
  t.notOk(spent.headers['set-cookie'], 'the cookie stays for the other routes')
  const other = await browser.get(`${url}/api/echo`, script)
  t.equal(other.status, 200)
  t.notMatch(other.body, /authorization/i)
  const optional = await browser.get(`${url}/api/echo/optional`, script)
  t.equal(optional.status, 200, 'an optional route works with an ended session')
  t.notMatch(optional.body, /authorization/i)
  t.equal((await browser.get(`${url}/oauth2/session`, script)).status, 200)
  t.equal(idp.tokenRequests, 1)
})

void t.test('a navigation with an expired token and no refresh token goes through the login and returns', async (t) => {
  const { url, idp, browser } = await loggedIn(t, { config: { provider: { scopes: ['openid'] } } })
  t.equal(idp.grants.refresh_token, 0)
  moveClock(t, 101_000)
  const { answer } = await browser.follow(await browser.get(`${url}/orders?page=2`))
  t.equal(answer.url, `${url}/orders?page=2`)
  t.equal(answer.headers.gatehouse, undefined)
})

void t.test('a refresh delays the next one by a cooldown, for every caller', async (t) => {
  const { browser, url, idp, call, status } = await loggedIn(t)
  const refresh = async (): Promise<Answer> => browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.match(await status(), { tokens: { refresh_cooldown: false } }, 'a login starts no cooldown')
  const first = await refresh()
  t.equal(first.status, 200)
  t.match(first.json(), {
    tokens: { refresh_cooldown: true, refresh_cooldown_seconds: /^(?:50|4\d)$/, expire_in_seconds: /^9\d$/ },
  })
  t.equal((await refresh()).status, 200)
  t.equal(idp.grants.refresh_token, 1)
  moveClock(t, 49_000)
  await refresh()
  t.equal(idp.grants.refresh_token, 1)
  moveClock(t, 1_500)
  t.match(await status(), { tokens: { refresh_cooldown: false, refresh_cooldown_seconds: 0 } })
  await call()
  await eventually(() => idp.grants.refresh_token === 2)
})

void t.test('POST session/refresh counts as activity, and is refused cross-site', async (t) => {
  const { browser, url, idp, status } = await loggedIn(t, { config: { session: { idleTimeout: '1m' } } })
  moveClock(t, 50_000)
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.match(await status(), { session: { timeout_in_seconds: /^5\d$/ } })
  const headers = { cookie: browser.cookies.header(new URL(url)) }
  const forged = await browser.post(`${url}/oauth2/session/refresh`, '', {
    kind: 'script',
    from: 'https://evil.example/',
    headers,
  })
  t.equal(forged.status, 403)
  t.equal(forged.json()['code'], 'cross_origin')
  const old = await browser.post(`${url}/oauth2/session/refresh`, '', {
    kind: 'none',
    headers: { ...headers, origin: 'https://evil.example' },
  })
  t.equal(old.status, 403, 'also when only Origin says so')
  t.equal((await createBrowser().post(`${url}/oauth2/session/refresh`, '', script)).json()['code'], 'login_required')
  t.equal((await browser.get(`${url}/oauth2/session/refresh`, script)).status, 405)
  t.equal(idp.grants.refresh_token, 1)
})

void t.test('a response without a new refresh token keeps the old one', async (t) => {
  const { call, idp } = await loggedIn(t)
  idp.settings.rotateRefreshTokens = false
  idp.settings.reshapeTokenResponse = ({ refresh_token: _kept, ...rest }) => rest
  for (const round of [1, 2, 3]) {
    moveClock(t, 101_000)
    t.equal((await call()).status, 200)
    t.equal(idp.grants.refresh_token, round)
  }
})

void t.test('rotated refresh tokens are used one after the other', async (t) => {
  const { call, idp } = await loggedIn(t)
  for (const round of [1, 2, 3]) {
    moveClock(t, 101_000)
    t.equal((await call()).status, 200)
    t.equal(idp.grants.refresh_token, round)
  }
  t.equal(idp.refusedGrants.refresh_token, 0)
})

void t.test('a new ID token’s claims apply at once', async (t) => {
  const admins = { path: '/api/orders', require: { claims: { groups: ['admin'] } } }
  const { url, browser, idp } = await loggedIn(t, { config: { routes: [{ path: '/**' }, admins] } })
  t.equal((await browser.get(`${url}/api/orders`, script)).status, 200)
  const alice = idp.users.get('alice')
  if (alice !== undefined) idp.users.set('alice', { ...alice, groups: ['staff'] })
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.same((await browser.get(`${url}/oauth2/userinfo`, script)).json()['groups'], ['staff'])
  t.equal((await browser.get(`${url}/api/orders`, script)).status, 403)
})

void t.test('a logout during a refresh stands, and the new refresh token is revoked', async (t) => {
  const { call, idp, browser, url, events } = await loggedIn(t)
  const cookie = browser.cookies.header(new URL(url))
  idp.fail('token', { delay: 400 })
  // Otherwise the provider revokes the grant with the old refresh token, and there is no new one.
  idp.fail('revocation', { status: 500, times: 1 })
  moveClock(t, 101_000)
  const waiting = call()
  await eventually(() => idp.tokenRequests === 2)
  t.equal((await browser.post(`${url}/oauth2/logout`, '', script)).status, 200)
  t.equal((await waiting).status, 401, 'no request passes any more')
  await eventually(() => idp.revocations === 2)
  const late = await browser.get(`${url}/api/orders`, { kind: 'script', headers: { cookie } })
  t.equal(late.json()['code'], 'session_expired')
  t.match(events('session_ended'), [{ reason: 'logout' }])
})

void t.test('a local logout during a refresh revokes the new refresh token only with local-too', async (t) => {
  for (const revoke of [true, 'local-too']) {
    const { call, idp, browser, url } = await loggedIn(t, { config: { provider: { logout: { revoke } } } })
    idp.fail('token', { delay: 400 })
    idp.fail('revocation', { status: 500, times: 1 })
    moveClock(t, 101_000)
    const waiting = call()
    await eventually(() => idp.tokenRequests === 2)
    t.equal((await browser.post(`${url}/oauth2/logout/local`, '', script)).status, 204)
    t.equal((await waiting).status, 401)
    if (revoke === true) await new Promise((resolve) => setTimeout(resolve, 100))
    else await eventually(() => idp.revocations === 2)
    t.equal(idp.revocations, revoke === true ? 0 : 2)
  }
})

void t.test('the metrics count refreshes by outcome and cause', async (t) => {
  const { browser, url, idp, call, gateway } = await loggedIn(t, { config: { admin: { listen: '127.0.0.1:0' } } })
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  moveClock(t, 101_000)
  await call()
  idp.forgetRefreshTokens()
  moveClock(t, 101_000)
  await call()
  const metrics = (await gateway.admin?.inject('/metrics'))?.body ?? ''
  t.match(metrics, 'gatehouse_refreshes_total{outcome="refreshed",cause="asked"} 1')
  t.match(metrics, 'gatehouse_refreshes_total{outcome="refreshed",cause="expired"} 1')
  t.match(metrics, 'gatehouse_refreshes_total{outcome="ended",cause="expired"} 1')
})
