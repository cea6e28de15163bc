import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { visit } from './visit.ts'

const chromium = await openChromium(t)
const numbers = Array.from({ length: 20 }, (_, n) => n)
const site = await startSite(t, Object.fromEntries(numbers.map((n) => [`/tab/${n}`, html(`<h1>Tab ${n}</h1>`)])))
const { url, idp } = await startGateway(t, { config: { upstream: site.url } })

const target = (n: number): string => `${url}/tab/${n}?q=${n}#/part/${n}`

/** Opens tabs that all begin to log in at once, and leaves each at the provider's login page. */
const open = async (context: Awaited<ReturnType<typeof visit>>['context'], count: number): Promise<Page[]> => {
  const pages = await Promise.all(numbers.slice(0, count).map(async () => context.newPage()))
  await Promise.all(
    pages.map(async (page, n) => {
      await page.goto(target(n))
      await page.waitForURL((at) => at.origin === idp.issuer, { waitUntil: 'commit' })
    }),
  )
  return pages
}

const finish = async (page: Page, n: number): Promise<string> => {
  await page.getByRole('button', { name: 'Sign in as alice' }).click()
  await page.waitForURL((at) => at.pathname.startsWith('/tab/') || at.pathname === '/oauth2/callback', {
    waitUntil: 'commit',
  })
  return page.url() === target(n) ? await page.getByRole('heading').innerText() : `is at ${page.url()}`
}

void t.test('twenty tabs begin to log in at once and finish in any order: each ends on its own page', async (t) => {
  const { context } = await visit(t, chromium)
  context.setDefaultTimeout(40_000)
  const pages = await open(context, 20)
  const order = numbers.toSorted((a, b) => Math.sin(a * 7.3) - Math.sin(b * 7.3))
  const ends = new Map<number, string>()
  // The first three one after the other, then the others at the same time.
  for (const n of order.slice(0, 3)) ends.set(n, await finish(pages[n] ?? (await context.newPage()), n))
  await Promise.all(
    order.slice(3).map(async (n) => {
      ends.set(n, await finish(pages[n] ?? (await context.newPage()), n))
    }),
  )
  t.same(
    numbers.map((n) => ends.get(n)),
    numbers.map((n) => `Tab ${n}`),
  )
  const logins = (await context.cookies(url)).filter(({ name }) => name.startsWith('gatehouse-'))
  t.ok(logins.length <= 5, `${logins.length} login cookies`)
})

void t.test(
  'a tab whose login cookie has run out goes on, where another has logged in and where none has',
  async (t) => {
    const { context } = await visit(t, chromium)
    const [first, second, third] = await open(context, 3)
    if (first === undefined || second === undefined || third === undefined) throw new Error('three tabs were opened')
    await context.clearCookies({ name: /^gatehouse-login/ })
    t.equal(await finish(first, 0), 'Tab 0', 'its login begins once more, and the provider knows the user by now')
    t.equal(await finish(second, 1), 'Tab 1')
    await context.clearCookies({ name: /^gatehouse/ })
    t.equal(await finish(third, 2), 'Tab 2')
  },
)
