import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { openChromium } from '../support/chromium.ts'
import { startIdp } from '../../src/demo/idp.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { html, startSite } from './site.ts'
import { signIn, visit } from './visit.ts'

const chromium = await openChromium(t)
const site = await startSite(t, {
  '/': html(
    '<a href="/oauth2/logout">Log out</a>',
    `<script>
addEventListener('gatehouse:ended', () => { document.title = 'ended' })
</script><script src="/oauth2/auto.js"></script>`,
  ),
})
const idp = await startIdp()
t.teardown(idp.close)

/** A gateway whose end of session the provider tells by this channel; hosts keep the cookies of two gateways apart. */
const start = async (host: string, channel: 'front' | 'back' | null): Promise<Running> => {
  const port = await freePort()
  const publicUrl = `http://${host}:${port}`
  const uri = `http://${channel === 'back' ? '127.0.0.1' : host}:${port}/oauth2/logout/${channel ?? ''}channel`
  return startGateway(t, {
    idp,
    port,
    publicUrl,
    config: { upstream: site.url },
    client:
      channel === null ? {} : channel === 'front' ? { frontchannelLogoutUri: uri } : { backchannelLogoutUri: uri },
  })
}
const here = await start('127.0.0.1', null)

/** Opens a page of the other gateway, signed in by the provider's session, then logs out on the first page. */
async function logOutBeside(t: Test, page: Page, there: Running): Promise<Page> {
  const other = await page.context().newPage()
  await other.goto(`${there.url}/`)
  await other.waitForURL(`${there.url}/`)
  t.equal(await other.evaluate(async () => (await fetch('/oauth2/session')).status), 200)
  await page.getByRole('link', { name: 'Log out' }).click()
  await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
  return other
}

for (const channel of ['front', 'back'] as const) {
  void t.test(
    `with two gateways at one provider, a logout at one ends the session at the other over the ${channel} channel`,
    async (t) => {
      const there = await start('localhost', channel)
      const { page } = await visit(t, chromium)
      await signIn(page, `${here.url}/`)
      const other = await logOutBeside(t, page, there)
      t.equal(await page.getByRole('heading').innerText(), 'Signed out')
      t.same(
        there.events('session_ended').map(({ reason }) => reason),
        [`${channel}channel`],
      )
      t.equal(await other.evaluate(async () => (await fetch('/oauth2/session')).status), 401)
      // The provider's session has ended: its login page asks for the user.
      await other.goto(`${there.url}/`)
      await other.getByRole('button', { name: 'Sign in as alice' }).waitFor()
    },
  )
}

void t.test('the other gateway’s page notices the logout when it is shown again', async (t) => {
  const there = await start('localhost', 'back')
  const { page, context } = await visit(t, chromium)
  await context.clock.install()
  await signIn(page, `${here.url}/`)
  const other = await logOutBeside(t, page, there)
  await context.clock.runFor(61_000)
  await other.evaluate(() => {
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await other.waitForFunction(() => document.title === 'ended')
})
