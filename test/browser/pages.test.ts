import { createServer } from 'node:net'
import { once } from 'node:events'
import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { eventually } from '../support/eventually.ts'
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
  '/without-icon': { headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>A page</title>' },
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
    'Sign-in required',
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
    'Sign-in required',
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

const branded = await startGateway(t, {
  config: {
    ...config,
    session: { cookie: { name: 'branded' } },
    routes: [...routes, { path: '/alice/**', require: { claims: { email: 'alice@*' } } }],
    pages: {
      title: 'Order desk',
      // Too pale for links on white.
      accentColor: '#ffcc00',
      contact: 'it@example.com',
      styleFile: styleFile(),
      languages: { ar: { 'forbidden': 'لا يمكنك فتح هذه الصفحة.', 'forbidden.title': 'غير مسموح' } },
    },
  },
})

function styleFile(): string {
  const folder = t.testdir({
    'site.css':
      '@import "/imported.css"; .site { letter-spacing: 3px; background: url(/logo.svg) } /* </style><h1>no</h1> */',
  })
  return `${folder}/site.css`
}

/** The languages of browsers, the language of the page, its direction and some of its words. */
const spoken = [
  [
    'de-AT',
    'de',
    'ltr',
    /^Order desk\s+Kein Zugriff\s+Um diese Seite.*\s+Sie sind als Bob Baker \(bob@example\.com\) angemeldet\.\s+Anderes Konto verwenden\s+Abmelden\s+Zur Startseite\s+Hilfe: it@example\.com\s+Anfrage \S+$/,
  ],
  ['fr-FR', 'fr', 'ltr', /Accès refusé\s+Pour ouvrir.*\s+Vous êtes connecté en tant que Bob Baker/],
  ['es', 'es', 'ltr', /Acceso denegado\s+Para abrir.*\s+Ha iniciado sesión como Bob Baker/],
  ['ar-EG', 'ar', 'rtl', /غير مسموح\s+لا يمكنك فتح هذه الصفحة/],
  ['ja', 'en', 'ltr', /Not allowed\s/],
] as const

void t.test('a page is in the language of the browser', async (t) => {
  for (const [locale, language, direction, words] of spoken) {
    const { page } = await visit(t, chromium, { locale })
    await signInAt(page, `${branded.url}/admin/`, 'bob')
    t.match(await page.locator('main').innerText(), words, locale)
    t.same(
      await page.evaluate(() => [document.documentElement.lang, getComputedStyle(document.body).direction]),
      [language, direction],
      locale,
    )
    await page.setViewportSize({ width: 320, height: 568 })
    t.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 320, `${locale}: no sideways scrolling`)
  }
})

void t.test('a page in the colors and the style of the site is accessible', async (t) => {
  const { page, said } = await visit(t, chromium, { locale: 'de-DE' })
  await signInAt(page, `${branded.url}/admin/`, 'bob')
  for (const { colorScheme, width, height } of looks) {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize({ width, height })
    t.same(await violations(page), [], `${colorScheme}, ${width} px`)
  }
  const [button, spacing, image] = await page.evaluate(() => {
    const site = getComputedStyle(document.querySelector('.site') ?? document.body)
    return [
      getComputedStyle(document.querySelector('.actions a') ?? document.body).backgroundColor,
      site.letterSpacing,
      site.backgroundImage,
    ]
  })
  t.same([button, spacing], ['rgb(255, 204, 0)', '3px'])
  t.match(image, '/logo.svg')
  t.equal(await page.locator('h1').count(), 1, 'the style cannot end its element')
  t.match(said.join('\n'), 'imported.css', 'the policy blocks @import')
})

void t.test('no page makes the browser ask the application for an icon', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  const asked = (): number => site.at('/favicon.ico').length
  await page.goto(`${url}/without-icon`)
  await eventually(async () => asked() === 1)
  for (const name of ['forbidden', 'not found', 'bad gateway', 'login failed', 'nothing to send', 'signed out'])
    await pages[name]?.[1](page)
  await page.goto(`${url}/oauth2/logout/frontchannel?iss=${encodeURIComponent(idp.issuer)}&sid=x`)
  const { page: anonymous } = await visit(t, chromium)
  await anonymous.goto(`${url}/oauth2/login`)
  await anonymous.getByRole('button', { name: 'Sign in as alice' }).waitFor()
  t.equal(asked(), 1)
})

void t.test(
  '“Use another account” leads through the choice of an account to the page, and “Sign out” signs out',
  async (t) => {
    const { page } = await visit(t, chromium)
    await signInAt(page, `${branded.url}/alice/orders?id=7#part`, 'bob')
    t.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'Not allowed')
    await page.getByRole('link', { name: 'Use another account' }).click()
    // The provider has a session of bob and asks for the account all the same.
    await page.getByRole('button', { name: 'Sign in as alice' }).click()
    await page.waitForURL((at) => at.pathname === '/alice/orders')
    t.match(await page.innerText('body'), '"path":"/alice/orders?id=7"')
    await page.goto(`${branded.url}/admin/`)
    t.match(await page.locator('main').innerText(), 'Alice Archer (alice@example.com)')
    await page.getByRole('link', { name: 'Sign out' }).click()
    await page.getByText('You are signed out.').waitFor()
    await page.goto(`${branded.url}/alice/`)
    await page.getByRole('button', { name: 'Sign in as bob' }).waitFor()
  },
)

/** Opens a page that a user who signs in on the way may not see. */
async function signInAt(page: Page, target: string, user: string): Promise<void> {
  await page.goto(target)
  await page.getByRole('button', { name: `Sign in as ${user}` }).click()
  await page.waitForURL((at) => at.origin === new URL(target).origin && !at.pathname.startsWith('/oauth2/'))
}
