import { createServer } from 'node:net'
import { once } from 'node:events'
import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { looks, violations } from './violations.ts'
import { arrive, endSessions, visit } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, {
  '/': html('<form method="post" action="/orders"><input name="note" value="x"><button>Send</button></form>'),
  '/with-file': html(
    '<form method="post" action="/orders" enctype="multipart/form-data"><input type="file" ' +
      'name="file"><button>Send</button></form>',
  ),
  '/logo.svg': {
    headers: { 'content-type': 'image/svg+xml' },
    body:
      '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="20"><rect width="80" height="20" ' +
      'fill="teal"/></svg>',
  },
})

// Takes connections and says nothing.
const silent = createServer().listen(await freePort(), '127.0.0.1')
await once(silent, 'listening')
t.teardown(() => {
  silent.close()
})
const address = silent.address()
const silentPort = typeof address === 'object' && address !== null ? address.port : 0

const routes = [
  { path: '/**' },
  { path: '/logo.svg', access: 'public' },
  { path: '/admin/**', require: { claims: { groups: ['nobody'] } } },
  { path: '/down/**', access: 'public', upstream: 'http://127.0.0.1:9' },
  { path: '/slow/**', access: 'public', upstream: `http://127.0.0.1:${silentPort}`, timeout: '1s' },
]
const config = { upstream: site.url, admin: { listen: '127.0.0.1:0', sessions: 'loopback' }, routes }
const running = await startGateway(t, { config })
const { url, idp } = running

/** Each page that a person can come to: its heading, and the way to it from a page of the application. */
const pages: Readonly<Record<string, readonly [heading: string, open: (page: Page) => Promise<unknown>]>> = {
  'forbidden': ['Not allowed', async (page) => page.goto(`${url}/admin/`)],
  'not found': ['Not found', async (page) => page.goto(`${url}/oauth2/nothing`)],
  'ambiguous': ['Ambiguous address', async (page) => page.goto(`${url}/down/%2e%2e%2fadmin`)],
  'bad gateway': ['Application unreachable', async (page) => page.goto(`${url}/down/`)],
  'too slow': ['Application too slow', async (page) => page.goto(`${url}/slow/`)],
  'login failed': ['Sign-in failed', async (page) => page.goto(`${url}/oauth2/callback`)],
  'login, without script': [
    'Signing in',
    async (page) => {
      // A provider that answers with nothing leaves the page where it is.
      await page.goto(`${url}/oauth2/login`, { waitUntil: 'commit' }).catch(() => {})
      await page.getByText('You are being taken').waitFor()
    },
  ],
  'confirm logout': [
    'Sign out?',
    async (page) => {
      await page.goto(`${site.url.replace('127.0.0.1', 'localhost')}/`)
      await page.evaluate((to) => {
        location.href = to
      }, `${url}/oauth2/logout`)
      await page.waitForURL(`${url}/oauth2/logout`)
    },
  ],
  'nothing to send': ['Sending your form', async (page) => page.goto(`${url}/oauth2/form?id=abcdefghijkl`)],
  'not signed in silently': ['Not signed in', async (page) => page.goto(`${url}/oauth2/silent?outcome=login_required`)],
  'login in a frame': [
    'Login required',
    async (page) => {
      await endSessions(running)
      const frame = page.waitForResponse(`${url}/orders`)
      await page.evaluate(() => {
        document.body.innerHTML = '<iframe src="/orders" title="Orders"></iframe>'
      })
      await frame
    },
  ],
  'kept form': [
    'Login required',
    async (page) => {
      await endSessions(running)
      await page.getByRole('button', { name: 'Send' }).click()
    },
  ],
  'form too large': [
    'Not sent yet',
    async (page) => {
      await page.goto(`${url}/with-file`)
      await page.locator('input').setInputFiles({ name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('x') })
      await endSessions(running)
      await page.getByRole('button', { name: 'Send' }).click()
    },
  ],
  'signed out': [
    'Signed out',
    async (page) => {
      await page.goto(`${url}/oauth2/logout`)
      await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
    },
  ],
}

for (const [name, [heading, open]] of Object.entries(pages)) {
  void t.test(`the page “${name}” is accessible, in dark mode, on a phone and by keyboard`, async (t) => {
    const { page, said } = await arrive(t, chromium, `${url}/`)
    if (name.startsWith('login, without'))
      await page.route(`${idp.issuer}/**`, async (route) => route.fulfill({ status: 204 }))
    await open(page)
    if (name.startsWith('login in a frame')) {
      t.equal(await page.frameLocator('iframe').getByRole('heading', { level: 1 }).innerText(), heading)
      t.same(await violations(page), [])
      return
    }
    t.equal(await page.getByRole('heading', { level: 1 }).innerText(), heading)
    for (const { colorScheme, width, height } of looks) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height })
      t.same(await violations(page), [], `${colorScheme}, ${width} px`)
      const [red = 0] =
        (await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).match(/\d+/g)?.map(Number) ?? []
      t.ok(colorScheme === 'dark' ? red < 60 : red > 200, `${colorScheme}: ${red}`)
    }
    t.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 320, 'no sideways scrolling at 320 px')
    const ways = await page
      .locator('.actions a, .actions button:visible')
      .evaluateAll((all) => all.map((way) => way.getBoundingClientRect().height))
    t.ok(ways.length > 0 && ways.every((height) => height >= 36), `ways on: ${ways.join(', ')} px`)
    await page.keyboard.press('Tab')
    t.ok(
      await page.evaluate(
        () =>
          document.activeElement?.matches('.actions a, .actions button') === true &&
          getComputedStyle(document.activeElement).outlineStyle === 'solid',
      ),
      'the first key reaches the first way on, and shows it',
    )
    t.match(await page.locator('.id').innerText(), /^Request \S+$/)
    t.notMatch(said.join('\n'), /Security Policy/)
  })
}

void t.test('the request id on a page is the one in the log', async (t) => {
  const { page } = await visit(t, chromium)
  await page.goto(`${url}/down/`)
  const [, id] = (await page.locator('.id').innerText()).split(' ')
  t.equal(running.events('upstream_unreachable').filter((line) => line['id'] === id).length, 1)
})

void t.test('only pages that need a script have a script, and the script has a nonce', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  for (const [path, scripts] of [
    ['/admin/', 0],
    ['/down/', 0],
    ['/oauth2/nothing', 0],
    ['/oauth2/callback', 0],
    ['/oauth2/form?id=x', 1],
  ] as const) {
    const answer = await page.goto(url + path)
    const policy = answer?.headers()['content-security-policy'] ?? ''
    t.match(policy, scripts === 0 ? "script-src 'none'" : /script-src 'nonce-[\w+/=]{22,}'/, path)
    t.equal(await page.locator('script').count(), scripts, path)
    t.match(policy, "default-src 'none'")
    t.match(policy, "frame-ancestors 'self'")
  }
})

void t.test('the user can continue with the keyboard alone', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  await pages['confirm logout']?.[1](page)
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Sign in as alice' }).waitFor()
})

void t.test('title, logo, language and texts come from the configuration', async (t) => {
  const german = await startGateway(t, {
    config: {
      ...config,
      admin: false,
      session: { cookie: { name: 'german' } },
      pages: {
        title: 'Bestellungen',
        logo: '/logo.svg',
        texts: {
          'lang': 'de',
          'request': 'Anfrage',
          'upstream_unreachable': 'Die Anwendung ist gerade nicht da.',
          'upstream_unreachable.title': 'Nicht erreichbar',
          'button.try_again': 'Noch einmal',
          'button.start_page': 'Startseite',
          'nothing_to_send': 'Hier ist nichts.',
        },
      },
    },
  })
  const { page, said } = await visit(t, chromium)
  await page.goto(`${german.url}/down/`)
  t.equal(await page.title(), 'Nicht erreichbar – Bestellungen')
  t.equal(await page.locator('html').getAttribute('lang'), 'de')
  t.match(
    await page.locator('main').innerText(),
    /^Bestellungen\s+Nicht erreichbar\s+Die Anwendung ist gerade nicht da\.\s+Noch einmal\s+Startseite\s+Anfrage \S+$/,
  )
  t.equal(await page.locator('img').evaluate((image: HTMLImageElement) => image.naturalWidth), 80)
  t.same(await violations(page), [])
  await page.goto(`${german.url}/oauth2/form?id=abcdefghijkl`)
  t.match(await page.locator('main').innerText(), 'Hier ist nichts.')
  t.notMatch(said.join('\n'), /Security Policy/)
})
