import t from 'tap'
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

for (const channel of ['front', 'back'] as const) {
  void t.test(
    `two gateways with one provider: logging out at one ends the other over the ${channel} channel`,
    async (t) => {
      const there = await start('localhost', channel)
      const { page, context } = await visit(t, chromium)
      await signIn(page, `${here.url}/`)
      const other = await context.newPage()
      await other.goto(`${there.url}/`)
      await other.waitForURL(`${there.url}/`)
      t.equal(await other.evaluate(async () => (await fetch('/oauth2/session')).status), 200)
      await page.getByRole('link', { name: 'Log out' }).click()
      await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
      t.equal(await page.getByRole('heading').innerText(), 'Signed out')
      t.same(
        there.events('session_ended').map(({ reason }) => reason),
        [`${channel}channel`],
      )
      t.equal(await other.evaluate(async () => (await fetch('/oauth2/session')).status), 401)
      // It asks who it is, at the provider, too.
      await other.goto(`${there.url}/`)
      await other.getByRole('button', { name: 'Sign in as alice' }).waitFor()
    },
  )
}

void t.test('the other’s page hears of it when it is looked at again', async (t) => {
  const there = await start('localhost', 'back')
  const { page, context } = await visit(t, chromium)
  await context.clock.install()
  await signIn(page, `${here.url}/`)
  const other = await context.newPage()
  await other.goto(`${there.url}/`)
  await other.waitForURL(`${there.url}/`)
  t.equal(await other.evaluate(async () => (await fetch('/oauth2/session')).status), 200)
  await page.getByRole('link', { name: 'Log out' }).click()
  await page.waitForURL((at) => at.pathname === '/oauth2/logout/callback')
  await context.clock.runFor(61_000)
  await other.evaluate(() => {
    document.dispatchEvent(new Event('visibilitychange'))
  })
  await other.waitForFunction(() => document.title === 'ended')
})
