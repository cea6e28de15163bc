import type { BrowserContext } from 'playwright-core'
import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { openChromium } from '../support/chromium.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { logInWithLargeIdToken } from '../support/large-id-token.ts'
import { html, startSite } from './site.ts'
import { visit } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, { '/': html('<a href="/oauth2/logout">Log out</a>') })

/** Logs a browser in with an ID token of 30 kB. */
const signedIn = async (t: Test, running: Running, options = {}): Promise<BrowserContext> => {
  const quick = createBrowser()
  await logInWithLargeIdToken(running, quick, 30_000)
  const { context } = await visit(t, chromium, options)
  await context.addCookies(
    quick.cookies
      .all()
      .map(({ name, value, domain, path, httpOnly }) => ({ name, value, domain, path, httpOnly, sameSite: 'Lax' })),
  )
  return context
}

const start = async (t: Test): Promise<Running> =>
  startGateway(t, { config: { upstream: site.url, routes: [{ path: '/**' }, { path: '/bye', access: 'public' }] } })

void t.test('a logout with a large ID token goes to the provider by a form and returns', async (t) => {
  const running = await start(t)
  const { url, idp } = running
  for (const javaScriptEnabled of [true, false]) {
    const context = await signedIn(t, running, { javaScriptEnabled })
    const page = await context.newPage()
    const problems: string[] = []
    page.on('console', (message) => problems.push(message.text()))
    const posted: number[] = []
    page.on('request', (request) => {
      if (request.url() === `${idp.issuer}/logout`) posted.push(request.postData()?.length ?? 0)
    })
    await page.goto(`${url}/`)
    await page.getByRole('link', { name: 'Log out' }).click()
    if (!javaScriptEnabled) {
      for (const title of ['Signing out', 'Signing you out']) {
        await page.getByRole('heading', { name: title }).waitFor()
        await page.getByRole('button', { name: 'Continue' }).click()
      }
    }
    await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
    t.equal(await page.getByRole('heading').innerText(), 'Signed out')
    t.ok((posted[0] ?? 0) > 30_000, 'the ID token is in the form')
    t.equal(posted.length, 1)
    t.same(problems, [], 'the content security policy allows it')
    await page.goto(`${url}/`)
    if (!javaScriptEnabled) await page.getByRole('link', { name: 'Continue' }).click()
    await page.getByRole('button', { name: 'Sign in as alice' }).waitFor()
    await context.close()
  }
})

void t.test('a script opens the form at the URL that it got', async (t) => {
  const running = await start(t)
  const context = await signedIn(t, running)
  const page = await context.newPage()
  await page.goto(`${running.url}/`)
  await page.evaluate(async () => {
    const answer = await fetch('/oauth2/logout?redirect=/bye', { method: 'POST' })
    const body = (await answer.json()) as { logout_url: string }
    location.assign(body.logout_url)
  })
  await page.waitForURL(`${running.url}/bye`)
})
