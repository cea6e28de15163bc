import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway } from '../support/gateway.ts'
import { html, passThroughWorker, startSite } from './site.ts'
import { arrive, endSessions } from './visit.ts'

const watching = `<script src="/oauth2/auto.js"></script><script>
window.heard = []
for (const name of ['expiring', 'ended', 'login-needed']) addEventListener('gatehouse:' + name, () => { heard.push({ name }) })
</script>`

const chromium = await openChromium(t, { keepsPages: true })
const site = await startSite(t, {
  '/': html(
    '<textarea id="work"></textarea><button id="save">Save</button><a href="/oauth2/logout">Log out</a> <a ' +
      'href="/public/next">Next</a>',
    `${watching}<script>
addEventListener('load', () => {
  document.getElementById('save').onclick = async () => {
    document.title = (await fetch('/api/save', { method: 'POST', body: document.getElementById('work').value })).status
  }
})
</script>`,
  ),
  '/public/next': html('Next'),
  '/public/watching': html('', watching),
  '/worker.js': passThroughWorker,
})
const routes = [{ path: '/**' }, { path: '/public/**', access: 'public' }]
const running = await startGateway(t, {
  config: { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' }, routes },
})
const { url, idp } = running

const heard = async (page: Page): Promise<string> => page.evaluate(() => window.heard.map(({ name }) => name).join())
/** Opens the page and waits until it has met its session. */
const openWatching = async (page: Page): Promise<void> => {
  const met = page.waitForResponse(`${url}/oauth2/session`)
  await page.goto(`${url}/`)
  await (await met).finished()
  await page.evaluate(async () => (await fetch('/oauth2/session')).json())
}

const arriveWatching = async (t: Parameters<typeof arrive>[0]): ReturnType<typeof arrive> => {
  const visited = await arrive(t, chromium, `${url}/public/next`)
  await openWatching(visited.page)
  return visited
}

void t.test('a page restored from the back-forward cache notices what has changed', async (t) => {
  const { page } = await arriveWatching(t)
  await page.locator('#work').fill('kept with the page')
  await page.evaluate(() => {
    addEventListener('pageshow', ({ persisted }) => {
      document.title = persisted ? 'kept' : 'reloaded'
    })
  })
  await page.getByRole('link', { name: 'Next' }).click()
  await page.waitForURL(`${url}/public/next`)
  await endSessions(running)
  await page.goBack({ waitUntil: 'commit' })
  await page.waitForFunction(() => document.title === 'kept')
  await page.waitForFunction(() => window.heard.length > 0)
  t.equal(await heard(page), 'ended')
  t.equal(await page.locator('#work').inputValue(), 'kept with the page')
})

void t.test('a clock that is set back does not hide the end of the session', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/public/next`)
  await page.clock.install()
  await openWatching(page)
  await endSessions(running)
  await page.clock.setSystemTime(Date.now() - 3_600_000)
  await page.clock.runFor(10_000)
  await page.waitForFunction(() => window.heard.length > 0)
  t.equal(await heard(page), 'ended')
})

void t.test('another user’s login in another tab is reported to the page whose session it ends', async (t) => {
  const { page, context } = await arriveWatching(t)
  const other = await context.newPage()
  await other.goto(`${url}/oauth2/login?prompt=login&redirect=/`)
  await other.getByRole('button', { name: 'Sign in as bob' }).click()
  await other.waitForURL(`${url}/`)
  await page.waitForFunction(() => window.heard.length > 0)
  t.equal(await heard(page), 'ended')
  t.equal(await heard(other), '')
})

void t.test('opening another page of the same user causes no requests from the open pages', async (t) => {
  const { page, context } = await arriveWatching(t)
  const readings = (): number => running.events('request').filter(({ path }) => path === '/oauth2/session').length
  const before = readings()
  const other = await context.newPage()
  await other.goto(`${url}/`)
  await eventually(() => readings() > before)
  await other.reload()
  await eventually(() => readings() > before + 1)
  // A page that asks would have done so within this time.
  await page.evaluate(async () => fetch('/oauth2/userinfo'))
  t.equal(readings(), before + 2)
})

void t.test('a logout reaches the other tabs, wherever it starts', async (t) => {
  site.redirects.set('/public/leave', '/oauth2/logout?redirect=/public/watching')
  for (const [typed, end] of [
    ['/oauth2/logout', '/oauth2/logout/callback'],
    ['/public/leave', '/public/watching'],
  ] as const) {
    const { page, context } = await arriveWatching(t)
    const other = await context.newPage()
    await other.goto(`${url}${typed}`)
    await other.waitForURL((at) => at.pathname === end)
    await page.waitForFunction(() => window.heard.length > 0)
    t.equal(await heard(page), 'ended', typed)
  }
})

void t.test(
  'a logout in one tab keeps another tab’s pending request, which is sent after the next login',
  async (t) => {
    const { page, context } = await arriveWatching(t)
    await page.locator('#work').fill('not sent yet')
    const other = await context.newPage()
    await other.goto(`${url}/`)
    await other.getByRole('link', { name: 'Log out' }).click()
    await other.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
    await page.waitForFunction(() => window.heard.length > 0)
    const opened = context.waitForEvent('page')
    await page.getByRole('button', { name: 'Save' }).click()
    await (await opened).getByRole('button', { name: 'Sign in as alice' }).click()
    await page.waitForFunction(() => document.title === '200')
    t.same(
      site.at('/api/save').map(({ body }) => body),
      ['not sent yet'],
    )
  },
)

void t.test('a renewal adds no entry to the page’s history', async (t) => {
  const { page } = await arriveWatching(t)
  await page.evaluate(() => {
    history.replaceState({ at: 'list' }, '', '/?list')
    history.pushState({ at: 'order' }, '', '/?order#/7')
    addEventListener('popstate', ({ state }) => {
      document.title = `popped ${(state as { at: string }).at}`
    })
  })
  const length = await page.evaluate(() => history.length)
  await endSessions(running)
  t.equal(await page.evaluate(async () => (await fetch('/api/x')).status), 200)
  t.same(
    await page.evaluate(() => [
      history.length,
      location.search + location.hash,
      document.title,
      (history.state as { at: string }).at,
    ]),
    [length, '?order#/7', 'A page', 'order'],
  )
  await page.evaluate(() => {
    history.back()
  })
  await page.waitForFunction(() => document.title === 'popped list')
  t.equal(page.url(), `${url}/?list`)
})

void t.test('a call through a service worker is repeated with its body', async (t) => {
  const { page } = await arriveWatching(t)
  await page.evaluate(async () => {
    const controlled = new Promise((resolve) => {
      navigator.serviceWorker.addEventListener('controllerchange', resolve)
    })
    await navigator.serviceWorker.register('/worker.js')
    await controlled
  })
  await endSessions(running)
  const begun = idp.requests.authorization
  t.same(
    await page.evaluate(async () => {
      const answer = await fetch('/api/worker', { method: 'POST', body: 'through the worker' })
      return [answer.status, ((await answer.json()) as { body: string }).body]
    }),
    [200, 'through the worker'],
  )
  t.equal(idp.requests.authorization, begun + 1)
})
