import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser, type Browser } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { beginLogin, callbackFor } from '../../support/sign-in.ts'

// One provider for all gateways here: none of them changes it.
const idp = await startIdp()
t.teardown(() => idp.close())

const routes = [
  { path: '/**' },
  { path: '/public/**', access: 'public' },
  { path: '/staff/**', require: { claims: { groups: ['nobody'] } } },
  { path: '/strong/**', require: { acr: 'urn:demo:mfa' } },
]

const start = async (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<Running> =>
  startGateway(t, { idp, ...options, config: { routes, ...options.config } })

type Sent = Readonly<Record<string, string>>

const ISS = { iss: idp.issuer }

/** What the gateway says to a login whose callback brings these members in place of a code. */
const refusedWith = async (
  { url }: Running,
  browser: Browser,
  sent: Sent,
  query: Record<string, string> = {},
): Promise<Answer> => {
  const state = (await beginLogin(browser, url, query)).searchParams.get('state') ?? ''
  return browser.get(`${url}/oauth2/callback?${new URLSearchParams({ state, ...sent }).toString()}`)
}

const isPage = (t: Test, answer: Answer, status: number, text: string | RegExp, name: string): void => {
  t.equal(answer.status, status, name)
  t.equal(answer.headers.gatehouse, 'login_failed', name)
  t.match(answer.headers['content-type'], /^text\/html/)
  t.match(answer.body, text, name)
  t.notOk(answer.headers['set-cookie']?.some((line) => line.startsWith('gatehouse=')))
}

void t.test('an error in the query is a 400 page that describes it, regardless of its origin', async (t) => {
  const running = await start(t)
  const rows: [error: string, text: string][] = [
    ['access_denied', 'was canceled'],
    ['user_cancelled_authorize', 'was canceled'],
    ['user_cancelled_login', 'was canceled'],
    ['interaction_required', 'needs your input'],
    ['consent_required', 'needs your input'],
    ['invalid_request', 'did not accept what'],
    ['invalid_scope', 'did not accept what'],
    ['unauthorized_client', 'did not accept what'],
    ['unsupported_response_type', 'did not accept what'],
    ['unmet_authentication_requirements', 'did not provide it'],
    ['<svg onload=alert(1)>', 'did not accept what'],
    ['a\r\nb', 'did not accept what'],
    ['x'.repeat(5_000), 'did not accept what'],
  ]
  for (const [error, text] of rows) {
    const browser = createBrowser()
    for (const iss of [ISS, {}]) {
      const answer = await refusedWith(running, browser, { error, ...iss }, { redirect: '/orders' })
      isPage(t, answer, 400, text, `${error.slice(0, 40)} ${JSON.stringify(iss)}`)
      t.notMatch(answer.body, error, 'the user reads a sentence')
      t.match(answer.body, `href="${running.url}/oauth2/login?redirect=%2Forders"`, 'which leads to a new login')
    }
  }
})

void t.test('only server_error is a 502, and only with a state of this browser', async (t) => {
  const running = await start(t)
  const browser = createBrowser()
  isPage(t, await refusedWith(running, browser, { error: 'server_error', ...ISS }), 502, 'can’t be used', 'its own')
  t.match(running.events('login_failed').at(-1), { cause: /server_error/ })
  const state = (await beginLogin(browser, running.url)).searchParams.get('state') ?? ''
  const query = new URLSearchParams({ error: 'server_error', state, ...ISS }).toString()
  const stranger = await createBrowser().get(`${running.url}/oauth2/callback?${query}`)
  t.match([stranger.status, stranger.headers.location], [302, /\/oauth2\/login/], 'another browser begins a login')
  const script = await createBrowser().get(`${running.url}/oauth2/callback?${query}`, { kind: 'script' })
  t.equal(script.status, 400)
  const unsealed = new URLSearchParams({ error: 'server_error', state: 'x', ...ISS }).toString()
  t.equal((await createBrowser().get(`${running.url}/oauth2/callback?${unsealed}`)).status, 400)
  t.equal((await createBrowser().get(`${running.url}/oauth2/callback?error=server_error`)).status, 400)
})

void t.test('an error from another issuer is not reported as the provider’s', async (t) => {
  const running = await start(t)
  for (const error of ['server_error', 'temporarily_unavailable', 'login_required', 'access_denied']) {
    const answer = await refusedWith(running, createBrowser(), { error, iss: 'https://evil.example' })
    isPage(t, answer, 400, 'could not be completed', error)
  }
})

const passing: Sent[] = [
  { error: 'temporarily_unavailable', error_description: 'authentication_expired' },
  { error: 'temporarily_unavailable' },
  { error: 'authentication_expired' },
  { error: 'login_required' },
]

void t.test('a temporary error starts one new login, and two in a row show a page', async (t) => {
  const running = await start(t)
  for (const sent of passing) {
    const browser = createBrowser()
    const first = await refusedWith(running, browser, sent, { redirect: '/orders?page=2' })
    const name = JSON.stringify(sent)
    t.equal(first.status, 302, name)
    const again = new URL(first.headers.location ?? '')
    t.equal(again.searchParams.get('redirect'), '/orders?page=2')
    const second = await refusedWith(running, browser, sent, Object.fromEntries(again.searchParams))
    isPage(t, second, 400, 'twice in a row', name)
    t.notMatch(second.body, 'can’t be reached')
    t.equal(second.headers['retry-after'], undefined)
    const afterwards = await refusedWith(running, browser, sent, { redirect: '/orders?page=2' })
    t.equal(afterwards.status, 302, 'a login that the user begins is the first again')
    const { answer } = await browser.follow(afterwards)
    const { answer: end } = await browser.press(answer, 'alice')
    t.equal(end.url, `${running.url}/orders?page=2`, 'and it succeeds')
  }
  t.match(
    running.log.join(''),
    /temporarily_unavailable: authentication_expired/,
    'the log has the one word that explains',
  )
  t.equal(running.events('provider_unavailable').length, 0)
})

void t.test('the new login repeats the parameters of the first one', async (t) => {
  const running = await start(t)
  const asked = {
    redirect: '/orders',
    acr_values: 'urn:demo:mfa',
    max_age: '60',
    scope: 'orders.read',
    claims: '{"a":1}',
  }
  const refused = await refusedWith(running, createBrowser(), { error: 'authentication_expired' }, asked)
  t.match(Object.fromEntries(new URL(refused.headers.location ?? '').searchParams), asked)

  const other = createBrowser()
  const state = (await beginLogin(other, running.url, asked)).searchParams.get('state') ?? ''
  const stale = await createBrowser().get(`${running.url}/oauth2/callback?code=x&state=${state}&iss=${idp.issuer}`)
  t.match(Object.fromEntries(new URL(stale.headers.location ?? '').searchParams), asked, 'also after a stale state')
})

void t.test('every old tab reaches its page after the user has signed in in one of the tabs', async (t) => {
  const running = await start(t)
  const browser = createBrowser()
  const tabs = await Promise.all(
    Array.from({ length: 6 }, async () => beginLogin(browser, running.url, { redirect: '/orders' })),
  )
  await browser.login(`${running.url}/`, 'alice')
  for (const [index, { searchParams }] of tabs.entries()) {
    const state = searchParams.get('state') ?? ''
    const query = new URLSearchParams({ state, ...passing[index % passing.length] }).toString()
    const answer = await browser.get(`${running.url}/oauth2/callback?${query}`)
    t.match([answer.status, answer.headers.location], [302, '/orders'], query)
  }
})

void t.test('with a session that the target accepts, any error leads to the target', async (t) => {
  const running = await start(t)
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'alice')
  for (const error of ['server_error', 'access_denied', 'invalid_request', 'temporarily_unavailable']) {
    const target = { redirect: `/orders?${error}` }
    const answer = await refusedWith(running, browser, { error }, { ...target, prompt: 'login' })
    t.match([answer.status, answer.headers.location], [302, target.redirect], error)
  }
  t.equal((await refusedWith(running, browser, { error: 'server_error' }, { redirect: '/staff/1' })).status, 502)
  const refused = await refusedWith(running, browser, { error: 'access_denied' }, { redirect: '/staff/1' })
  isPage(t, refused, 400, 'still signed in', 'the target does not accept this user')
  t.equal((await browser.get(`${running.url}/api/orders`, { kind: 'script' })).status, 200)
})

void t.test('an application that asks for a login despite the session causes no loop', async (t) => {
  const running = await start(t)
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'alice')
  const statuses: number[] = []
  for (const _ of [1, 2, 3, 4])
    statuses.push((await refusedWith(running, browser, { error: 'login_required' }, { redirect: '/orders' })).status)
  t.same(statuses, [302, 302, 302, 400])
})

void t.test('a failed step-up is reported as such, and the session stays', async (t) => {
  const running = await start(t)
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'alice')
  const wishes: Record<string, string>[] = [
    { redirect: '/strong/1', acr_values: 'urn:demo:mfa' },
    // Of the application's own: the route knows nothing of it.
    { redirect: '/orders', max_age: '60' },
    { redirect: '/orders', scope: 'orders.write' },
  ]
  for (const wish of wishes) {
    for (const error of [
      'unmet_authentication_requirements',
      'invalid_scope',
      'invalid_request',
      'interaction_required',
    ]) {
      const answer = await refusedWith(running, browser, { error, ...ISS }, wish)
      isPage(
        t,
        answer,
        400,
        /stronger or more recent sign-in.*You are still signed in/,
        `${error} ${JSON.stringify(wish)}`,
      )
    }
    isPage(t, await refusedWith(running, browser, { error: 'access_denied' }, wish), 400, 'canceled', 'or as a cancel')
  }
  t.equal((await browser.get(`${running.url}/api/orders`, { kind: 'script' })).status, 200)
})

void t.test('a step-up that another tab completed in the meantime is not a failure', async (t) => {
  const running = await start(t)
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'alice')
  const wish = { redirect: '/strong/1', acr_values: 'urn:demo:mfa' }
  const state = (await beginLogin(browser, running.url, wish)).searchParams.get('state') ?? ''
  await browser.login(`${running.url}/strong/2`, 'alice')
  const query = new URLSearchParams({ state, error: 'authentication_expired' }).toString()
  const answer = await browser.get(`${running.url}/oauth2/callback?${query}`)
  t.equal(answer.headers.location, '/strong/1')
})

void t.test('a prompt that the provider refuses is blamed on the link, even with a pushed request', async (t) => {
  const pushing = await startIdp({ pushedAuthorization: true })
  t.teardown(() => pushing.close())
  for (const provider of [idp, pushing]) {
    const running = await start(t, { idp: provider })
    for (const prompt of ['bogus', 'none login']) {
      const browser = createBrowser()
      const begun = await browser.get(`${running.url}/oauth2/login?${new URLSearchParams({ prompt }).toString()}`)
      isPage(t, (await browser.follow(begun)).answer, 400, 'did not accept what', prompt)
    }
    for (const query of ['claims=%7B', 'scope=%22', 'acr_values=%00', `login_hint=${'x'.repeat(9_000)}`, 'max_age=0']) {
      const browser = createBrowser()
      const { answer } = await browser.follow(await browser.get(`${running.url}/oauth2/login?${query}`))
      t.ok(answer.status < 500, `${query.slice(0, 40)}: ${answer.status} at ${answer.url.slice(0, 60)}`)
    }
  }
})

void t.test('an invalid query is a 400, and none of it reaches the provider', async (t) => {
  const running = await start(t)
  const { url } = running
  const before = idp.tokenRequests
  const change: [name: string, member: string, values: (right: string) => string[]][] = [
    ['no code', 'code', () => []],
    ['an empty code', 'code', () => ['']],
    ['two codes', 'code', (right) => [right, 'x']],
    ['the code twice', 'code', (right) => [right, right]],
    ['the state twice', 'state', (right) => [right, right]],
    ['iss twice', 'iss', (right) => [right, right]],
    ['no iss', 'iss', () => []],
    ['an empty iss', 'iss', () => ['']],
    ['another iss', 'iss', () => ['https://evil.example']],
    ['iss with a slash', 'iss', (right) => [`${right}/`]],
    ['iss in capitals', 'iss', (right) => [right.toUpperCase()]],
    ['a code and an error', 'error', () => ['access_denied']],
    ['an ID token', 'id_token', () => ['x']],
    ['JARM', 'response', () => ['x']],
    ['an invalid code', 'code', () => ['\u0000é']],
  ]
  for (const [name, member, values] of change) {
    const browser = createBrowser()
    const callback = await callbackFor(browser, url, { redirect: '/orders' })
    const right = callback.searchParams.get(member) ?? ''
    callback.searchParams.delete(member)
    for (const value of values(right)) callback.searchParams.append(member, value)
    const answer = await browser.get(callback.href)
    isPage(t, answer, 400, 'could not be completed', name)
  }
  t.equal(idp.tokenRequests, before)
  const page = await createBrowser().get(`${url}/oauth2/callback?code=x&state=unknown`)
  t.match(page.body, `href="${url}/oauth2/login"`, 'a state that no key opens: the link begins a login')
})
