import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { moveClock } from '../../support/clock.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { htmlForms } from '../../support/html-form.ts'
import { logInWithLargeIdToken } from '../../support/large-id-token.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { beginLogin } from '../../support/sign-in.ts'
import { startScriptedProvider, type ScriptedProvider } from '../../oidc/scripted-provider.ts'

const script = { kind: 'script' } as const

const routes = [{ path: '/**' }, { path: '/public/**', access: 'public' }]

const scripted = async (t: Test, provider: ScriptedProvider, keys: object): Promise<Running> =>
  startGateway(t, { config: { routes, provider: { issuer: provider.issuer, ...keys } } })

const logOut = async ({ url }: Running, browser: Browser): Promise<URL> => {
  const { headers } = await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  return new URL(headers.location ?? '')
}

void t.test('logout.url replaces the end session endpoint and its parameters', async (t) => {
  const provider = await startScriptedProvider(t)
  provider.document['end_session_endpoint'] = `${provider.origin}/logout?tenant=a%20b`
  const idp = provider.origin
  const cases: [string, (url: string, client: string) => RegExp | string][] = [
    [
      `${idp}/v2/logout?client_id={client_id}&returnTo={post_logout_redirect_uri}`,
      (url, client) =>
        `${idp}/v2/logout?client_id=${client}&returnTo=${encodeURIComponent(`${url}/oauth2/logout/callback`)}`,
    ],
    [
      '{end_session_endpoint}?client_id={client_id}&logout_uri={post_logout_redirect_uri}',
      (url, client) =>
        `${idp}/logout?tenant=a%20b&client_id=${client}` +
        `&logout_uri=${encodeURIComponent(`${url}/oauth2/logout/callback`)}`,
    ],
    ['{end_session_endpoint}', () => `${idp}/logout?tenant=a%20b`],
    [`${idp}/bye`, () => `${idp}/bye`],
    [
      `${idp}/bye?federated&s=s-{state}&hint={id_token_hint}`,
      () => /\/bye\?federated&s=s-[\w-]{40,}&hint=[\w-]+\.[\w-]+\.[\w-]+$/,
    ],
  ]
  for (const [template, expected] of cases) {
    const running = await scripted(t, provider, { logout: { url: template } })
    const { browser } = await provider.login(running.url)
    const { href } = await logOut(running, browser)
    const wanted = expected(running.url, running.config.provider.clientId)
    if (typeof wanted === 'string') t.equal(href, wanted)
    else t.match(href, wanted)
  }
})

void t.test('a parameter of logout.url without a value is left out', async (t) => {
  const provider = await startScriptedProvider(t)
  const url = `${provider.origin}/bye?id_token_hint={id_token_hint}&client_id={client_id}&x=1`
  const running = await scripted(t, provider, { logout: { url }, clientId: 'a client/ä' })
  const { href } = await logOut(running, createBrowser())
  t.equal(href, `${provider.origin}/bye?client_id=a+client%2F%C3%A4&x=1`, 'and other values are form-encoded')
})

void t.test('logout.url is used although the provider has not been discovered', async (t) => {
  const provider = await startScriptedProvider(t)
  provider.paths.delete('/.well-known/openid-configuration')
  const absolute = await scripted(t, provider, { logout: { url: `${provider.origin}/bye` } })
  t.equal((await logOut(absolute, createBrowser())).href, `${provider.origin}/bye`)
  const relative = await scripted(t, provider, { logout: { url: '{end_session_endpoint}?x={client_id}' } })
  const page = await createBrowser().get(`${relative.url}/oauth2/logout`, { from: `${relative.url}/` })
  t.match([page.status, page.body], [200, /You are signed out/])
})

void t.test('the return from a logout.url without a state shows the signed-out page', async (t) => {
  const provider = await startScriptedProvider(t)
  const running = await scripted(t, provider, {
    logout: { url: `${provider.origin}/bye?logout_uri={post_logout_redirect_uri}` },
  })
  const { browser } = await provider.login(running.url)
  const away = await logOut(running, browser)
  const { status, body } = await browser.get(away.searchParams.get('logout_uri') ?? '')
  t.match([status, body], [200, /You are signed out/])
  t.notOk((await beginLogin(browser, running.url)).searchParams.has('prompt'), 'the provider has ended its session')
})

void t.test('an ID token that would make the logout URL longer than 2 kB is posted', async (t) => {
  const running = await startGateway(t, { config: { routes } })
  const { url, idp } = running
  const browser = createBrowser()
  await logInWithLargeIdToken(running, browser, 100)
  t.ok((await logOut(running, browser)).searchParams.has('id_token_hint'), 'a small one is in the URL')

  const idToken = await logInWithLargeIdToken(running, browser, 30_000)
  const page = await browser.get(`${url}/oauth2/logout?redirect=/public/bye`, { from: `${url}/` })
  t.equal(page.status, 200)
  t.match(page.headers, { 'cache-control': 'no-store', 'content-security-policy': `form-action 'self' ${idp.issuer} ` })
  const [form] = htmlForms(page.body)
  t.equal(form?.method, 'POST')
  t.equal(form?.action, `${idp.issuer}/logout`)
  const fields = Object.fromEntries(form?.fields ?? [])
  t.match(fields, {
    id_token_hint: idToken,
    client_id: /^client-/,
    post_logout_redirect_uri: `${url}/oauth2/logout/callback`,
    state: /./,
  })
  t.equal(form?.buttons.length, 1, 'a button works without scripts')
  const { answer } = await browser.follow(page)
  t.equal(answer.url, `${url}/public/bye`)
  const login = await browser.follow(await browser.get((await beginLogin(browser, url)).href))
  t.match(login.answer.body, 'Sign in as alice', 'the provider does not know the user any more')
})

void t.test('the form of a logout.url has the filled parameters as fields', async (t) => {
  const provider = await startScriptedProvider(t)
  const url = `${provider.origin}/bye?federated&hint={id_token_hint}&to=a%26{post_logout_redirect_uri}`
  const running = await scripted(t, provider, { logout: { url } })
  const { browser } = await provider.login(running.url, { roles: 'r'.repeat(3000) })
  const page = await browser.get(`${running.url}/oauth2/logout`, { from: `${running.url}/` })
  const [form] = htmlForms(page.body)
  t.equal(form?.action, `${provider.origin}/bye?federated`)
  t.match(Object.fromEntries(form?.fields ?? []), {
    hint: /^[\w-]+\.[\w-]+\.[\w-]+$/,
    to: `a&${running.url}/oauth2/logout/callback`,
  })
  t.equal(form?.fields.length, 2)
})

void t.test('a script gets a URL of the gateway that shows the form once, to this browser, for a minute', async (t) => {
  const running = await startGateway(t, { config: { routes } })
  const { url, idp, log } = running
  const logOutByScript = async (browser: Browser): Promise<string> => {
    const answer = await browser.post(`${url}/oauth2/logout?redirect=%2Fpublic%2Fbye`, '', script)
    t.equal(answer.status, 200)
    return String(answer.json()['logout_url'])
  }
  const browser = createBrowser()
  const idToken = await logInWithLargeIdToken(running, browser, 30_000)
  const logoutUrl = await logOutByScript(browser)
  t.match(logoutUrl, new RegExp(`^${url}/oauth2/[\\w/]+\\?id=[\\w-]{22}$`))
  const others: [string, Browser][] = [
    ['a browser without cookies', createBrowser()],
    ['a browser that logs in', createBrowser()],
  ]
  await beginLogin(others[1]?.[1] ?? browser, url)
  for (const [name, other] of others) {
    const page = await other.get(logoutUrl)
    t.match([page.status, page.headers.gatehouse], [400, 'logout_refused'], name)
    t.notMatch(page.body, 'r'.repeat(20))
  }
  t.equal((await browser.get(logoutUrl, { headers: { 'sec-purpose': 'prefetch' } })).status, 204)
  const page = await browser.get(logoutUrl, { from: `${url}/` })
  t.match([page.status, page.headers['cache-control']], [200, 'no-store'])
  t.equal(Object.fromEntries(htmlForms(page.body)[0]?.fields ?? [])['id_token_hint'], idToken)
  t.equal((await browser.get(logoutUrl)).status, 400, 'once')
  t.equal((await browser.follow(page)).answer.url, `${url}/public/bye`)

  await logInWithLargeIdToken(running, browser, 30_000)
  const late = await logOutByScript(browser)
  moveClock(t, 61_000)
  t.equal((await browser.get(late)).status, 400, 'for a minute')
  for (const id of ['', 'x', '%00', 'x'.repeat(3000)])
    t.equal((await browser.get(`${logoutUrl.replace(/=.*/, '=')}${id}`)).status, 400, id.slice(0, 5))
  t.ok(idp.secretsIssued.length > 0)
  t.notOk(log.join('').includes(idToken))
})

void t.test('logout.revoke says which logouts revoke the refresh token', async (t) => {
  for (const [revoke, atLogout, atLocalLogout] of [
    [true, 1, 0],
    ['local-too', 1, 1],
    [false, 0, 0],
  ] as const) {
    for (const [path, expected] of [
      ['logout', atLogout],
      ['logout/local', atLocalLogout],
    ] as const) {
      const { url, browser, idp } = await loggedIn(t, { config: { routes, provider: { logout: { revoke } } } })
      await browser.post(`${url}/oauth2/${path}`, '', script)
      if (expected === 1) await eventually(() => idp.revocations === 1)
      else await new Promise((resolve) => setTimeout(resolve, 100))
      t.equal(idp.revocations, expected, `${String(revoke)} at ${path}`)
    }
  }
})
