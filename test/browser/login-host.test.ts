import type { Page } from 'playwright-core'
import t from 'tap'
import { createAuthority } from '../support/certificates.ts'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { endSessions, isPosted, save, saved, visit, type Visit } from './visit.ts'

const chromium = await openChromium(t)
const folder = t.testdir(
  (({ cert, key }) => ({ 'cert.pem': cert, 'key.pem': key }))(createAuthority().issue(['app.test', '*.app.test'])),
)
const page = html(
  '<input id="work"><button id="save">Save</button><output id="out"></output>' +
    '<form method="post" action="/posted"><input name="note" value="keep me"><button>Post</button></form>',
  `<script src="/oauth2/auto.js"></script><script>
addEventListener('gatehouse:ended', () => { document.title = 'ended' })
addEventListener('load', () => {
  document.getElementById('save').onclick = async () => {
    const answer = await fetch('/api/save', { method: 'POST', body: document.getElementById('work').value })
    document.getElementById('out').textContent = answer.status + ' ' + (await answer.text())
  }
})
</script>`,
)
const site = await startSite(t, { '/': page })
const port = await freePort()
const AUTH = `https://auth.app.test:${port}`
const ONE = `https://one.app.test:${port}`
const TWO = `https://two.app.test:${port}`
const running = await startGateway(t, {
  port,
  client: {
    redirectUris: [`${AUTH}/oauth2/callback`],
    postLogoutRedirectUris: [`${AUTH}/oauth2/logout/callback`],
  },
  config: {
    publicUrl: [AUTH, `https://*.app.test:${port}`],
    loginHost: AUTH,
    upstream: site.url,
    admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
    tls: { certFile: `${folder}/cert.pem`, keyFile: `${folder}/key.pem` },
    session: { cookie: { domain: 'app.test' } },
  },
})

const ANY_CERTIFICATE = { ignoreHTTPSErrors: true }

/** Opens a page and signs alice in at the provider on the way. */
const signIn = async (page: Page, target: string): Promise<void> => {
  await page.goto(target)
  await page.getByRole('button', { name: 'Sign in as alice' }).click()
  await page.waitForURL((url) => url.hostname !== '127.0.0.1' && url.hostname !== 'auth.app.test')
}

const arrive = async (t: Parameters<typeof visit>[0], target: string): Promise<Visit> => {
  const visited = await visit(t, chromium, ANY_CERTIFICATE)
  await signIn(visited.page, target)
  return visited
}

void t.test('one login lets the browser in at every host, and the fragment stays', async (t) => {
  const { page, context } = await arrive(t, `${ONE}/?a=b#part`)
  t.equal(page.url(), `${ONE}/?a=b#part`)
  const other = await context.newPage()
  await other.goto(`${TWO}/`)
  t.equal(other.url(), `${TWO}/`)
  await other.locator('#work').waitFor()
})

void t.test('a form that was posted after the session ended is sent after the login at the other host', async (t) => {
  const { page } = await arrive(t, `${ONE}/`)
  await endSessions(running)
  await page.getByRole('button', { name: 'Post' }).click()
  await page.getByRole('link', { name: 'Sign in and send' }).click()
  await isPosted(page)
  t.equal(page.url(), `${ONE}/posted`)
  t.match(await page.textContent('body'), 'note=keep+me')
})

void t.test('a script’s request survives: a frame reports to its own host, and a login window closes', async (t) => {
  const { page } = await arrive(t, `${ONE}/`)
  await page.locator('#work').fill('typed')
  await endSessions(running)
  // The provider is another site, so its session is not sent in the frame, and the frame reports `login_required`.
  const [popup] = await Promise.all([page.waitForEvent('popup'), page.locator('#save').click()])
  if (!popup.isClosed()) await popup.waitForEvent('close')
  t.match(await saved(page), /^200 .*typed/)
  t.equal(page.url(), `${ONE}/`)
  await save(page, 'again')
  t.match(await saved(page), /^200/)
})

void t.test('a logout at one host ends at its own page, tells its tabs, and holds at every host', async (t) => {
  const { page, context } = await arrive(t, `${ONE}/`)
  const tab = await context.newPage()
  await tab.goto(`${ONE}/`)
  await page.goto(`${ONE}/oauth2/logout`)
  const confirm = page.getByRole('button', { name: /sign out|yes|confirm/i })
  if (await confirm.isVisible()) await confirm.click()
  await page.getByRole('heading', { name: 'Signed out' }).waitFor()
  t.equal(new URL(page.url()).origin, ONE)
  await tab.waitForFunction(() => document.title === 'ended')
  await tab.goto(`${TWO}/`)
  t.equal(new URL(tab.url()).origin, new URL(running.idp.issuer).origin, 'the next visit anywhere is a new login')
})
