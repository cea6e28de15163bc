import t from 'tap'
import { createBrowser } from '../../support/browser.ts'
import { moveClock } from '../../support/clock.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway } from '../../support/gateway.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { beginLogin } from '../../support/sign-in.ts'

const script = { kind: 'script' } as const

const routes = [{ path: '/**' }, { path: '/public/**', access: 'public' }]

void t.test('a logout ends the session at the gateway and at the provider, and returns to the target', async (t) => {
  const { url, browser, idp, events } = await loggedIn(t, { config: { routes } })
  const cookie = browser.cookies.header(new URL(url))
  const away = await browser.get(`${url}/oauth2/logout?redirect=%2Fpublic%2Fbye%3Fa%3D1`, { from: `${url}/` })
  t.equal(away.status, 302)
  t.equal(away.headers['cache-control'], 'no-store')
  t.match(away.headers['set-cookie'], [/^gatehouse=; Path=\/; HttpOnly; SameSite=Lax; Max-Age=0$/])
  const endSession = new URL(away.headers.location ?? '')
  t.equal(endSession.origin, idp.issuer)
  t.equal(endSession.searchParams.get('post_logout_redirect_uri'), `${url}/oauth2/logout/callback`)
  t.ok(idp.secretsIssued.includes(endSession.searchParams.get('id_token_hint') ?? ''))
  t.notMatch(away.headers.location, /refresh_token|access_token|public/)

  const { answer } = await browser.follow(away)
  t.equal(answer.url, `${url}/public/bye?a=1`)
  t.match(events('session_ended'), [{ reason: 'logout' }])
  t.match(events('logout'), [{ sub: 'alice' }])
  const late = await browser.get(`${url}/api/orders`, { kind: 'script', headers: { cookie } })
  t.equal(late.json()['code'], 'session_expired', 'a retained cookie is not accepted')

  const page = await browser.follow(await browser.get((await beginLogin(browser, url)).href))
  t.match(page.answer.body, 'Sign in as alice', 'the provider does not know the user any more')
})

void t.test('a logout without a target shows a page with a link to sign in', async (t) => {
  const { url, browser } = await loggedIn(t, { config: { routes } })
  for (const path of ['logout', 'sign_out']) {
    const { answer } = await browser.follow(await browser.get(`${url}/oauth2/${path}`, { from: `${url}/` }))
    t.match(answer.url, `${url}/oauth2/logout/callback`)
    t.equal(answer.status, 200)
    t.match(answer.body, 'You are signed out')
    t.match(answer.body, `href="${url}/oauth2/login"`)
    t.equal(answer.headers['cache-control'], 'no-store')
  }
})

void t.test('sign_out and rd work as in oauth2-proxy', async (t) => {
  const { url, browser } = await loggedIn(t, { config: { routes } })
  const { answer } = await browser.follow(
    await browser.get(`${url}/oauth2/sign_out?rd=%2Fpublic%2Fbye`, { from: `${url}/` }),
  )
  t.equal(answer.url, `${url}/public/bye`)
})

void t.test('a form of the application may post the logout', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const fields = new URLSearchParams({ redirect: '/public/bye' })
  const away = await browser.post(`${url}/oauth2/logout`, fields, { from: `${url}/` })
  t.equal(away.status, 303, 'the browser continues with GET')
  t.equal((await browser.follow(away)).answer.url, `${url}/public/bye`)
  t.match(events('session_ended'), [{ reason: 'logout' }])
})

void t.test('a script gets the logout URL for its page', async (t) => {
  const { url, browser, idp, events } = await loggedIn(t, { config: { routes } })
  const answer = await browser.post(`${url}/oauth2/logout?redirect=%2Fpublic%2Fbye`, '', script)
  t.equal(answer.status, 200)
  const { logout_url: logoutUrl } = answer.json()
  t.equal(new URL(String(logoutUrl)).origin, idp.issuer)
  t.match(answer.headers['set-cookie'], [/^gatehouse=;/])
  t.match(events('session_ended'), [{ reason: 'logout' }])
  t.equal(
    (await browser.follow(await browser.get(String(logoutUrl), { from: `${url}/` }))).answer.url,
    `${url}/public/bye`,
  )
})

void t.test('without an end_session_endpoint the logout is local, and a script gets null', async (t) => {
  const { idp: other, url: elsewhere } = await startGateway(t, { config: { routes } })
  const metadata = (await createBrowser().get(`${other.issuer}/.well-known/openid-configuration`)).json()
  other.fail('discovery', { status: 200, body: { ...metadata, end_session_endpoint: undefined } })
  t.ok(elsewhere)
  const { url, browser, events } = await loggedIn(t, { idp: other, config: { routes } })
  t.same((await browser.post(`${url}/oauth2/logout`, '', script)).json(), { logout_url: null })
  await browser.login(`${url}/`, 'alice')
  const answer = await browser.get(`${url}/oauth2/logout?redirect=%2Fpublic%2Fbye`, { from: `${url}/` })
  t.equal(answer.headers.location, '/public/bye')
  await browser.login(`${url}/`, 'alice')
  t.match((await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })).body, 'You are signed out')
  t.equal(events('session_ended').length, 3)
})

void t.test('POST logout/local ends only the gateway’s session', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const answer = await browser.post(`${url}/oauth2/logout/local`, '', script)
  t.equal(answer.status, 204)
  t.match(answer.headers['set-cookie'], [/^gatehouse=;.*Max-Age=0/])
  t.match(events('session_ended'), [{ reason: 'local_logout' }])
  const { answer: back } = await browser.follow(await browser.get(`${url}/orders`))
  t.equal(back.url, `${url}/orders`, 'the provider still knows the user')
  t.equal((await browser.get(`${url}/oauth2/logout/local`)).status, 405)
  t.equal(
    (await createBrowser().post(`${url}/oauth2/logout/local`, '', script)).status,
    204,
    'without a session there is nothing to do',
  )
})

void t.test('a local logout revokes no tokens, and another gateway of the same client continues', async (t) => {
  const { url, browser, idp, call } = await loggedIn(t, { config: { routes } })
  const other = createBrowser()
  for (const { name, value } of browser.cookies.all())
    if (name.startsWith('demo_idp')) other.cookies.store(new URL(idp.issuer), [`${name}=${value}; Path=/`])
  const { answer } = await other.follow(await other.get(`${url}/oauth2/login`))
  t.equal(answer.url, `${url}/`, 'a second session of the same login at the provider')
  t.equal((await other.post(`${url}/oauth2/logout/local`, '', script)).status, 204)
  moveClock(t, 101_000)
  t.equal((await call()).status, 200, 'the first one’s token is renewed')
  t.equal(idp.revocations, 0)
})

void t.test('a logout with two session cookies ends both sessions, and clears the cookies in all places', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const mallory = createBrowser()
  await mallory.login(`${url}/`, 'bob')
  const both = [browser, mallory].map((one) => one.cookies.header(new URL(url))).join('; ')
  for (const path of ['logout/local', 'logout']) {
    const answer = await createBrowser().post(`${url}/oauth2/${path}`, '', { ...script, headers: { cookie: both } })
    t.ok((answer.headers['set-cookie'] ?? []).length > 2, path)
  }
  t.match(
    events('session_ended').map(({ reason }) => reason),
    ['local_logout', 'local_logout'],
  )
  for (const one of [browser, mallory]) t.equal((await one.get(`${url}/api/orders`, script)).status, 401)
})

void t.test('the refresh token is revoked at the provider', async (t) => {
  const { url, browser, idp } = await loggedIn(t, { config: { routes } })
  await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  await eventually(() => idp.revocations === 1)
  t.equal(idp.forgetRefreshTokens(), 0, 'the provider has no refresh token left')
})

void t.test('a provider that is down neither prevents nor delays a logout', async (t) => {
  const { url, browser, idp, events } = await loggedIn(t, { config: { provider: { timeout: '1s' } } })
  idp.fail('revocation', { hang: true })
  idp.fail('end_session', { hang: true })
  const started = Date.now()
  const answer = await browser.post(`${url}/oauth2/logout`, '', script)
  t.equal(answer.status, 200)
  t.ok(Date.now() - started < 500)
  t.match(events('session_ended'), [{ reason: 'logout' }])
  await eventually(() => events('revocation_failed').length === 1)
  t.equal((await browser.get(`${url}/api/orders`, script)).status, 401)
})

void t.test('a logout without a session goes through the provider', async (t) => {
  const { url, idp } = await startGateway(t, { config: { routes } })
  const browser = createBrowser()
  await browser.get(`${url}/oauth2/login`)
  const away = await browser.get(`${url}/oauth2/logout?redirect=%2Fpublic%2Fbye`, { from: `${url}/` })
  const endSession = new URL(away.headers.location ?? '')
  t.equal(endSession.origin, idp.issuer)
  t.notOk(endSession.searchParams.has('id_token_hint'))
  t.match(endSession.searchParams.get('client_id'), /^client-/)
  t.equal((await browser.follow(away)).answer.url, `${url}/public/bye`)
})

void t.test('a logout after the session has expired clears the cookie', async (t) => {
  const { url, browser } = await loggedIn(t, { config: { session: { idleTimeout: '1m' } } })
  moveClock(t, 61_000)
  const answer = await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  t.equal(answer.status, 302)
  t.match(answer.headers['set-cookie'], [/^gatehouse=;.*Max-Age=0/])
})

void t.test('a link from another site shows a page whose button signs out', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const link = `${url}/oauth2/logout?redirect=%2Fpublic%2Fbye`
  for (const from of ['https://evil.example/', 'http://127.0.0.1:1/']) {
    const page = await browser.get(link, { from })
    t.equal(page.status, 200, from)
    t.notOk(page.headers['set-cookie'])
    t.match(page.body, 'Sign out?')
  }
  t.equal(events('session_ended').length, 0)
  const { answer } = await browser.press(await browser.get(link, { from: 'https://evil.example/' }), 'Sign out')
  t.equal(answer.url, `${url}/public/bye`)
  t.match(events('session_ended'), [{ reason: 'logout' }])
})

void t.test('a logout form that another site posts shows a page whose button signs out', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const headers = { cookie: browser.cookies.header(new URL(url)) }
  const page = await browser.post(`${url}/oauth2/logout`, new URLSearchParams(), {
    from: 'https://evil.example/',
    headers,
  })
  t.equal(page.status, 200)
  t.match(page.body, 'Sign out?')
  t.equal(events('session_ended').length, 0)
})

void t.test('the Referer or Origin of an old browser tells the source of a link', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const old = async (headers: Record<string, string>): Promise<string> =>
    (
      await createBrowser().get(`${url}/oauth2/logout`, {
        kind: 'none',
        headers: { accept: 'text/html', cookie: browser.cookies.header(new URL(url)), ...headers },
      })
    ).body
  t.match(await old({ referer: 'https://evil.example/page' }), 'Sign out?')
  t.match(await old({ referer: `${url}.evil.example/` }), 'Sign out?')
  t.match(await old({ origin: 'null' }), 'Sign out?')
  t.equal(events('session_ended').length, 0)
  await old({ referer: `${url}/page` })
  t.equal(events('session_ended').length, 1)
})

void t.test('a script of another site can’t sign the user out', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const headers = { cookie: browser.cookies.header(new URL(url)) }
  for (const [method, path] of [
    ['GET', 'logout'],
    ['POST', 'logout'],
    ['POST', 'logout/local'],
    ['POST', 'sign_out'],
  ] as const) {
    const answer = await browser.request(method, `${url}/oauth2/${path}`, {
      kind: 'script',
      from: 'https://evil.example/',
      headers,
    })
    t.equal(answer.status, 403, `${method} ${path}`)
    t.equal(answer.json()['code'], 'cross_origin')
    t.notOk(answer.headers['set-cookie'])
  }
  t.equal(events('session_ended').length, 0)
})

void t.test('a prefetched logout link has no effect', async (t) => {
  const { url, browser, events } = await loggedIn(t, { config: { routes } })
  const answer = await browser.get(`${url}/oauth2/logout`, { from: `${url}/`, headers: { 'sec-purpose': 'prefetch' } })
  t.equal(answer.status, 204)
  t.equal(events('session_ended').length, 0)
})

void t.test('no target leads to another site', async (t) => {
  const { url, browser, idp } = await loggedIn(t, { config: { routes } })
  const targets = [
    'https://evil.example/',
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/%09/evil.example',
    '\t//evil.example',
    'javascript:alert(1)',
    `${url}@evil.example/`,
    `${url}.evil.example/`,
    'https:evil.example',
    '/x/..//evil.example',
    'http:///evil.example',
  ]
  for (const redirect of targets) {
    const query = new URLSearchParams({ redirect }).toString()
    const { hops } = await browser.follow(await browser.get(`${url}/oauth2/logout?${query}`, { from: `${url}/` }))
    t.same(
      hops.filter(({ url: to }) => ![url, idp.issuer].includes(new URL(to).origin)),
      [],
      redirect,
    )
  }
})

void t.test('the logout callback follows only targets that this gateway sealed', async (t) => {
  const { url } = await startGateway(t, { config: { routes } })
  const browser = createBrowser()
  for (const state of ['', 'garbage', Buffer.from('{"target":"https://evil.example"}').toString('base64url')]) {
    const answer = await browser.get(`${url}/oauth2/logout/callback?${new URLSearchParams({ state }).toString()}`)
    t.equal(answer.status, 200)
    t.match(answer.body, 'You are signed out')
  }
  const login = (await beginLogin(browser, url, { redirect: '/orders' })).searchParams.get('state') ?? ''
  const other = await browser.get(`${url}/oauth2/logout/callback?${new URLSearchParams({ state: login }).toString()}`)
  t.match(other.body, 'You are signed out', 'a login’s state is not accepted')
})

void t.test('the logout callback says that the user is signed out only if that is true', async (t) => {
  const { url, browser, call } = await loggedIn(t, { config: { routes } })
  for (const query of ['', '?state=garbage']) {
    const answer = await browser.get(`${url}/oauth2/logout/callback${query}`, { from: 'https://evil.example/' })
    t.match([answer.status, answer.headers.location, answer.headers['cache-control']], [302, '/', 'no-store'], query)
  }
  t.equal((await call()).status, 200)
  await browser.post(`${url}/oauth2/logout/local`, '', script)
  t.match((await browser.get(`${url}/oauth2/logout/callback`)).body, 'You are signed out')
})

void t.test('rd is read from a posted form', async (t) => {
  const { url, browser } = await loggedIn(t, { config: { routes } })
  const away = await browser.post(`${url}/oauth2/sign_out`, new URLSearchParams({ rd: '/public/bye' }), {
    from: `${url}/`,
  })
  t.equal((await browser.follow(away)).answer.url, `${url}/public/bye`)
})
