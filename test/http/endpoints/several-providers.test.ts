import t from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { unescapeHtml } from '../../support/html-form.ts'
import { authorizationUrlOf, beginLogin, callbackFor, signIn } from '../../support/sign-in.ts'
import { clientOf, loginAt, providerOf, startTwo } from '../../support/two-providers.ts'

/** The links of the page to choose a provider: label and URL. */
const choicesIn = ({ body, url }: Answer): [string, URL][] =>
  [...body.matchAll(/<a href="([^"]*)">([^<]*)<\/a>/g)].map(([, href = '', label = '']) => [
    unescapeHtml(label),
    new URL(unescapeHtml(href), url),
  ])

void t.test('several providers in one gateway', async (t) => {
  const two = await startTwo(t)
  const { url, staff, partners, port, events } = two

  await t.test('a login offers all providers that its target allows', async (t) => {
    const browser = createBrowser()
    const page = await browser.get(`${url}/oauth2/login?redirect=/orders&login_hint=alice`)
    t.same([page.status, page.headers['cache-control']], [200, 'no-store'])
    const choices = choicesIn(page)
    t.same(
      choices.map(([label]) => label),
      ['Our staff', 'partners'],
      'by title, or by name without a title, in the order of the configuration',
    )
    t.same(
      choices.map(([, { pathname, searchParams }]) => [pathname, ...searchParams]),
      ['staff', 'partners'].map((name) => [
        '/oauth2/login',
        ['redirect', '/orders'],
        ['login_hint', 'alice'],
        ['provider', name],
      ]),
    )
    const chosen = choices.find(([label]) => label === 'partners')?.[1].href ?? ''
    const authorization = authorizationUrlOf(await browser.get(chosen))
    t.equal(authorization.origin, partners.issuer)
    t.equal(authorization.searchParams.get('redirect_uri'), `${url}/oauth2/callback/partners`)
    t.equal(authorization.searchParams.get('client_id'), clientOf('partners', port))
    const callback = await signIn(browser, authorization)
    const answer = await browser.get(callback.href)
    t.same([answer.status, answer.headers.location], [302, '/orders'])
    t.equal(await providerOf(browser, two), 'partners')
  })

  await t.test('the last choice comes first', async (t) => {
    const browser = createBrowser()
    await loginAt(browser, two, 'partners')
    await browser.post(`${url}/oauth2/logout/local`, undefined, { kind: 'script' })
    const page = await browser.get(`${url}/oauth2/login`)
    t.same(
      choicesIn(page).map(([label]) => label),
      ['partners', 'Our staff'],
    )
  })

  await t.test('login?provider=NAME needs no choice', async (t) => {
    for (const [name, idp] of Object.entries({ staff, partners }))
      t.equal((await beginLogin(createBrowser(), url, { provider: name })).origin, idp.issuer)
    const unknown = await createBrowser().get(`${url}/oauth2/login?provider=unknown`)
    t.same([unknown.status, choicesIn(unknown).length], [200, 2])
  })

  await t.test('a target that allows one provider needs no choice, and wins over the parameter', async (t) => {
    const targets = { '/partners/report?x=1': partners, '/staff/x#y': staff } as const
    for (const [redirect, idp] of Object.entries(targets)) {
      t.equal((await beginLogin(createBrowser(), url, { redirect })).origin, idp.issuer)
      for (const provider of ['staff', 'partners'])
        t.equal((await beginLogin(createBrowser(), url, { redirect, provider })).origin, idp.issuer)
    }
  })

  await t.test('a third party names the provider by its issuer', async (t) => {
    t.equal((await beginLogin(createBrowser(), url, { iss: partners.issuer })).origin, partners.issuer)
    t.equal((await beginLogin(createBrowser(), url, { iss: staff.issuer })).origin, staff.issuer)
    const foreign = await createBrowser().get(`${url}/oauth2/login?iss=https://foreign.example.com`)
    t.same([foreign.status, foreign.headers.gatehouse], [400, 'login_failed'])
    const redirect = '/partners/x'
    t.equal((await beginLogin(createBrowser(), url, { iss: staff.issuer, redirect })).origin, partners.issuer)
  })

  await t.test('a callback works only at the URL of the provider where the login began', async (t) => {
    const browser = createBrowser()
    const callback = await callbackFor(browser, url, { provider: 'staff' })
    t.equal(callback.pathname, '/oauth2/callback/staff')
    const mixedUp = new URL(callback)
    mixedUp.pathname = '/oauth2/callback/partners'
    const before = partners.requests.token
    const refused = await browser.get(mixedUp.href)
    t.same([refused.status, refused.headers.gatehouse], [400, 'login_failed'])
    t.equal(partners.requests.token, before, 'no provider gets the code of another')
    for (const path of ['/oauth2/callback', '/oauth2/callback/', '/oauth2/callback/unknown']) {
      const other = new URL(callback)
      other.pathname = path
      t.equal((await browser.get(other.href)).status, 404, path)
    }
    t.equal((await browser.get(callback.href)).status, 302, 'the refused callback has not used up the login')
    t.equal(await providerOf(browser, two), 'staff')
    const silent = authorizationUrlOf(await browser.get(`${url}/oauth2/silent`, { kind: 'frame' }))
    const state = silent.searchParams.get('state') ?? ''
    const forged = `${url}/oauth2/callback/partners?${new URLSearchParams({ error: 'login_required', state }).toString()}`
    t.equal((await browser.get(forged, { kind: 'frame' })).status, 400, 'of a silent login too')
  })

  await t.test('a session of another provider is no session, and stays valid elsewhere', async (t) => {
    const browser = createBrowser()
    await loginAt(browser, two, 'staff')
    t.equal((await browser.get(`${url}/staff/x`)).status, 404, 'the application answers')
    const page = await browser.get(`${url}/partners/report`)
    t.same([page.status, page.headers.location], [302, `${url}/oauth2/login?redirect=%2Fpartners%2Freport`])
    t.equal(page.headers['set-cookie'], undefined)
    const script = await browser.get(`${url}/partners/report`, { kind: 'script', from: `${url}/partners/page` })
    t.same(
      [script.status, script.headers.gatehouse, script.json()['login_url']],
      [401, 'login_required', `${url}/oauth2/login?redirect=%2Fpartners%2Fpage`],
    )
    const open = await browser.get(`${url}/open/api/echo`)
    t.equal(open.headers['set-cookie'], undefined)
    t.equal(await providerOf(browser, two), 'staff')
    const journey = await browser.login(`${url}/partners/report`, 'alice')
    t.equal(journey.answer.url, `${url}/partners/report`)
    t.equal(await providerOf(browser, two), 'partners', 'the new session replaces the old one')
    t.match(events('session_ended').at(-1), { reason: 'replaced' })
    t.equal((await browser.get(`${url}/staff/x`)).status, 302)
  })

  await t.test('a posted form is kept for the provider that its route allows', async (t) => {
    const answer = await createBrowser().post(`${url}/partners/x`, new URLSearchParams({ a: 'b' }))
    t.equal(answer.status, 401)
    const [, loginUrl] = choicesIn(answer).find(([label]) => label === 'Sign in and send') ?? []
    t.equal(authorizationUrlOf(await createBrowser().get(loginUrl?.href ?? '')).origin, partners.issuer)
  })

  await t.test('a step-up goes to the provider of the session', async (t) => {
    const browser = createBrowser()
    await loginAt(browser, two, 'partners')
    t.equal((await beginLogin(browser, url, { acr_values: 'urn:demo:mfa' })).origin, partners.issuer)
    t.equal((await beginLogin(browser, url, { max_age: '0', provider: 'staff' })).origin, staff.issuer)
  })

  await t.test('silent asks the provider of the session, otherwise the last choice', async (t) => {
    const silentOf = async (browser = createBrowser()): Promise<Answer> =>
      browser.get(`${url}/oauth2/silent`, { kind: 'frame' })
    const browser = createBrowser()
    t.match((await silentOf(browser)).body, '"login_required"')
    await loginAt(browser, two, 'partners')
    t.equal(authorizationUrlOf(await silentOf(browser)).origin, partners.issuer)
    const { answer } = await browser.follow(await silentOf(browser))
    t.match(answer.body, '"ok"')
    t.equal(await providerOf(browser, two), 'partners')
    await beginLogin(browser, url, { provider: 'staff' })
    t.equal(authorizationUrlOf(await silentOf(browser)).origin, partners.issuer, 'the session comes first')
    t.equal(browser.cookies.get(url, 'gatehouse-provider'), 'partners', 'a link to a login is no choice')
    const named = await browser.get(`${url}/oauth2/silent?provider=staff`, { kind: 'frame' })
    t.equal(authorizationUrlOf(named).origin, staff.issuer, 'a page may name the provider of its user')
    await loginAt(browser, two, 'staff')
    await browser.post(`${url}/oauth2/logout/local`, undefined, { kind: 'script' })
    t.equal(authorizationUrlOf(await silentOf(browser)).origin, staff.issuer)
  })

  await t.test('a script that requests the login gets its URL', async (t) => {
    const answer = await createBrowser().get(`${url}/oauth2/login?provider=staff&redirect=/x`, { kind: 'script' })
    t.same([answer.status, answer.json()['login_url']], [401, `${url}/oauth2/login?redirect=%2Fx&provider=staff`])
  })

  await t.test('a login that is restarted stays at its provider', async (t) => {
    const browser = createBrowser()
    const callback = await callbackFor(browser, url, { provider: 'partners' })
    await browser.get(callback.href)
    await browser.post(`${url}/oauth2/logout/local`, undefined, { kind: 'script' })
    const answer = await browser.get(callback.href)
    t.equal(new URL(answer.headers.location ?? '').searchParams.get('provider'), 'partners')
  })

  await t.test('a logout goes to the provider of the session', async (t) => {
    for (const [name, idp] of [
      ['staff', staff],
      ['partners', partners],
    ] as const) {
      const browser = createBrowser()
      await loginAt(browser, two, name)
      const answer = await browser.get(`${url}/oauth2/logout`)
      const { origin, searchParams } = new URL(answer.headers.location ?? '')
      t.equal(origin, idp.issuer)
      t.ok(searchParams.get('id_token_hint'))
    }
    const { status } = await createBrowser().get(`${url}/oauth2/logout`)
    t.equal(status, 200, 'without a session and a last choice, the page says that the user is signed out')
  })

  await t.test('a logout that did not end at its provider asks for the account at that provider only', async (t) => {
    const promptAt = async (browser: Browser, name: string): Promise<string | null> =>
      (await beginLogin(browser, url, { provider: name })).searchParams.get('prompt')
    const browser = createBrowser()
    await loginAt(browser, two, 'partners')
    await browser.get(`${url}/oauth2/logout`)
    await loginAt(browser, two, 'staff')
    t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), 'partners', 'a login at the other does not answer it')
    const away = await browser.get(`${url}/oauth2/logout`)
    t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), 'partners.staff')
    t.match((await browser.follow(away)).answer.body, 'You are signed out')
    t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), 'partners', 'the callback answers only for its provider')
    t.equal(await promptAt(browser, 'staff'), null)
    t.equal(await promptAt(browser, 'partners'), 'select_account')
    t.equal(await promptAt(browser, 'partners'), null, 'once')

    const stranger = createBrowser()
    await stranger.get(`${url}/oauth2/logout`)
    t.equal(await promptAt(stranger, 'staff'), 'select_account', 'the session may be at any provider')
    t.equal(await promptAt(stranger, 'partners'), 'select_account')
  })

  await t.test('headers, log lines and metrics name the provider', async (t) => {
    const browser = createBrowser()
    await loginAt(browser, two, 'partners')
    const echo = (await browser.get(`${url}/api/echo`, { kind: 'script' })).json()
    t.match(echo, { headers: { 'x-provider': 'partners' } })
    t.match(events('login').at(-1), { provider: 'partners', sub: 'alice' })
    t.match(
      events('provider_discovered').map(({ provider }) => provider),
      ['staff', 'partners'],
    )
    t.match(events('request').at(-1), { path: '/api/echo', provider: 'partners' })
    const text = await two.gateway.metrics.registry.metrics()
    t.match(
      text,
      /gatehouse_logins_total\{provider="partners",outcome="ok"\} [1-9]|gatehouse_logins_total\{outcome="ok",provider="partners"\} [1-9]/,
    )
    t.match(text, /gatehouse_provider_seconds_count\{operation="token",provider="staff",outcome="ok"\} [1-9]/)
    t.match(text, /gatehouse_refreshes_total\{.*provider="staff".*\} 0/)
  })
})

void t.test('a return without a state answers only for a provider whose logout.url has no state', async (t) => {
  const two = await startTwo(t, { partners: { logout: { url: 'http://localhost/bye' } } })
  const { url } = two
  const browser = createBrowser()
  for (const name of ['staff', 'partners'] as const) {
    await loginAt(browser, two, name)
    await browser.get(`${url}/oauth2/logout`)
  }
  t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), 'staff.partners')
  await browser.get(`${url}/oauth2/logout/callback`)
  t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), 'staff')
})
