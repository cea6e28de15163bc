import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { callbackFor } from '../support/sign-in.ts'
import { startScriptedProvider } from '../oidc/scripted-provider.ts'

const routes = [
  { path: '/**' },
  { path: '/orders', require: { acr: 'urn:demo:mfa' } },
  { path: '/api/orders', require: { maxAge: '5m' } },
]

void t.test('a page that needs a second factor asks for it and then opens', async (t) => {
  const { url } = await startGateway(t, { config: { routes } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const before = browser.cookies.get(url, 'gatehouse')
  const denied = await browser.get(`${url}/orders?page=2`)
  t.equal(denied.status, 302)
  t.equal(denied.headers.location, `${url}/oauth2/login?redirect=%2Forders%3Fpage%3D2&acr_values=urn%3Ademo%3Amfa`)

  const { answer } = await browser.login(`${url}/orders?page=2`, 'alice')
  t.equal(answer.url, `${url}/orders?page=2`)
  t.not(browser.cookies.get(url, 'gatehouse'), before, 'under a new session id')
  t.equal((await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()['acr'], 'urn:demo:mfa')
})

void t.test('a script receives the parameters for the login', async (t) => {
  const { url } = await startGateway(t, { config: { routes } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const answer = await browser.get(`${url}/orders`, { kind: 'script', from: `${url}/app` })
  t.equal(answer.status, 401)
  t.match(answer.json(), {
    code: 'step_up_required',
    login_url: `${url}/oauth2/login?redirect=%2Fapp&acr_values=urn%3Ademo%3Amfa`,
  })
  t.notOk(answer.headers['set-cookie'], 'the session stays')
})

void t.test('a provider that does not grant the requested acr ends in a page instead of a loop', async (t) => {
  const { url, log } = await startGateway(t, { config: { routes } })
  const browser = createBrowser()
  const callback = await callbackFor(browser, url, { acr_values: 'urn:unknown' })
  const answer = await browser.get(callback.href)
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.body, 'stronger or more recent sign-in')
  t.notOk(browser.cookies.get(url, 'gatehouse'))
  t.match(log.join(''), 'asked for acr urn:unknown, the ID token says urn:demo:password')
})

void t.test('a route with maxAge requires a recent login', async (t) => {
  const { url, idp } = await startGateway(t, { config: { routes } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  t.equal((await browser.get(`${url}/api/orders`, { kind: 'script' })).status, 200)
  moveClock(t, 301_000)
  const denied = await browser.get(`${url}/api/orders`, { kind: 'script', from: `${url}/app` })
  t.match(denied.json(), { code: 'step_up_required', login_url: `${url}/oauth2/login?redirect=%2Fapp&max_age=300` })
  await browser.login(String(denied.json()['login_url']), 'alice')
  t.equal(idp.lastAuthorizationRequest?.['max_age'], '300')
  t.equal((await browser.get(`${url}/api/orders`, { kind: 'script' })).status, 200)
})

type WithoutAuthTime = Running & { readonly browser: Browser; readonly asked: URLSearchParams[] }

/** A provider that uses its own session of the user, and the authorization requests that it got. */
const startWithout = async (
  t: Test,
  authTimeOf: (asked: URLSearchParams) => number | undefined,
  { isAnnounced = false, ...more }: Record<string, unknown> = {},
): Promise<WithoutAuthTime> => {
  const provider = await startScriptedProvider(t)
  if (isAnnounced === true) provider.document['claims_supported'] = ['sub', 'auth_time']
  const asked: URLSearchParams[] = []
  provider.paths.set('/authorize', (request, response) => {
    const authorization = new URL(request.url ?? '', provider.origin)
    asked.push(authorization.searchParams)
    void provider
      .callback(authorization, { auth_time: authTimeOf(authorization.searchParams) }, {})
      .then(({ href }) => response.writeHead(302, { location: href }).end())
  })
  const running = await startGateway(t, { config: { provider: { issuer: provider.issuer, ...more }, routes } })
  return { ...running, asked, browser: createBrowser() }
}

const open = async ({ browser, url }: WithoutAuthTime, path: string): Promise<number> =>
  (await browser.follow(await browser.get(`${url}${path}`))).answer.status

const prompts = (asked: readonly URLSearchParams[]) =>
  asked.map((parameters) => [parameters.get('max_age'), parameters.get('prompt')])

void t.test('without auth_time, maxAge counts from a login with prompt=login', async (t) => {
  const running = await startWithout(t, () => undefined)
  const { asked, browser, url } = running
  t.equal(await open(running, '/'), 200)
  const denied = await browser.get(`${url}/api/orders`, { kind: 'script' })
  t.match(denied.json(), { code: 'step_up_required' }, 'a login with the session of the provider proves nothing')
  t.equal(await open(running, '/api/orders'), 200)
  t.same(prompts(asked), [
    [null, null],
    ['300', 'login'],
  ])

  moveClock(t, 299_000)
  t.equal((await browser.get(`${url}/api/orders`, { kind: 'script' })).status, 200)
  moveClock(t, 2_000)
  t.match((await browser.get(`${url}/api/orders`, { kind: 'script' })).json(), { code: 'step_up_required' })
  t.equal(await open(running, '/api/orders'), 200, 'also after the first expiry')
  t.same(prompts(asked).slice(2), [['300', 'login']])
})

void t.test(
  'a provider that announces auth_time, but does not send it, is asked again with prompt=login',
  async (t) => {
    const running = await startWithout(t, () => undefined, { isAnnounced: true })
    const { asked, events } = running
    t.equal(await open(running, '/'), 200)
    t.equal(await open(running, '/api/orders'), 200)
    t.same(prompts(asked).slice(1), [
      ['300', null],
      ['300', 'login'],
    ])
    t.equal(events('login_begun_anew').at(-1)?.['problem'], 'the provider does not say when the user authenticated')
    moveClock(t, 301_000)
    t.equal(await open(running, '/api/orders'), 200)
    t.same(prompts(asked).slice(3), [['300', 'login']], 'the session shows that there is no auth_time')
  },
)

void t.test('a provider that says auth_time only if asked does not ask for the password', async (t) => {
  const authTimeOf = (asked: URLSearchParams) => (asked.has('max_age') ? Math.floor(Date.now() / 1000) : undefined)
  const running = await startWithout(t, authTimeOf, { isAnnounced: true })
  t.equal(await open(running, '/'), 200)
  t.equal(await open(running, '/api/orders'), 200)
  t.same(prompts(running.asked), [
    [null, null],
    ['300', null],
  ])
})

void t.test('an auth_time counts even after a login with prompt=login', async (t) => {
  const running = await startWithout(t, () => Math.floor(Date.now() / 1000) - 600)
  const { browser, url } = running
  t.equal(await open(running, '/oauth2/login?prompt=login'), 200)
  t.match((await browser.get(`${url}/api/orders`, { kind: 'script' })).json(), { code: 'step_up_required' })
  t.equal(await open(running, '/api/orders'), 400, 'the provider does not repeat the login')
})

void t.test('a configured prompt=login proves the age of every login, and a silent one proves nothing', async (t) => {
  const running = await startWithout(t, () => undefined, { authorizationParameters: { prompt: 'login' } })
  const { browser, url, asked } = running
  t.equal(await open(running, '/api/orders'), 200)
  t.same(prompts(asked), [[null, 'login']])
  t.equal(await open(running, '/oauth2/login?prompt=none&redirect=/'), 200)
  t.match((await browser.get(`${url}/api/orders`, { kind: 'script' })).json(), { code: 'step_up_required' })
})

/** Alice logged in, at a provider that ignores requests to authenticate her again. */
const start = async (t: Test): Promise<Running & { readonly browser: Browser }> => {
  const running = await startGateway(t, { config: { routes } })
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'alice')
  running.idp.settings.ignoreStepUp = true
  return { ...running, browser }
}

const logins = (hops: readonly { readonly url: string }[]): number =>
  hops.filter(({ url }) => url.includes('/oauth2/callback')).length

void t.test('a provider that does not repeat an old login ends in a page, and the session stays', async (t) => {
  const { url, log, browser } = await start(t)
  moveClock(t, 400_000)
  const { answer, hops } = await browser.login(`${url}/api/orders`, 'alice')
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.match(answer.body, 'stronger or more recent sign-in')
  t.equal(logins(hops), 1, 'no circle')
  t.match(log.join(''), 'asked for max_age 300')
  t.equal((await browser.get(`${url}/`, { kind: 'script' })).status, 200)
  t.match((await browser.get(`${url}/api/orders`, { kind: 'script' })).json(), { code: 'step_up_required' })
})

void t.test('a provider whose clock is slightly behind does not cause a loop', async (t) => {
  const { url, browser } = await start(t)
  moveClock(t, 310_000)
  const { answer, hops } = await browser.login(`${url}/api/orders`, 'alice')
  t.equal(answer.status, 200, 'the page opens after the callback')
  t.equal(logins(hops), 1)
  moveClock(t, 3_000)
  const later = await browser.get(`${url}/api/orders`, { kind: 'script' })
  t.match(later.json(), { code: 'step_up_required' }, 'and is too old a moment later')
})

void t.test('a route that requires a second factor and a recent login gets both in one login', async (t) => {
  const both = { path: '/api/orders', require: { acr: 'urn:demo:mfa', maxAge: '5m' } }
  const { url, idp } = await startGateway(t, { config: { routes: [{ path: '/**' }, both] } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  moveClock(t, 301_000)
  const { answer, hops } = await browser.login(`${url}/api/orders`, 'alice')
  t.equal(answer.status, 200)
  t.match(idp.lastAuthorizationRequest, { acr_values: 'urn:demo:mfa', max_age: '300' })
  t.equal(logins(hops), 1)
})
