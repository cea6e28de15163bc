import type { Page } from 'playwright-core'
import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { looks, violations } from './violations.ts'
import { arrive } from './visit.ts'

const chromium = await openChromium(t)
const { url } = await startGateway(t, {
  config: {
    session: { idleTimeout: '3m' },
    routes: [
      { path: '/**', headers: { set: { 'X-Name': '{claims.name}' } } },
      { path: '/approve', require: { acr: 'urn:demo:mfa' } },
    ],
  },
})

const write = async (page: Page): Promise<void> => {
  await page.getByLabel('Report').fill('what took an hour')
  await page.getByRole('button', { name: 'Expire my session now' }).click()
  await page.getByText('The session has ended.').waitFor()
}

void t.test('the page with the long form counts down to the end of the session', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/report`)
  await page.getByText(/The session ends in 2:5\d/).waitFor()
  await page.getByText(/The session ends in 2:5[0-7]/).waitFor()
  t.equal(await page.getByRole('alert').count(), 0)
})

void t.test('after the session has ended, the buttons for the session are disabled', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/`)
  const refresh = page.getByRole('button', { name: 'Refresh the tokens' })
  await refresh.click()
  await page.getByText('The tokens were issued at').waitFor()
  t.equal(await refresh.isDisabled(), false)
  await page.getByRole('button', { name: 'End the session, stay on this page' }).click()
  await page.getByText('The session has ended. Reload the page to sign in.').waitFor()
  t.equal(await refresh.isDisabled(), true)
})

void t.test('input is saved after the session has expired, by script and as a form', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/report`)
  await write(page)
  await page.getByRole('button', { name: 'Save by script' }).click()
  await page.getByText(/^Saved \d+ characters/).waitFor()
  await page.getByText(/The session ends in 2:5\d/).waitFor()
  t.equal(await page.getByLabel('Report').inputValue(), 'what took an hour')
  await write(page)
  await page.getByRole('button', { name: 'Send as a form' }).click()
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  t.equal(await page.locator('pre#text').innerText(), 'what took an hour')
})

void t.test('an action that needs a second factor asks for it in a window', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/report`)
  const opened = context.waitForEvent('page')
  await page.getByRole('button', { name: 'Approve' }).click()
  await (await opened).getByRole('button', { name: 'Confirm second factor' }).click()
  await page.getByText('Approved with a second factor.').waitFor()
})

void t.test('links that are opened in many tabs reach their targets', async (t) => {
  const { page, context } = await arrive(t, chromium, `${url}/report`)
  await page.getByRole('button', { name: 'Expire my session now' }).click()
  await page.getByText('The session has ended.').waitFor()
  for (const n of [1, 2, 3]) {
    const opened = context.waitForEvent('page')
    await page.getByRole('link', { name: `Tab ${n}` }).click()
    const tab = await opened
    await tab.getByRole('heading', { name: `Tab ${n}` }).waitFor()
    t.equal(tab.url(), `${url}/tab/${n}#/part/${n}`)
  }
})

void t.test('the demo’s pages are accessible, in dark mode and on a phone', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/report`)
  const atProvider = `${url}/oauth2/login?prompt=login&redirect=/report`
  for (const address of [`${url}/report`, `${url}/`, `${url}/tab/1`, atProvider]) {
    await page.goto(address)
    if (address === atProvider) await page.getByRole('button', { name: 'Sign in as alice' }).waitFor()
    for (const { colorScheme, width, height } of looks) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height })
      t.same(await violations(page), [], `${address}, ${colorScheme}, ${width} px`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      t.ok(wide <= 0, `${address} needs no sideways scrolling: ${wide} px`)
    }
  }
})
