import t from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { arrive, endSessions, signIn, visit } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, { '/app': html('An application'), '/mfa/app': html('Behind a second factor') })
const running = await startGateway(t, {
  config: {
    upstream: site.url,
    admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
    routes: [{ path: '/**' }, { path: '/mfa/**', require: { acr: 'urn:demo:mfa' } }],
  },
})
const { url } = running

void t.test('the URL’s fragment survives the first login', async (t) => {
  const { page } = await visit(t, chromium)
  await signIn(page, `${url}/app?tab=open#/orders/7`)
  t.equal(page.url(), `${url}/app?tab=open#/orders/7`)
})

void t.test('a long link survives the first login, with its fragment', async (t) => {
  const { page } = await visit(t, chromium)
  const filter = Array.from({ length: 600 }, (_, i) => `f${i}:${(i * 7919) % 997}`).join(',')
  const link = `${url}/app?q=caf%E9&filter=${filter.slice(0, 5000)}#/orders/${'7'.repeat(2000)}`
  await signIn(page, link)
  t.equal(page.url(), link)
})

void t.test('a fragment with any content survives and never reaches a server', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/app`)
  for (const fragment of [
    '#/orders/7',
    '#a=b&redirect=//evil.example#c?d=%26',
    '#ä€😀',
    '#<script>alert(1)</script>',
    '#access_token=secret',
  ]) {
    await page.goto('about:blank')
    await endSessions(running)
    await page.goto(`${url}/app${fragment}`)
    await page.waitForURL((at) => at.pathname === '/app')
    t.equal(page.url(), new URL(`${url}/app${fragment}`).href)
  }
  t.notOk(site.received.some(({ path }) => path.includes('secret')))
  t.notMatch(running.log.join(''), 'secret')
})

void t.test('the fragment survives a step-up', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/app`)
  await page.goto(`${url}/mfa/app#/pay/5`)
  await page.getByRole('button', { name: 'Confirm second factor' }).click()
  await page.waitForURL(`${url}/mfa/app#/pay/5`)
})

void t.test('a fragment in a link to the login survives', async (t) => {
  const { page } = await arrive(t, chromium, `${url}/app`)
  await page.goto(`${url}/oauth2/login?redirect=${encodeURIComponent('/app#/orders/8')}`)
  await page.waitForURL(`${url}/app#/orders/8`)
})

void t.test('the login continues by its link without JavaScript', async (t) => {
  const { page } = await visit(t, chromium, { javaScriptEnabled: false })
  await page.goto(`${url}/app#/orders/7`)
  await page.getByRole('link', { name: 'Continue' }).click()
  await page.getByRole('button', { name: 'Sign in as alice' }).click()
  await page.waitForURL((at) => at.pathname === '/app')
})
