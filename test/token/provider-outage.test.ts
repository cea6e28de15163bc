import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { startGateway, type Running } from '../support/gateway.ts'

const script = { kind: 'script' } as const

type Outage = Running & { readonly browsers: readonly Browser[]; readonly ask: (browser: Browser) => Promise<number> }

/** Sessions whose tokens have expired, and requests of each while the provider is down for much longer. */
const outage = async (t: Test, count: number, failure: Parameters<Running['idp']['fail']>[1]): Promise<Outage> => {
  const running = await startGateway(t, {
    idp: { lifetimes: { accessToken: 100 }, resources: ['api://orders'] },
    config: {
      provider: { timeout: '1s' },
      rateLimit: { login: 'off', callback: 'off', session: 'off', requests: 'off' },
      routes: [
        { path: '/**' },
        { path: '/api/echo/robot', token: { grant: 'client-credentials', resource: 'api://orders' } },
      ],
    },
  })
  const browsers = await Promise.all(
    Array.from({ length: count }, async () => {
      const browser = createBrowser()
      await browser.login(`${running.url}/`, 'alice')
      return browser
    }),
  )
  const ask = async (browser: Browser): Promise<number> =>
    (await browser.get(`${running.url}/api/orders`, script)).status
  running.idp.fail('token', failure)
  moveClock(t, 101_000)
  for (let i = 0; i < 4; i += 1) {
    await Promise.all(browsers.map(ask))
    moveClock(t, 2 ** i * 1000 + 50)
  }
  await Promise.all(browsers.map(ask))
  return { ...running, browsers, ask }
}

const refused: Parameters<Running['idp']['fail']>[1] = { destroy: true }

for (const [name, failure] of [
  ['refuses connections', { destroy: true }],
  ['answers 503', { status: 503 }],
] as const) {
  void t.test(
    `after a provider ${name} for longer than tokens live, one success makes all sessions work`,
    async (t) => {
      const { idp, url, browsers, ask } = await outage(t, 20, failure)
      idp.fail('token', null)
      moveClock(t, 600)
      t.equal(await ask(browsers[0] ?? createBrowser()), 503, 'no success is known yet')
      await createBrowser().login(`${url}/`, 'bob')
      t.same(
        await Promise.all(browsers.map(ask)),
        browsers.map(() => 200),
      )
      t.equal(idp.refusedGrants.refresh_token, 0)
    },
  )
}

void t.test('a grant of a route’s token counts as a success', async (t) => {
  const { idp, url, browsers, ask } = await outage(t, 2, refused)
  idp.fail('token', null)
  moveClock(t, 600)
  const [first = createBrowser()] = browsers
  t.equal(await ask(first), 503)
  t.equal((await first.get(`${url}/api/echo/robot`, script)).status, 200)
  t.same(await Promise.all(browsers.map(ask)), [200, 200])
})

void t.test('if no other call succeeds, users wait at most five seconds', async (t) => {
  const { idp, browsers, ask } = await outage(t, 3, refused)
  idp.fail('token', null)
  moveClock(t, 3_900)
  t.same(await Promise.all(browsers.map(ask)), [503, 503, 503])
  moveClock(t, 1_100)
  t.same(await Promise.all(browsers.map(ask)), [200, 200, 200])
})

void t.test('a recovering provider is asked by a few sessions at a time', async (t) => {
  const { idp, url, browsers, ask } = await outage(t, 60, refused)
  idp.fail('token', null)
  moveClock(t, 600)
  await createBrowser().login(`${url}/`, 'bob')
  let goOn = (): void => {}
  idp.fail('token', {
    until: new Promise<void>((resolve) => {
      goOn = resolve
    }),
  })
  const before = idp.tokenRequests
  const waiting = Promise.all(browsers.map(ask))
  await sleep(800)
  t.equal(idp.tokenRequests - before, 16)
  goOn()
  t.same(
    await waiting,
    browsers.map(() => 200),
  )
  t.equal(idp.tokenRequests - before, 60)
})
