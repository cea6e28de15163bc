import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { startScriptedProvider } from '../oidc/scripted-provider.ts'
import { startApplication } from '../support/application.ts'
import { createAuthority } from '../support/certificates.ts'
import { openChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { visit } from './visit.ts'

const chromium = await openChromium(t, { blocksThirdPartyCookies: true })
const folder = t.testdir(
  (({ cert, key }) => ({ 'cert.pem': cert, 'key.pem': key }))(createAuthority().issue(['127.0.0.1'])),
)

/** Starts a gateway with TLS in front of an application, with a provider that logs the user in at once in any frame. */
const startEmbedded = async (t: Test, cookie: object): Promise<Running> => {
  const provider = await startScriptedProvider(t)
  provider.paths.set('/authorize', (request, response) => {
    const { searchParams } = new URL(request.url ?? '', provider.origin)
    const [clientId = '', nonce = ''] = ['client_id', 'nonce'].map((name) => searchParams.get(name) ?? '')
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: provider.issuer, sub: 'alice', aud: clientId, nonce, iat: now, exp: now + 300 }
    void provider.sign(claims).then((idToken) => {
      const tokens = { access_token: 'token', token_type: 'Bearer', expires_in: 300, id_token: idToken }
      provider.paths.set('/token', tokens)
      const callback = new URL(searchParams.get('redirect_uri') ?? '')
      callback.search = new URLSearchParams({ code: 'code', state: searchParams.get('state') ?? '' }).toString()
      response.writeHead(302, { location: callback.href }).end()
    })
  })
  const site = await startSite(t, {
    '/': html(
      '<form method="post" action="/saved"><button>Save</button></form>',
      '<script src="/oauth2/auto.js"></script>',
    ),
  })
  const port = await freePort()
  return startGateway(t, {
    port,
    publicUrl: `https://127.0.0.1:${port}`,
    config: {
      upstream: site.url,
      tls: { certFile: `${folder}/cert.pem`, keyFile: `${folder}/key.pem` },
      provider: { issuer: provider.issuer },
      session: { cookie: { sameSite: 'none', ...cookie } },
    },
  })
}

/** Opens a page of another site, localhost, that shows the application in a frame. */
const embed = async (t: Test, { url }: Running): Promise<Page> => {
  const outside = await startApplication(t, (_request, response) => {
    response
      .writeHead(200, { 'content-type': 'text/html' })
      .end(`<!doctype html><link rel="icon" href="data:,"><h1>Another site</h1><iframe src="${url}/"></iframe>`)
  })
  const { page } = await visit(t, chromium, { ignoreHTTPSErrors: true })
  await page.goto(outside.url.replace('127.0.0.1', 'localhost'))
  return page
}

void t.test('an application in a frame of another site logs in there and keeps its session', async (t) => {
  const running = await startEmbedded(t, { partitioned: true })
  const page = await embed(t, running)
  const frame = page.frameLocator('iframe')
  await frame.getByRole('link', { name: 'Sign in' }).click()
  await frame.getByRole('button', { name: 'Save' }).waitFor()
  await page.reload()
  await frame.getByRole('button', { name: 'Save' }).click()
  await frame.getByText('"method":"POST"').waitFor()
  t.match(await page.evaluate(() => document.querySelector('h1')?.textContent), 'Another site', 'the top page stays')
  const cookies = await page.context().cookies()
  t.ok(cookies.some(({ name }) => name === '__Host-gatehouse'))

  await page.goto(`${running.url}/oauth2/session`)
  t.match(await page.textContent('body'), 'You have to sign in', 'outside the frame the browser has no session')
})

void t.test('without partitioned cookies, the frame of another site shows no page of the gateway', async (t) => {
  const page = await embed(t, await startEmbedded(t, {}))
  await page.waitForFunction(() => performance.getEntriesByType('resource').length > 0)
  t.equal(await page.frameLocator('iframe').getByRole('link', { name: 'Sign in' }).count(), 0)
})
