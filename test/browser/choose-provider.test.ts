import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startTwo } from '../support/two-providers.ts'
import { html, startSite } from './site.ts'
import { visit } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, { '/app': html('An application', '<script src="/oauth2/auto.js"></script>') })
const { url, staff, partners } = await startTwo(t, { config: { upstream: site.url, routes: [{ path: '/**' }] } })

void t.test('a user chooses a provider with the keyboard, and the fragment survives', async (t) => {
  const { page, context } = await visit(t, chromium)
  await page.goto(`${url}/app?tab=open#/orders/7`)
  t.equal(await page.getByRole('heading').innerText(), 'Sign in')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  t.equal(await page.locator(':focus').innerText(), 'partners')
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Sign in as alice' }).click()
  await page.waitForURL(`${url}/app?tab=open#/orders/7`)
  t.equal(partners.requests.token, 1)
  t.equal(staff.requests.token, 0)

  await context.clearCookies({ name: 'gatehouse' })
  const asked = partners.requests.authorization
  const status = await page.evaluate(async () => (await fetch('/api/orders')).status)
  t.equal(status, 200, 'the scripts renew the session')
  t.ok(partners.requests.authorization > asked, 'at the provider of the user')
  t.equal(staff.requests.authorization, 0)
})

void t.test('the page works without JavaScript', async (t) => {
  const { page } = await visit(t, chromium, { javaScriptEnabled: false })
  await page.goto(`${url}/app`)
  await page.getByRole('link', { name: 'Our staff' }).click()
  await page.getByRole('link', { name: 'Continue' }).click()
  await page.getByRole('button', { name: 'Sign in as alice' }).click()
  await page.waitForURL((at) => at.pathname === '/app')
  t.ok(staff.requests.token > 0)
})
