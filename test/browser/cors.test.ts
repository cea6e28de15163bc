import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { endSessions, signIn, visit } from './visit.ts'

// Origins that differ only in their port belong to one site, so browsers send the session cookie with SameSite=Lax.
const chromium = await openChromium(t)
const pages = { '/': html('<p>A page</p>') }
const [spa, stranger, site] = [await startSite(t, pages), await startSite(t, pages), await startSite(t, pages)]
const otherSite = spa.url.replace('127.0.0.1', 'localhost')
const running = await startGateway(t, {
  config: {
    upstream: site.url,
    admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
    routes: [
      { path: '/**' },
      { path: '/api/**', cors: { origins: [spa.url, otherSite] } },
      { path: '/api/orders', methods: ['POST'], cors: { origins: [spa.url] } },
      { path: '/api/orders', methods: ['GET', 'HEAD'] },
    ],
  },
})
const { url } = running

type Init = { method?: string; headers?: Record<string, string>; body?: string }

/** Runs in a page: calls with cookies, and returns what a script may know of the response. */
const callWithCookies = async ({ address, init }: { address: string; init: Init }) => {
  try {
    const answer = await fetch(address, { credentials: 'include', ...init })
    return {
      status: answer.status,
      authenticate: answer.headers.get('www-authenticate'),
      body: (await answer.json()) as unknown,
    }
  } catch (error) {
    return { failed: String(error) }
  }
}

const call = async (page: Page, path: string, init: Init = {}) =>
  page.evaluate(callWithCookies, { address: url + path, init })

const blocked = { failed: /Failed to fetch/ }

void t.test('a page of a listed origin calls with the cookies of the user, in every method', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/`)
  await page.goto(spa.url)
  t.match(await call(page, '/api/a'), { status: 200, body: { method: 'GET', path: '/api/a' } })
  t.match(await call(page, '/api/b', { method: 'POST', body: 'plain' }), { status: 200, body: { body: 'plain' } })
  for (const method of ['PUT', 'PATCH', 'DELETE', 'POST']) {
    const init = { method, headers: { 'x-own': '1', 'content-type': 'application/json' }, body: '{}' }
    t.match(await call(page, '/api/c', init), { status: 200, body: { method, body: '{}' } }, method)
    t.equal(site.at('/api/c').at(-1)?.headers['x-own'], '1')
  }
  t.same(
    site.received.filter(({ method }) => method === 'OPTIONS'),
    [],
    'the gateway answered the preflight requests',
  )
  t.match(await call(page, '/api/orders', { method: 'POST', headers: { 'x-own': '1' } }), { status: 200 })
  t.match(await call(page, '/api/orders'), blocked, 'the route of another method does not list the origin')
  t.match(await call(page, '/oauth2/session'), blocked, 'the gateway’s own URLs are not for other origins')
})

void t.test('a page of a listed origin opens a WebSocket', async (t) => {
  const { url } = await startGateway(t, { config: { routes: [{ path: '/**', cors: { origins: [spa.url] } }] } })
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/`)
  const opens = async (): Promise<boolean> =>
    page.evaluate(
      async (address) =>
        new Promise((resolve) => {
          const socket = new WebSocket(address)
          socket.onopen = () => {
            resolve(true)
          }
          socket.onerror = () => {
            resolve(false)
          }
        }),
      `${url.replace('http', 'ws')}/ws`,
    )
  await page.goto(spa.url)
  t.equal(await opens(), true)
  await page.goto(stranger.url)
  t.equal(await opens(), false)
})

void t.test('after the session ended, a page of a listed origin reads the 401 and its login URL', async (t) => {
  const { page, context } = await visit(t, chromium)
  await signIn(page, `${url}/`)
  await page.goto(spa.url)
  t.match(await call(page, '/api/a'), { status: 200 })
  await endSessions(running)
  const expected = {
    status: 401,
    authenticate: 'Bearer',
    body: { code: /session_expired|login_required/, login_url: `${url}/oauth2/login` },
  }
  t.match(await call(page, '/api/a'), expected)
  t.match(await call(page, '/api/a', { method: 'PUT', headers: { 'x-own': '1' } }), expected, 'also after a preflight')
  // As docs/requests.md advises: the login runs in a window, and the page repeats the call when the window is closed.
  const opened = context.waitForEvent('page')
  await page.evaluate(`window.open(${JSON.stringify(`${url}/oauth2/login`)})`)
  const login = await opened
  await login.waitForURL((at) => at.origin === url && !at.pathname.startsWith('/oauth2/'))
  await login.close()
  t.match(await call(page, '/api/a'), { status: 200 })
})

void t.test('a page of another origin reads nothing and changes nothing', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/`)
  await page.goto(stranger.url)
  const before = site.received.length
  t.match(await call(page, '/api/unread'), blocked)
  t.equal(site.at('/api/unread').length, 1, 'a plain GET reaches the application, as from any page')
  t.match(await call(page, '/api/x', { method: 'POST', body: 'x' }), blocked)
  t.match(await call(page, '/api/x', { method: 'PUT', headers: { 'x-own': '1' } }), blocked)
  t.equal(site.received.length, before + 1)
})

void t.test(
  'a listed origin of another site gets a 401 that it can read, because browsers send no cookie',
  async (t) => {
    const { page } = await visit(t, chromium)
    await signIn(page, `${url}/`)
    await page.goto(otherSite)
    t.match(await call(page, '/api/a'), { status: 401, body: { code: 'login_required', login_url: /^http/ } })
  },
)
