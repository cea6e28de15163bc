import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { moveClock } from '../../support/clock.ts'
import { startGateway } from '../../support/gateway.ts'
import { beginLogin, callbackFor, plainPage, signIn } from '../../support/sign-in.ts'

const sessionOf = (browser: Browser, url: string): string | null => browser.cookies.get(url, 'gatehouse')

void t.test('a callback ends at the target with a session', async (t) => {
  const { url, events } = await startGateway(t)
  const browser = createBrowser()
  const answer = await browser.get((await callbackFor(browser, url, { redirect: '/orders?a=1#top' })).href)
  t.equal(answer.status, 302)
  t.equal(answer.headers.location, '/orders?a=1#top')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.ok(sessionOf(browser, url))
  t.match(events('login'), [{ sub: 'alice' }])
})

void t.test('a state is used once: without a session the same callback begins a new login', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url, { redirect: '/orders' })
  await browser.get(callback.href)
  const granted = idp.grants.authorization_code
  await browser.post(`${url}/oauth2/logout/local`, '', { kind: 'script' })

  const replayed = await browser.get(callback.href)
  t.equal(replayed.status, 302)
  t.match(replayed.headers.location, `${url}/oauth2/login?redirect=%2Forders`)
  t.notOk(sessionOf(browser, url))
  t.equal(idp.grants.authorization_code, granted, 'the code is not redeemed again')
})

void t.test('with a session the same callback continues to its target', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url, { redirect: '/orders' })
  await browser.get(callback.href)
  const session = sessionOf(browser, url)
  const replayed = await browser.get(callback.href)
  t.equal(replayed.status, 302)
  t.equal(replayed.headers.location, '/orders')
  t.equal(sessionOf(browser, url), session)
})

void t.test('a script that repeats a callback learns that the login failed', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url)
  await browser.get(callback.href)
  const replayed = await browser.get(callback.href, { kind: 'script' })
  t.equal(replayed.status, 400)
  t.equal(replayed.json()['code'], 'login_failed')
  t.notOk(replayed.headers['set-cookie'])
})

void t.test('a state older than ten minutes starts one new login, which succeeds', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url, { redirect: '/orders' })
  moveClock(t, 601_000)
  const { answer, hops } = await browser.follow(await browser.get(callback.href))
  t.equal(answer.url, `${url}/orders`)
  t.equal(hops.filter(({ url: to }) => to.includes('/oauth2/login')).length, 1)
  t.equal(idp.grants.authorization_code, 1)
})

void t.test('a state expires even if another tab has renewed the login cookie', async (t) => {
  const { url, events } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url)
  moveClock(t, 400_000)
  await beginLogin(browser, url)
  moveClock(t, 300_000)
  t.match((await browser.get(callback.href)).headers.location, `${url}/oauth2/login?`)
  t.match(events('login_begun_anew'), [{ problem: 'the login took longer than ten minutes' }])
})

void t.test('a state that is nine minutes old is accepted', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const authorization = await beginLogin(browser, url, { redirect: '/orders' })
  moveClock(t, 540_000)
  const answer = await browser.get((await signIn(browser, authorization)).href)
  t.equal(answer.headers.location, '/orders')
})

void t.test('another user’s callback never logs this browser in as that user', async (t) => {
  const { url, idp } = await startGateway(t)
  const [attacker, victim] = [createBrowser(), createBrowser()]
  const callback = await callbackFor(attacker, url, { user: 'bob', redirect: '/orders' })

  const answer = await victim.get(callback.href, { from: 'https://evil.example/' })
  t.equal(answer.status, 302)
  t.match(answer.headers.location, `${url}/oauth2/login?redirect=%2Forders`)
  t.notOk(sessionOf(victim, url))
  t.equal(idp.tokenRequests, 0, 'the code is not even redeemed')

  await victim.login(`${url}/orders`, 'alice')
  const userinfo = await victim.get(`${url}/oauth2/userinfo`, { kind: 'script' })
  t.equal(userinfo.json()['sub'], 'alice')
})

void t.test('another user’s callback does not end an existing session', async (t) => {
  const { url } = await startGateway(t)
  const [attacker, victim] = [createBrowser(), createBrowser()]
  await victim.login(`${url}/`, 'alice')
  const session = sessionOf(victim, url)
  const answer = await victim.get((await callbackFor(attacker, url, { user: 'bob', redirect: '/orders' })).href)
  t.equal(answer.headers.location, '/orders')
  t.equal(sessionOf(victim, url), session)
})

void t.test('a login cookie planted by an attacker is useless without the state', async (t) => {
  const { url } = await startGateway(t)
  const [attacker, victim] = [createBrowser(), createBrowser()]
  const foreign = await beginLogin(attacker, url)
  const own = await beginLogin(victim, url)
  const code = (await signIn(attacker, foreign, 'bob')).searchParams.get('code') ?? ''
  const mixed = await signIn(victim, own, 'alice')
  mixed.searchParams.set('code', code)
  const answer = await victim.get(mixed.href)
  t.equal(answer.status, 400, 'a code for another verifier is refused')
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.notOk(sessionOf(victim, url))
})

void t.test('after three attempts within a minute a page says why the login fails', async (t) => {
  const { url, log } = await startGateway(t)
  const callback = await callbackFor(createBrowser(), url, { redirect: '/orders' })
  const other = createBrowser()
  for (const _ of [1, 2, 3]) t.equal((await other.get(callback.href)).status, 302)
  const answer = await other.get(callback.href)
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.headers['content-type'], /^text\/html/)
  t.match(answer.body, 'cookie')
  t.match(log.join(''), 'this browser has no cookie for the state')
  t.equal((await other.get(callback.href)).status, 302, 'then it can be retried')
})

void t.test('a browser without cookies gets a page instead of a loop', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const withoutCookies = { ...plainPage, headers: { ...plainPage.headers, cookie: '' } }
  let answer = await browser.get(`${url}/oauth2/login`, withoutCookies)
  for (let hops = 0; answer.headers.location !== undefined && hops < 40; hops += 1) {
    const next = new URL(answer.headers.location, answer.url)
    const to = next.origin === url ? next : await signIn(browser, next)
    answer = await browser.get(to.href, withoutCookies)
  }
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.body, 'accepts cookies')
})

void t.test('a state that this gateway did not seal gets a clear error, in a script and in a browser', async (t) => {
  const { url } = await startGateway(t)
  for (const state of ['garbage', randomBytes(300).toString('base64url'), '', 'é%00']) {
    const target = `${url}/oauth2/callback?${new URLSearchParams({ code: 'x', state }).toString()}`
    const script = await createBrowser().get(target, { kind: 'script' })
    t.equal(script.status, 400)
    t.equal(script.json()['code'], 'login_failed')
    const browser = await createBrowser().get(target)
    t.equal(browser.status, 400)
    t.equal(browser.headers.gatehouse, 'login_failed')
    t.match(browser.body, 'Sign in again')
    t.equal(browser.headers['set-cookie'], undefined)
  }
})

void t.test('a changed state is refused', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url)
  const state = callback.searchParams.get('state') ?? ''
  for (const changed of [
    state.slice(0, -2),
    `${state}A`,
    `${state}=`,
    `A${state.slice(1)}B`,
    state.toLowerCase(),
    ` ${state}`,
  ]) {
    callback.searchParams.set('state', changed)
    t.equal((await browser.get(callback.href, { kind: 'script' })).status, 400)
  }
  t.equal(idp.tokenRequests, 0)
})

void t.test('a callback without a state gets a page that explains the mistake', async (t) => {
  const { url } = await startGateway(t)
  const page = await createBrowser().get(`${url}/oauth2/callback?code=x`)
  t.equal(page.status, 400)
  t.match(page.headers['content-type'], /^text\/html/)
  t.match(page.body, 'started elsewhere')
  const script = await createBrowser().get(`${url}/oauth2/callback`, { kind: 'script' })
  t.equal(script.status, 400)
  t.equal(script.json()['code'], 'login_failed')
})

void t.test('canceling at the provider shows a page, and reloading it starts a new login', async (t) => {
  const { url, events } = await startGateway(t)
  const browser = createBrowser()
  const page = await browser.follow(await browser.get(`${url}/oauth2/login?redirect=%2Forders`))
  const { answer } = await browser.press(page.answer, 'Cancel')
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.body, 'canceled')
  t.match(String(events('login_failed')[0]?.['cause']), /access_denied: the user canceled/)
  t.equal((await browser.get(answer.url)).status, 302)
})

void t.test('prompt=none without a session at the provider is not reported as a provider error', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const { answer } = await browser.follow(await browser.get(`${url}/oauth2/login?prompt=none`))
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.body, 'needs your input')
})

void t.test('a response from another issuer, or without the announced iss, is refused (RFC 9207)', async (t) => {
  const { url, idp, log } = await startGateway(t)
  for (const iss of ['https://evil.example', null]) {
    const browser = createBrowser()
    const callback = await callbackFor(browser, url)
    if (iss === null) callback.searchParams.delete('iss')
    else callback.searchParams.set('iss', iss)
    const answer = await browser.get(callback.href)
    t.equal(answer.status, 400)
    t.match(answer.headers['content-type'], /^text\/html/)
    t.notOk(sessionOf(browser, url))
  }
  t.equal(idp.tokenRequests, 0)
  t.match(log.join(''), /iss/)
})

void t.test('an unknown code is a 400', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url)
  callback.searchParams.set('code', 'made-up')
  const answer = await browser.get(callback.href)
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.body, 'no longer accepts this sign-in')
})

void t.test('a login started at one public URL can’t be finished at another', async (t) => {
  const urls = ['https://orders.example.com', 'https://shop.example.com']
  const { url: listening, idp } = await startGateway(t, {
    config: { publicUrl: urls },
    client: { redirectUris: urls.map((url) => `${url}/oauth2/callback`) },
  })
  const browser = createBrowser({ origins: Object.fromEntries(urls.map((url) => [url, listening])) })
  const callback = await callbackFor(browser, 'https://orders.example.com', { redirect: '/orders' })
  const cookie = browser.cookies.header(callback)
  callback.hostname = 'shop.example.com'
  const answer = await browser.get(callback.href, { headers: { cookie } })
  t.equal(answer.status, 302)
  t.match(answer.headers.location, 'https://shop.example.com/oauth2/login?redirect=%2F&')
  t.equal(idp.tokenRequests, 0)
})

void t.test('a prefetched callback leaves the state for the real one', async (t) => {
  const { url } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url, { redirect: '/orders' })
  t.equal((await browser.get(callback.href, { headers: { 'sec-purpose': 'prefetch' } })).status, 204)
  t.equal((await browser.get(callback.href)).headers.location, '/orders')
})

void t.test('a SameSite=Strict session survives the redirect from the provider', async (t) => {
  const publicUrl = 'https://orders.example.com'
  const { url: listening } = await startGateway(t, {
    config: { publicUrl, session: { cookie: { sameSite: 'strict' } } },
    client: { redirectUris: [`${publicUrl}/oauth2/callback`] },
  })
  const browser = createBrowser({ origins: { [publicUrl]: listening } })
  const { answer, hops } = await browser.login(`${publicUrl}/orders?page=2`, 'alice')
  t.equal(answer.url, `${publicUrl}/orders?page=2`)
  t.equal(answer.headers.gatehouse, undefined, 'answered by the application')
  t.equal(hops.filter(({ url }) => url.includes('/oauth2/callback')).length, 1, 'at the first try')
})
