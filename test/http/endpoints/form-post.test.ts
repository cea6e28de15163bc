import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { authorizationUrlOf } from '../../support/sign-in.ts'

const publicUrl = 'https://orders.example.com'

const start = async (t: Test): Promise<Running & { browser: Browser }> => {
  const port = await startGateway(t, {
    config: { publicUrl, provider: { responseMode: 'form_post' } },
    client: {
      redirectUris: [`${publicUrl}/oauth2/callback`],
      postLogoutRedirectUris: [`${publicUrl}/oauth2/logout/callback`],
    },
  })
  return { ...port, browser: createBrowser({ origins: { [publicUrl]: port.url } }) }
}

void t.test('the provider’s cross-site POST completes the login at its target', async (t) => {
  const { browser } = await start(t)
  const { answer, hops } = await browser.login(`${publicUrl}/orders?page=2`, 'alice')
  t.equal(answer.url, `${publicUrl}/orders?page=2`)
  t.equal(answer.headers.gatehouse, undefined)
  t.match(
    hops.filter(({ url }) => url.includes('/oauth2/callback')),
    [{ method: 'POST', url: `${publicUrl}/oauth2/callback` }],
  )
})

void t.test('the cross-site POST carries the login cookie, and not the session cookie', async (t) => {
  const { browser } = await start(t)
  const begun = await browser.get(`${publicUrl}/oauth2/login`)
  t.equal(authorizationUrlOf(begun).searchParams.get('response_mode'), 'form_post')
  const [loginCookie = ''] = begun.headers['set-cookie'] ?? []
  t.match(loginCookie, /^__Host-gatehouse-login-\d=[\w.-]+; Path=\/; HttpOnly; Secure; SameSite=None; Max-Age=600$/)

  await browser.login(`${publicUrl}/orders`, 'alice')
  const session = browser.cookies.list(publicUrl).find(({ name }) => name === '__Host-gatehouse')
  t.match(session, { secure: true, httpOnly: true, hostOnly: true, path: '/', sameSite: 'lax' })
})

void t.test('a callback forged by another site has no effect', async (t) => {
  const { browser, idp } = await start(t)
  await browser.get(`${publicUrl}/oauth2/login`)
  const forged = new URLSearchParams({ code: 'x', state: 'made-up' })
  const answer = await browser.post(`${publicUrl}/oauth2/callback`, forged, { from: 'https://evil.example/' })
  t.equal(answer.status, 400)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.equal(answer.headers['set-cookie'], undefined)
  t.equal(idp.tokenRequests, 0)
})

void t.test('a new login replaces the existing session, although its cookie is not sent with the POST', async (t) => {
  const { browser, events } = await start(t)
  await browser.login(`${publicUrl}/orders`, 'alice')
  const old = browser.cookies.header(new URL(publicUrl))
  await browser.login(`${publicUrl}/oauth2/login?prompt=login`, 'bob')
  t.match(events('session_ended'), [{ reason: 'replaced' }])
  t.equal((await browser.get(`${publicUrl}/oauth2/userinfo`, { kind: 'script' })).json()['sub'], 'bob')
  const late = await browser.get(`${publicUrl}/oauth2/session`, { kind: 'script', headers: { cookie: old } })
  t.equal(late.json()['code'], 'session_expired')
})

void t.test('a form that is too large is not read', async (t) => {
  const { browser } = await start(t)
  const answer = await browser.post(
    `${publicUrl}/oauth2/callback`,
    new URLSearchParams({ state: 'x'.repeat(70_000) }),
    { kind: 'script' },
  )
  t.equal(answer.status, 413)
  t.equal(answer.json()['code'], 'payload_too_large')
})

void t.test('a login in a frame uses response_mode=query, because the posting page can’t be framed', async (t) => {
  const { browser } = await start(t)
  await browser.login(`${publicUrl}/orders`, 'alice')
  for (const query of ['', '?keep']) {
    const frame = { kind: 'frame', from: `${publicUrl}/` } as const
    const begun = await browser.get(`${publicUrl}/oauth2/silent${query}`, frame)
    const authorization = new URL(begun.headers.location ?? '')
    t.notOk(authorization.searchParams.has('response_mode'))
    // The provider's own cookie is one for the top alone here.
    const callback = await browser.get(authorization.href)
    t.match(callback.headers.location, `${publicUrl}/oauth2/callback?`)
    let end = await browser.get(callback.headers.location ?? '', frame)
    if (end.status === 302) end = await browser.get(new URL(end.headers.location ?? '', publicUrl).href, frame)
    t.match(end.body, 'outcome:"ok"')
  }
})
