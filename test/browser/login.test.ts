import type { BrowserContextOptions, Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'

const chromium = await openChromium(t)
const port = await freePort()
// The provider is at 127.0.0.1: for a browser that is another site than localhost.
const { url, upstream, idp } = await startGateway(t, {
  port,
  publicUrl: `http://localhost:${port}`,
  config: {
    routes: [
      { path: '/**', headers: { set: { 'X-Name': '{claims.name}', 'X-Groups': '{claims.groups}' } } },
      { path: '/public/**', access: 'public' },
      { path: '/admin/**', require: { claims: { groups: ['admin'] } } },
      { path: '/down/**', access: 'public', upstream: 'http://127.0.0.1:9' },
    ],
  },
})

/** A page in its own profile. Its console messages are kept, and an uncaught error fails the test. */
const openPage = async (t: Test, options: BrowserContextOptions = {}): Promise<{ page: Page; said: string[] }> => {
  const context = await chromium.newContext(options)
  t.teardown(async () => {
    await context.close()
  })
  const page = await context.newPage()
  page.setDefaultTimeout(10_000)
  const said: string[] = []
  page.on('console', (message) => said.push(message.text()))
  page.on('pageerror', (error) => {
    t.fail(error.message)
  })
  return { page, said }
}

const signIn = async (page: Page, user: string, target = `${url}/`): Promise<void> => {
  await page.goto(target)
  await page.getByRole('button', { name: `Sign in as ${user}` }).click()
  await page.waitForURL((at) => at.origin === url && !at.pathname.startsWith('/oauth2/'))
}

const callApi = async (page: Page): Promise<{ status: string; body: string }> => {
  const answered = page.waitForResponse(`${url}/api/orders`)
  await page.getByRole('button', { name: 'GET /api/orders' }).click()
  await answered
  await page.waitForFunction(
    () =>
      /^\d/.test(document.getElementById('status')?.textContent ?? '') &&
      document.getElementById('body')?.textContent !== '',
  )
  return { status: await page.locator('#status').innerText(), body: await page.locator('#body').innerText() }
}

const endSessionElsewhere = async (page: Page): Promise<void> => {
  const tab = await page.context().newPage()
  await tab.goto(`${url}/public/`)
  const status = await tab.evaluate(async () => (await fetch('/oauth2/logout/local', { method: 'POST' })).status)
  if (status !== 204) throw new Error(`logout/local answered ${status}`)
  await tab.close()
}

void t.test('a user signs in with a click, sees the application, and its page calls the API', async (t) => {
  const { page, said } = await openPage(t)
  await page.goto(`${url}/`)
  t.ok(page.url().startsWith(`${idp.issuer}/`), 'the browser is at the provider')
  await page.getByRole('button', { name: 'Sign in as zoe' }).click()
  await page.waitForURL(`${url}/`)
  t.equal(await page.locator('#user').innerText(), 'Signed in as Zoë')
  t.match(await page.locator('#headers').innerText(), /X-Name\s+UTF-8''Zo%C3%AB \(Zoë\)/)

  const { status, body } = await callApi(page)
  t.equal(status, '200 application/json')
  t.match(JSON.parse(body), { user: 'Zoë' })
  t.match(upstream.requests.at(-1)?.headers.authorization, /^Bearer \S+$/)

  t.equal(await page.evaluate(() => document.cookie), '', 'no script sees the session')
  const cookies = await page.context().cookies(url)
  t.ok(cookies.length > 0 && cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === 'Lax'))
  t.same(said, [])
})

void t.test(
  'after the session ended, the page’s call gets a 401 problem with the login URL and no CORS error',
  async (t) => {
    const { page, said } = await openPage(t)
    await signIn(page, 'alice')
    await endSessionElsewhere(page)
    const { status, body } = await callApi(page)
    t.equal(status, '401 application/problem+json')
    const problem: { code: string; login_url: string } = JSON.parse(body)
    t.match(problem, { status: 401, code: 'login_required', login_url: `${url}/oauth2/login?redirect=%2F` })
    t.equal(page.url(), `${url}/`, 'the page is where it was')
    t.notMatch(said.join('\n'), /CORS/)

    await page.goto(problem.login_url)
    await page.waitForURL(`${url}/`)
    t.equal(await page.locator('#user').innerText(), 'Signed in as Alice Archer', 'the provider still knows the user')
  },
)

void t.test(
  'an idle session expires: the page’s call gets 401 session_expired, and a reload goes to the login',
  async (t) => {
    const short = await startGateway(t, { config: { session: { idleTimeout: '2s' } } })
    const { page } = await openPage(t)
    await page.goto(`${short.url}/`)
    await page.getByRole('button', { name: 'Sign in as bob' }).click()
    await page.waitForURL(`${short.url}/`)
    const first = await page.context().cookies(short.url)
    await page.waitForTimeout(2_100)
    const answer = await page.evaluate(async () => {
      const { status, headers } = await fetch('/api/orders')
      return { status, code: headers.get('gatehouse') }
    })
    t.same(answer, { status: 401, code: 'session_expired' })
    t.same(
      (await page.context().cookies(short.url)).filter(({ name }) => name === 'gatehouse'),
      [],
      'the cookie is gone',
    )
    await page.reload()
    await page.waitForURL(`${short.url}/`)
    const second = (await page.context().cookies(short.url)).find(({ name }) => name === 'gatehouse')
    t.ok(second !== undefined)
    t.not(second?.value, first.find(({ name }) => name === 'gatehouse')?.value)
  },
)

void t.test('the fragment of a URL survives the login', async (t) => {
  const { page } = await openPage(t)
  await signIn(page, 'carol', `${url}/app?tab=open#/orders/7`)
  t.equal(page.url(), `${url}/app?tab=open#/orders/7`)
  await endSessionElsewhere(page)
  await page.goto(`${url}/other#/orders/8?note=a&b`)
  await page.waitForURL(/note=a&b$/)
  t.equal(page.url(), `${url}/other#/orders/8?note=a&b`, 'also when the provider asks nothing')
})

void t.test('a form that is sent after the session has ended survives the login', async (t) => {
  const { page } = await openPage(t)
  await signIn(page, 'alice')
  await endSessionElsewhere(page)
  await page.getByLabel('What should we bring?').fill('Größe “L” & <b>two</b>\nmore')
  await page.getByRole('button', { name: 'Order', exact: true }).click()
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  await page.waitForURL(`${url}/orders`)
  t.equal(await page.locator('pre#note').innerText(), 'Größe “L” & <b>two</b>\nmore')
})

void t.test('logout goes to the provider and back, and the next login asks for the user', async (t) => {
  const { page } = await openPage(t)
  await signIn(page, 'bob')
  const atProvider = page.waitForRequest((request) => request.url().startsWith(`${idp.issuer}/logout`))
  await page.getByRole('link', { name: 'Log out' }).click()
  await atProvider
  await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
  t.equal(await page.getByRole('heading').innerText(), 'Signed out')
  t.same(
    (await page.context().cookies(url)).filter(({ name }) => name === 'gatehouse'),
    [],
  )
  await page.getByRole('link', { name: 'Sign in again' }).click()
  await page.getByRole('button', { name: 'Sign in as bob' }).waitFor()
  t.ok(page.url().startsWith(`${idp.issuer}/`))
})

void t.test('a logout link on another site asks for confirmation, and the button signs out', async (t) => {
  const { page } = await openPage(t)
  await signIn(page, 'alice')
  await page.goto(`${upstream.url}/public/`)
  await page.evaluate((target) => {
    const link = document.createElement('a')
    link.href = target
    link.textContent = 'a trap'
    document.body.append(link)
  }, `${url}/oauth2/logout?redirect=/public/bye`)
  await page.getByRole('link', { name: 'a trap' }).click()
  t.equal(await page.getByRole('heading').innerText(), 'Sign out?')
  t.equal(
    (await page.context().cookies(url)).filter(({ name }) => name === 'gatehouse').length,
    1,
    'the user is still signed in',
  )
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(`${url}/public/bye`)
  t.same(
    (await page.context().cookies(url)).filter(({ name }) => name === 'gatehouse'),
    [],
  )
})

void t.test('a frame shows a page with a link that signs in in the top window', async (t) => {
  const { page } = await openPage(t)
  await page.goto(`${url}/public/`)
  await page.evaluate(() => {
    const frame = document.createElement('iframe')
    frame.src = '/embedded'
    document.body.append(frame)
  })
  const link = page.frameLocator('iframe').getByRole('link', { name: 'Sign in' })
  await link.waitFor()
  t.equal(await page.frameLocator('iframe').getByRole('heading').innerText(), 'Sign-in required')
  await link.click()
  await page.getByRole('button', { name: 'Sign in as alice' }).click()
  await page.waitForURL((at) => at.origin === url && !at.pathname.startsWith('/oauth2/'))
  t.equal(page.frames().length, 1)
})

void t.test('the gateway’s pages fit a phone, support dark mode and are accessible', async (t) => {
  const { page } = await openPage(t, { viewport: { width: 360, height: 640 }, colorScheme: 'dark' })
  await signIn(page, 'carol', `${url}/admin/`).catch(() => {})
  const pages: [string, string, () => Promise<unknown>][] = [
    ['Not allowed', 'the 403 page', async () => page.goto(`${url}/admin/`)],
    ['Not found', 'the 404 page', async () => page.goto(`${url}/oauth2/nothing`)],
    ['Ambiguous address', 'the 400 page', async () => page.goto(`${url}/public/%2e%2e%2fadmin`)],
    ['Application unreachable', 'the 502 page', async () => page.goto(`${url}/down/`)],
    ['Sign-in failed', 'a failed login', async () => page.goto(`${url}/oauth2/callback`)],
    [
      'Signed out',
      'the signed-out page',
      async () => {
        await page.goto(`${url}/oauth2/logout`)
        await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
      },
    ],
  ]
  for (const [heading, name, open] of pages) {
    await open()
    t.equal(await page.getByRole('heading', { level: 1 }).innerText(), heading, name)
    const { background, ink, soft, ...layout } = await page.evaluate(measure)
    t.ok(layout.width <= 360, `${name} needs no sideways scrolling: ${layout.width} px`)
    t.ok(layout.height <= 640, `${name} is seen whole: ${layout.height} px`)
    t.ok(layout.left >= 8 && layout.right >= 8, `${name} keeps off the edges`)
    t.ok(layout.fontSize >= 16, `${name} has text of a readable size`)
    t.ok(
      layout.ways.length > 0 && layout.ways.every((height) => height >= 40),
      `${name} has a way on, large enough for a thumb: ${layout.ways.join(', ')} px`,
    )
    t.ok(luminance(background) < 0.05, `${name} is dark`)
    t.ok(contrast(ink, background) >= 7, `${name}: its text stands out`)
    t.ok(contrast(soft, background) >= 4.5, `${name}: its small print as well`)
    t.equal(layout.language, 'en')
    t.match(await page.locator('.id').innerText(), /^Request \S+$/)
  }
})

/** Runs in the page: how it is really laid out. */
function measure() {
  const main = document.querySelector('main')
  const small = document.querySelector('.id')
  if (main === null || small === null) throw new Error('this is not one of the gateway’s pages')
  const box = main.getBoundingClientRect()
  return {
    width: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    left: box.left,
    right: innerWidth - box.right,
    fontSize: Number.parseFloat(getComputedStyle(main).fontSize),
    ways: [...document.querySelectorAll('.actions a, .actions button')].map(
      (way) => way.getBoundingClientRect().height,
    ),
    background: getComputedStyle(main).backgroundColor,
    ink: getComputedStyle(main).color,
    soft: getComputedStyle(small).color,
    language: document.documentElement.lang,
  }
}

/** Relative luminance of a computed color (WCAG 2.2). */
function luminance(color: string): number {
  const [red = 0, green = 0, blue = 0] = (color.match(/[\d.]+/g) ?? []).map((part) => {
    const share = Number(part) / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function contrast(one: string, other: string): number {
  const [darker = 0, lighter = 0] = [luminance(one), luminance(other)].toSorted((a, b) => a - b)
  return (lighter + 0.05) / (darker + 0.05)
}
