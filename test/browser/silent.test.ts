import type { BrowserContext, Page } from 'playwright-core'
import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { openChromium } from '../support/chromium.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions, visit } from './visit.ts'

const chromium = await openChromium(t)
const watching = html(
  '<button id="save">Save</button>',
  `<script src="/oauth2/auto.js"></script><script>
window.heard = []
for (const name of ['expiring', 'ended', 'login-needed']) addEventListener('gatehouse:' + name, () => { heard.push({ name }) })
addEventListener('load', () => {
  document.getElementById('save').onclick = async () => { document.title = (await fetch('/api/save', { method: 'POST', body: 'work' })).status }
})
</script>`,
)
const site = await startSite(t, { '/': watching, '/bare': html('') })
const settings = { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' } }
const checking = { ...settings, provider: { sessionCheck: '10s' } }
const near = await startGateway(t, { config: settings })
const { url, idp } = near

/** Opens `silent` in a frame of a page, as an application of old would; tells the outcome. */
const outcomeOf = async (page: Page, query = ''): Promise<string> =>
  page.evaluate(
    async (query) =>
      new Promise<string>((resolve) => {
        const frame = document.createElement('iframe')
        addEventListener('message', ({ origin, source, data }) => {
          if (origin === location.origin && source === frame.contentWindow && data.type === 'gatehouse')
            resolve(data.outcome)
        })
        frame.src = `/oauth2/silent${query}`
        document.body.append(frame)
      }),
    query,
  )

const becomeAtProvider = async (context: BrowserContext, user: string): Promise<void> => {
  const other = createBrowser()
  await other.login(`${url}/`, user)
  await context.addCookies(
    other.cookies
      .all()
      .filter(({ name }) => name.startsWith('demo_idp'))
      .map(({ name, value, domain, path }) => ({ name, value, domain, path })),
  )
}

const sessionIn = async (
  page: Page,
): Promise<{ session: Record<string, string>; tokens: Record<string, string> } | null> =>
  page.evaluate(async () => {
    const answer = await fetch('/oauth2/session')
    return answer.ok ? answer.json() : null
  })

void t.test('a frame reports the outcome of a silent login to its page', async (t) => {
  const strict = await startGateway(t, {
    idp,
    config: {
      ...settings,
      provider: { authorizationParameters: { acr_values: 'urn:demo:mfa' } },
      routes: [{ path: '/**', access: 'public' }],
      session: { cookie: { name: 'strict' } },
    },
  })
  const { page, context } = await arrive(t, chromium, `${url}/bare`)
  const asked = page.waitForRequest((request) => request.url().startsWith(`${idp.issuer}/authorize`))
  t.equal(await outcomeOf(page), 'ok')
  t.match((await asked).url(), /[?&]prompt=none(?:&|$)/)
  await endSessions(near)
  t.equal(await outcomeOf(page), 'ok', 'also without a session')
  t.equal((await sessionIn(page))?.['session']?.['active'], true)
  idp.fail('token', { status: 500, times: 1 })
  t.equal(await outcomeOf(page), 'error')
  await page.goto(`${strict.url}/bare`)
  t.equal(await outcomeOf(page), 'interaction_required', 'the provider wants a second factor')
  await page.goto(`${url}/bare`)
  await context.clearCookies({ name: /^demo_idp/ })
  t.equal(await outcomeOf(page), 'login_required')
  t.not(await sessionIn(page), null, 'declining is not a logout')
})

void t.test('another origin can’t embed the frame', async (t) => {
  const { page, said } = await visit(t, chromium)
  await page.goto(`${site.url.replace('127.0.0.1', 'localhost')}/bare`)
  await page.evaluate(
    async (src) =>
      new Promise((resolve) => {
        const frame = document.createElement('iframe')
        frame.onload = resolve
        frame.src = src
        document.body.append(frame)
      }),
    `${url}/oauth2/silent?outcome=ok`,
  )
  t.match(said.join('\n'), /frame-ancestors 'self'/)
})

void t.test(
  'a provider that shows its login page in the frame can’t navigate the page, and a window opens after ten seconds',
  async (t) => {
    const { page, context } = await arrive(t, chromium, `${url}/bare`)
    await page.clock.install()
    await page.goto(`${url}/`)
    await endSessions(near)
    idp.fail('authorization', { status: 200, body: '<!doctype html><title>Sign in</title>', times: 1 })
    const shown = page.waitForResponse((response) => response.url().startsWith(`${idp.issuer}/authorize`))
    await page.getByRole('button', { name: 'Save' }).click()
    await (await shown).finished()
    await eventually(() => page.frames().some((frame) => frame.url().startsWith(idp.issuer)))
    const frame = page.frames().find((frame) => frame.url().startsWith(idp.issuer))
    // A step of a test counts as a click in the frame, so the browser alone would allow it.
    t.equal(
      await frame?.evaluate(() => {
        try {
          window.top?.location.replace('/busted')
          return 'it goes there'
        } catch (error) {
          return (error as Error).name
        }
      }),
      'SecurityError',
    )
    await page.clock.runFor(9_000)
    t.equal(context.pages().length, 1)
    const opened = context.waitForEvent('page')
    await page.clock.runFor(2_000)
    // The provider knows the user: the window closes by itself.
    await opened
    await page.waitForFunction(() => document.title === '200')
    t.equal(page.url(), `${url}/`)
    t.equal(await page.locator('iframe').count(), 0)
  },
)

void t.test('a different user at the provider does not take over the page', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/`)
  await page.waitForFunction(async () => (await fetch('/oauth2/session')).ok)
  await endSessions(near)
  await becomeAtProvider(context, 'bob')
  const before = site.at('/api/save').length
  const opened = context.waitForEvent('page')
  await page.getByRole('button', { name: 'Save' }).click()
  await opened
  await page.waitForFunction(() => document.title === '401')
  t.equal(site.at('/api/save').length, before, 'one user’s input is not sent as another user')
  await page.waitForFunction(() => window.heard.map(({ name }) => name).join() === 'ended')
})

const noRefreshTokens = { ...settings, provider: { scopes: ['openid', 'profile'] } }

void t.test(
  'tokens without a refresh token are replaced before they expire, once for all tabs, in the same session',
  async (t) => {
    const plain = await startGateway(t, { config: noRefreshTokens, idp: { lifetimes: { accessToken: 10 } } })
    const { page, context } = await arrive(t, chromium, `${plain.url}/`)
    const others = [await context.newPage(), await context.newPage()]
    for (const other of others) await other.goto(`${plain.url}/`)
    const [begun, first, cookies] = [
      plain.idp.requests.authorization,
      await sessionIn(page),
      await context.cookies(plain.url),
    ]
    t.match(first?.tokens, { refreshable: false })
    await eventually(() => plain.idp.requests.authorization > begun)
    await eventually(async () => (await sessionIn(page))?.tokens['expire_at'] !== first?.tokens['expire_at'])
    const second = await sessionIn(page)
    t.equal(second?.session['created_at'], first?.session['created_at'])
    t.equal(second?.session['timeout_at'], first?.session['timeout_at'], 'it does not count as activity')
    const ticket = (all: typeof cookies): string | undefined => all.find(({ name }) => name === 'gatehouse')?.value
    t.equal(ticket(await context.cookies(plain.url)), ticket(cookies))
    t.equal(plain.idp.requests.authorization, begun + 1)
    t.equal(plain.events('session_ended').length, 0)
    t.equal(await page.evaluate(async () => (await fetch('/api/x')).status), 200)
  },
)

void t.test('a token that expired in a hidden page is replaced by the next call', async (t) => {
  const plain = await startGateway(t, { config: noRefreshTokens, idp: { lifetimes: { accessToken: 60 } } })
  const { page } = await arrive(t, chromium, `${plain.url}/`)
  await page.waitForFunction(async () => (await fetch('/oauth2/session')).ok)
  moveClock(t, 61_000)
  t.match((await sessionIn(page))?.tokens, { expire_in_seconds: 0 }, 'the session lives, its token does not')
  t.equal(await page.evaluate(async () => (await fetch('/api/x', { method: 'POST', body: 'x' })).status), 200)
  t.ok(plain.events('request').some(({ status, path }) => path === '/api/x' && status === 401))
})

void t.test(
  'sessionCheck: the end of the provider’s session ends the gateway’s session in all tabs, and only one tab polls',
  async (t) => {
    const checked = await startGateway(t, { config: checking, idp: {} })
    const { page, context } = await arrive(t, chromium, `${checked.url}/bare`)
    const other = await context.newPage()
    // One clock for both.
    await context.clock.install()
    for (const tab of [page, other]) await tab.goto(`${checked.url}/`)
    const [begun, first] = [checked.idp.requests.authorization, await sessionIn(page)]
    await context.clock.runFor(10_000)
    await eventually(() => checked.events('request').some(({ verdict }) => verdict === 'silent_ok'))
    await context.clock.runFor(5_000)
    t.equal(checked.idp.requests.authorization, begun + 1, 'two tabs poll once in fifteen seconds')
    t.equal(checked.idp.lastAuthorizationRequest?.['scope'], 'openid', 'it costs no refresh token')
    t.same((await sessionIn(page))?.session['created_at'], first?.session['created_at'])
    t.same(
      (await sessionIn(page))?.session['timeout_at'],
      first?.session['timeout_at'],
      'it does not count as activity',
    )

    await checked.idp.endSessionsOf('alice', { notify: false })
    await context.clock.runFor(20_000)
    for (const tab of [page, other])
      await tab.waitForFunction(() => window.heard.map(({ name }) => name).join() === 'ended')
    t.equal(await sessionIn(page), null)
    t.equal(checked.events('session_ended').length, 1)
  },
)

void t.test(
  'sessionCheck: without the provider’s cookies in frames no session ends, and polling becomes rare',
  async (t) => {
    const port = await freePort()
    const far = await startGateway(t, { config: checking, port, publicUrl: `http://localhost:${port}` })
    const { page } = await arrive(t, chromium, `${far.url}/bare`)
    await page.clock.install()
    await page.goto(`${far.url}/`)
    const begun = far.idp.requests.authorization
    for (let seconds = 0; seconds < 120; seconds += 10) {
      const before = far.idp.requests.authorization
      await page.clock.runFor(10_000)
      // Real time for a frame to load, if there is one.
      if ((await page.locator('iframe').count()) > 0)
        await eventually(async () => (await page.locator('iframe').count()) === 0)
      t.ok(far.idp.requests.authorization <= before + 1)
    }
    const questions = far.idp.requests.authorization - begun
    t.ok(questions >= 2 && questions <= 4, `${questions} questions in two minutes, not twelve`)
    t.not(await sessionIn(page), null)
    t.same(await page.evaluate(() => window.heard), [])
  },
)
