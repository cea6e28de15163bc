import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { htmlLink } from '../../support/html-form.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { beginLogin, plainPage } from '../../support/sign-in.ts'
import { startScriptedProvider } from '../../oidc/scripted-provider.ts'

const script = { kind: 'script' } as const

const promptOf = async (browser: Browser, url: string, query: Record<string, string> = {}): Promise<string | null> =>
  (await beginLogin(browser, url, query)).searchParams.get('prompt')

/** A gateway whose provider has no end of session, and a browser that has logged in and out. */
const loggedOut = async (
  t: Test,
  { metadata = {}, config = {} }: { metadata?: object; config?: object } = {},
): Promise<Running & { browser: Browser }> => {
  const provider = await startScriptedProvider(t)
  Object.assign(provider.document, metadata)
  const running = await startGateway(t, { config: { provider: { issuer: provider.issuer, ...config } } })
  const { browser } = await provider.login(running.url)
  const { body } = await browser.get(`${running.url}/oauth2/logout`, { from: `${running.url}/` })
  t.match(body, 'You are signed out')
  return { ...running, browser }
}

void t.test('the first login after a logout without an end of session asks for the account, once', async (t) => {
  const cases: [string[] | undefined, string, string][] = [
    [undefined, '', 'select_account'],
    [['none', 'login', 'select_account'], '', 'select_account'],
    [['none', 'login'], '', 'login'],
    [undefined, 'consent', 'select_account consent'],
    [['login', 'consent'], 'consent login', 'login consent'],
    [undefined, 'none', 'none'],
  ]
  for (const [announced, configured, expected] of cases) {
    const { url, browser } = await loggedOut(t, {
      metadata: announced === undefined ? {} : { prompt_values_supported: announced },
      config: configured === '' ? {} : { authorizationParameters: { prompt: configured } },
    })
    t.equal(await promptOf(browser, url), expected)
    t.equal(await promptOf(browser, url), configured === '' ? null : configured, 'the second login does not')
    t.equal(await promptOf(createBrowser(), url), configured === '' ? null : configured, 'nor does another browser')
  }
})

void t.test('the link of the signed-out page asks for the account', async (t) => {
  const { url, browser } = await loggedOut(t)
  const page = await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  const [, link = ''] = /href="([^"]+\/login[^"]*)"/.exec(page.body) ?? []
  t.match((await browser.get(link, plainPage)).headers.location, /[?&]prompt=select_account(?:&|$)/)
})

void t.test(
  'an explicit prompt takes precedence, and a silent login leaves the question to the next login',
  async (t) => {
    const { url, browser } = await loggedOut(t)
    const silent = await browser.get(`${url}/oauth2/silent`, { kind: 'frame' })
    t.match(silent.headers.location, /[?&]prompt=none(?:&|$)/)
    t.equal(await promptOf(browser, url, { prompt: 'none' }), 'none')
    t.equal(await promptOf(browser, url, { prompt: 'login' }), 'login')
    t.equal(await promptOf(browser, url), null)
  },
)

void t.test('the question survives the fragment page and a login that starts again', async (t) => {
  const { url, browser } = await loggedOut(t)
  const page = await browser.get(`${url}/oauth2/login?redirect=/orders`)
  t.match(htmlLink(page.body, 'continue'), /[?&]prompt=select_account(?:&|$)/)
  const [, repeated = ''] = /\?"(\/oauth2\/login\?[^"]+)"/.exec(page.body) ?? []
  const again = await browser.get(`${url}${JSON.parse(`"${repeated}"`)}%2Forders%23part`)
  const authorization = new URL(again.headers.location ?? '')
  t.equal(authorization.searchParams.get('prompt'), 'select_account')

  const callback = new URL(`${url}/oauth2/callback`)
  const state = authorization.searchParams.get('state') ?? ''
  callback.search = new URLSearchParams({ error: 'login_required', state }).toString()
  const refused = await browser.get(callback.href)
  const second = await browser.get(new URL(refused.headers.location ?? '', url).href, plainPage)
  t.equal(new URL(second.headers.location ?? '').searchParams.get('prompt'), 'select_account')
})

void t.test('a provider that refuses the question is asked for a login without it next', async (t) => {
  const { url, browser } = await loggedOut(t)
  const authorization = await beginLogin(browser, url, { redirect: '/orders' })
  t.equal(authorization.searchParams.get('prompt'), 'select_account')
  const callback = new URL(`${url}/oauth2/callback`)
  const state = authorization.searchParams.get('state') ?? ''
  callback.search = new URLSearchParams({ error: 'invalid_request', state }).toString()
  const page = await browser.get(callback.href)
  t.equal(page.status, 400)
  const [, link = ''] = /href="([^"]+\/login[^"]*)"/.exec(page.body) ?? []
  t.notMatch((await browser.get(link, plainPage)).headers.location, 'select_account')
})

void t.test('a provider that refuses the question in a pushed request refuses only one login', async (t) => {
  const provider = await startScriptedProvider(t)
  provider.document['pushed_authorization_request_endpoint'] = `${provider.origin}/par`
  provider.paths.set('/par', (_request, response) => {
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_request"}')
  })
  const { url } = await startGateway(t, { config: { provider: { issuer: provider.issuer } } })
  const browser = createBrowser()
  await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), '1')
  t.equal((await browser.get(`${url}/oauth2/login`)).status, 502)
  t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), null)
})

void t.test('a logout that ended at the provider asks nothing at the next login', async (t) => {
  const { url, browser } = await loggedIn(t)
  const { answer } = await browser.follow(await browser.get(`${url}/oauth2/logout`, { from: `${url}/` }))
  t.match(answer.body, 'You are signed out')
  t.equal(await promptOf(browser, url), null)
})

void t.test('a provider that is down during the logout is asked for the account at the next login', async (t) => {
  const { url, browser, idp } = await loggedIn(t)
  idp.fail('end_session', { status: 503 })
  const { answer } = await browser.follow(await browser.get(`${url}/oauth2/logout`, { from: `${url}/` }))
  t.equal(answer.status, 503)
  t.equal(await promptOf(browser, url), 'select_account')
})

void t.test('a script’s logout asks for the account, a local one does not', async (t) => {
  const { url, browser } = await loggedIn(t)
  await browser.post(`${url}/oauth2/logout/local`, '', script)
  t.equal(await promptOf(browser, url), null)
  await browser.post(`${url}/oauth2/logout`, '', script)
  t.equal(await promptOf(browser, url), 'select_account')
})

void t.test('a forged return from the provider does not remove the question', async (t) => {
  const { url, browser } = await loggedOut(t)
  for (const query of ['', '?state=', '?state=forged'])
    t.equal((await browser.get(`${url}/oauth2/logout/callback${query}`)).status, 200)
  t.equal(await promptOf(browser, url), 'select_account')
})

void t.test('the application does not see the cookie', async (t) => {
  const { url, browser, upstream } = await loggedIn(t, { config: { routes: [{ path: '/**', access: 'public' }] } })
  await browser.post(`${url}/oauth2/logout`, '', script)
  t.equal(browser.cookies.get(url, 'gatehouse-signed-out'), '1')
  browser.cookies.store(new URL(url), ['theirs=1; Path=/'])
  await browser.get(`${url}/page`)
  t.match(upstream.requests.at(-1)?.headers.cookie, 'theirs=1')
  t.notMatch(upstream.requests.at(-1)?.headers.cookie, 'gatehouse')
})
