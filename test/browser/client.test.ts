import { gzipSync } from 'node:zlib'
import type { Page } from 'playwright-core'
import t from 'tap'
import type * as Real from '../../src/browser/client.ts'
import { openChromium } from '../support/chromium.ts'
import { eventually } from '../support/eventually.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions, signIn, visit } from './visit.ts'

declare global {
  interface Window {
    gatehouse: typeof Real
    /** What has happened on this page, in its order. */
    heard: { name: string; seconds?: number }[]
    extend: () => Promise<boolean>
  }
}

const listening = `<script>
window.heard = []
for (const name of ['expiring', 'ended', 'login-needed']) {
  addEventListener('gatehouse:' + name, ({ detail }) => {
    heard.push({ name, ...(detail && 'seconds' in detail ? { seconds: detail.seconds } : {}) })
    if (name === 'expiring') window.extend = detail.extend
  })
}
</script>`
// A page has loaded when its modules have, but does not wait for what those await.
const module =
  '<script type="module">import * as gatehouse from "/oauth2/client.js"; window.gatehouse = gatehouse</script>'

const chromium = await openChromium(t)
const site = await startSite(t, {
  '/': html(
    '<a href="/oauth2/logout">Log out</a> <form method="post" action="/oauth2/logout"><button>Leave</button></form>',
    listening + module,
  ),
  '/both': html(
    '',
    `<script src="/oauth2/auto.js"></script>${listening}${module}<script src="/oauth2/auto.js"></script>`,
  ),
  '/plain': html(''),
})
const config = { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' } }
const running = await startGateway(t, { config })
const { url, idp } = running

const ready = async (page: Page): Promise<void> => {
  await page.waitForFunction(() => 'gatehouse' in window)
}
const heard = async (page: Page): Promise<string[]> => page.evaluate(() => window.heard.map(({ name }) => name))
const readings = ({ events }: Running): number =>
  events('request').filter(({ path }) => path === '/oauth2/session').length

void t.test('the scripts and their types are served, small and cacheable', async (t) => {
  const browser = createBrowser()
  for (const [name, type] of [
    ['client.js', 'text/javascript'],
    ['auto.js', 'text/javascript'],
    ['client.d.ts', 'text/plain'],
  ] as const) {
    const { status, headers, bytes } = await browser.get(`${url}/oauth2/${name}`, { kind: 'script' })
    t.equal(status, 200, name)
    t.match(headers, {
      'content-type': new RegExp(`^${type}`),
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-cache',
    })
    t.ok(gzipSync(bytes).length < 4096, `${name} has ${gzipSync(bytes).length} bytes compressed`)
    const again = await browser.get(`${url}/oauth2/${name}`, {
      kind: 'script',
      headers: { 'if-none-match': headers.etag ?? '' },
    })
    t.equal(again.status, 304)
  }
})

void t.test('client.d.ts declares what client.js exports, in one file', async (t) => {
  const { bytes } = await createBrowser().get(`${url}/oauth2/client.d.ts`, { kind: 'script' })
  const types = bytes.toString()
  t.notMatch(types, /^import|from '/m)
  for (const name of ['interface SessionInfo', 'interface Expiring', 'declare function session', 'as fetch'])
    t.match(types, name)
  for (const name of ['login', 'logout', 'onExpiring']) t.match(types, `export declare function ${name}(`)
  const { page } = await arrive(t, chromium, `${url}/`)
  await ready(page)
  t.same(await page.evaluate(() => Object.keys(window.gatehouse).toSorted()), [
    'fetch',
    'login',
    'logout',
    'onExpiring',
    'session',
  ])
})

void t.test(
  'the exported fetch renews the session and repeats the request, and window.fetch is left alone',
  async (t) => {
    const { page } = await arrive(t, chromium, `${url}/`)
    await ready(page)
    await endSessions(running)
    t.equal(await page.evaluate(async () => (await fetch('/api/own', { method: 'POST', body: 'x' })).status), 401)
    t.same(
      await page.evaluate(async () => {
        const answer = await window.gatehouse.fetch('/api/own', { method: 'POST', body: 'x' })
        return [answer.status, ((await answer.json()) as { body: string }).body]
      }),
      [200, 'x'],
    )
  },
)

void t.test('session() returns what the gateway reports, or null', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  await ready(page)
  t.match(await page.evaluate(async () => window.gatehouse.session()), {
    session: { active: true, ends_in_seconds: Number, timeout_in_seconds: Number, user: /^[\w-]{22}$/ },
    tokens: { refreshable: true },
  })
  await endSessions(running)
  t.equal(await page.evaluate(async () => window.gatehouse.session()), null)
})

void t.test('login() goes to the login and returns to the same page', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/?tab=2#part`)
  await ready(page)
  const atProvider = page.waitForRequest((request) => request.url().startsWith(`${idp.issuer}/authorize`))
  await page.evaluate(() => {
    window.gatehouse.login()
  })
  await atProvider
  await page.waitForURL(`${url}/?tab=2#part`)
})

const waysOut: Readonly<Record<string, (page: Page) => Promise<unknown>>> = {
  'logout()': async (page) =>
    page.evaluate(() => {
      window.gatehouse.logout()
    }),
  'a link': async (page) => page.getByRole('link', { name: 'Log out' }).click(),
  'a form': async (page) => page.getByRole('button', { name: 'Leave' }).click(),
  'a script that goes there': async (page) =>
    page.evaluate(() => {
      location.href = '/oauth2/sign_out'
    }),
  'a call': async (page) =>
    page.evaluate(async () => {
      await window.gatehouse.fetch('/oauth2/logout/local', { method: 'POST' })
    }),
}

void t.test('a logout in one tab reaches the other tabs, whichever way it happens', async (t) => {
  await Promise.all(
    Object.entries(waysOut).map(async ([name, leave]) => {
      const { page, context } = await arrive(t, chromium, `${url}/`)
      const other = await context.newPage()
      await other.goto(`${url}/`)
      await ready(page)
      await ready(other)
      await eventually(async () => other.evaluate(async () => (await window.gatehouse.session()) !== null))
      await leave(page)
      await other.waitForFunction(() => window.heard.length > 0)
      t.same(await heard(other), ['ended'], name)
    }),
  )
})

void t.test('another user’s login in another tab ends this page’s session', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/`)
  await ready(page)
  await page.evaluate(async () => window.gatehouse.session())
  const other = await context.newPage()
  await other.goto(`${url}/oauth2/login?prompt=login&redirect=/oauth2/silent%3Foutcome%3Dok`)
  await other.getByRole('button', { name: 'Sign in as bob' }).click()
  await page.waitForFunction(() => window.heard.length > 0)
  t.same(await heard(page), ['ended'])
})

void t.test(
  'the page learns how long the session lasts, extend() prolongs the session, and an ended session is reported',
  async (t) => {
    const idle = await startGateway(t, {
      idp,
      config: { ...config, session: { idleTimeout: '5s', cookie: { name: 'idle' } } },
    })
    const { page } = await visit(t, chromium)
    await signIn(page, `${idle.url}/`)
    await page.waitForFunction(() => window.heard.length > 0)
    const [first] = await page.evaluate(() => window.heard)
    t.ok(first?.name === 'expiring' && (first.seconds ?? 9) <= 2, JSON.stringify(first))
    const end = async (): Promise<number> =>
      page.evaluate(async () => Date.parse((await window.gatehouse.session())?.session.timeout_at ?? ''))
    const [before, begun] = [await end(), idp.requests.authorization]
    t.equal(await page.evaluate(async () => window.extend()), true)
    t.ok((await end()) > before + 1_000, 'it ends later now')
    t.equal(idp.requests.authorization, begun, 'being active is enough')
    await page.waitForFunction(() => window.heard.some(({ name }) => name === 'ended'), null, { timeout: 15_000 })
    t.equal((await heard(page)).filter((name) => name === 'ended').length, 1)
    t.equal(await page.evaluate(async () => window.gatehouse.session()), null)
  },
)

void t.test('a silent login extends the absolute end of the session', async (t) => {
  const brief = await startGateway(t, {
    idp,
    config: { ...config, session: { lifetime: '6s', idleTimeout: 'off', cookie: { name: 'brief' } } },
  })
  const { page } = await visit(t, chromium)
  await signIn(page, `${brief.url}/`)
  await page.waitForFunction(() => window.heard.some(({ name }) => name === 'expiring'))
  const [first] = await page.evaluate(() => window.heard)
  t.ok(first?.name === 'expiring' && (first.seconds ?? 9) <= 3, JSON.stringify(first))
  const ends = async (): Promise<number> =>
    page.evaluate(async () => Date.parse((await window.gatehouse.session())?.session.ends_at ?? ''))
  const before = await ends()
  t.equal(await page.evaluate(async () => window.extend()), true)
  t.ok((await ends()) > before + 1_000, 'it ends later now')
  t.equal(page.url(), `${brief.url}/`)
  t.equal(page.context().pages().length, 1)
})

void t.test('onExpiring() passes on the event’s details until it is stopped', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  t.same(
    await page.evaluate(async () => {
      const calls: unknown[] = []
      const stop = window.gatehouse.onExpiring(({ seconds, extend }) => {
        calls.push([seconds, typeof extend])
      })
      const say = (seconds: number): void => {
        dispatchEvent(new CustomEvent('gatehouse:expiring', { detail: { seconds, extend: async () => false } }))
      }
      say(60)
      stop()
      say(30)
      return calls
    }),
    [[60, 'function']],
  )
})

void t.test('the session is read only when an event is due, and a read does not count as activity', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/plain`)
  await page.clock.install()
  const before = readings(running)
  await page.goto(`${url}/`)
  await ready(page)
  await eventually(() => readings(running) === before + 1)
  const first = await page.evaluate(async () => window.gatehouse.session())
  await page.clock.runFor('27:00')
  t.equal(readings(running), before + 2, 'twenty-seven of thirty minutes: nothing but our own question')
  // Not so far that the next reading is due before this one is answered: no time passes for the gateway meanwhile.
  await page.clock.runFor('01:05')
  await eventually(() => readings(running) === before + 3)
  t.equal((await page.evaluate(async () => window.gatehouse.session()))?.session.timeout_at, first?.session.timeout_at)
})

void t.test('the page notices that the machine was asleep', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/plain`)
  await page.clock.install()
  await page.goto(`${url}/`)
  await ready(page)
  await page.evaluate(async () => window.gatehouse.session())
  const before = readings(running)
  await endSessions(running)
  await page.clock.setSystemTime(Date.now() + 3_600_000)
  t.same(await heard(page), [], 'no timer has run')
  await page.clock.runFor(10_000)
  await page.waitForFunction(() => window.heard.length > 0)
  t.same(await heard(page), ['ended'])
  t.equal(readings(running), before + 1)
})

void t.test('a page that loads both scripts, one of them twice, watches the session once', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/plain`)
  const before = readings(running)
  await page.goto(`${url}/both`)
  await ready(page)
  await eventually(() => readings(running) > before)
  await page.evaluate(async () => window.gatehouse.session())
  t.equal(readings(running), before + 2, 'one of the page’s own, and this one')
  await endSessions(running)
  const begun = idp.requests.authorization
  t.same(
    await page.evaluate(async () =>
      Promise.all(
        [fetch('/api/both'), window.gatehouse.fetch('/api/both')].map(async (answer) => (await answer).status),
      ),
    ),
    [200, 200],
  )
  t.equal(idp.requests.authorization, begun + 1)
})
