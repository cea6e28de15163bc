import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import { setWallClock } from '../../support/clock.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { startRedis, type Redis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

const HOUR = 3_600_000
const script = { kind: 'script' } as const

type Started = Running & { readonly redis: Redis; readonly browser: Browser; readonly status: () => Promise<number> }

/** A gateway on Redis with alice logged in; the route that `status` asks for has no token that a clock could end. */
const start = async (t: Test, session: object = {}, config: object = {}): Promise<Started> => {
  const redis = await startRedis(t)
  const running = await startGateway(t, {
    config: {
      session: { store: redis.url, idleTimeout: 'off', ...session },
      routes: [{ path: '/**' }, { path: '/api/echo/**', token: { grant: 'none' } }],
      ...config,
    },
  })
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'alice')
  const status = async (): Promise<number> => (await browser.get(`${running.url}/api/echo/x`, script)).status
  return { ...running, redis, browser, status }
}

const steps = [
  ['back', -HOUR],
  ['forward', HOUR],
] as const

for (const [direction, step] of steps) {
  void t.test(`the clock is set ${direction} by an hour: lost data is noticed within five seconds`, async (t) => {
    const { redis, status } = await start(t)
    t.equal(await status(), 200)
    setWallClock(t, step)
    for (const key of await redis.keys()) if (key.includes('session')) await redis.command('DEL', key)
    const setAt = performance.now()
    await eventually(async () => (await status()) === 401, { what: 'it is noticed', timeoutMs: 6_000 })
    t.ok(performance.now() - setAt < 5_200)
  })

  void t.test(`the clock is set ${direction} by an hour: outageGrace stays what it is`, async (t) => {
    const { redis, status } = await start(t, { outageGrace: '4s' })
    t.equal(await status(), 200)
    setWallClock(t, step)
    redis.pause()
    t.teardown(() => {
      redis.goOn()
    })
    await sleep(1_500)
    t.equal(await status(), 200, 'within the grace')
    await eventually(async () => (await status()) === 503, { what: 'it is over', timeoutMs: 6_000 })
    redis.goOn()
    await eventually(async () => (await status()) === 200, { what: 'it goes on', timeoutMs: 6_000 })
  })

  void t.test(
    `the clock is set ${direction} by an hour: the pause after a failed refresh stays what it is`,
    async (t) => {
      const { url, idp, browser } = await start(t)
      const refresh = async (): Promise<number> =>
        (await browser.post(`${url}/oauth2/session/refresh`, '', script)).status
      const asked = (): number => idp.requests.token
      idp.fail('token', { status: 503, headers: { 'retry-after': '3' } })
      const before = asked()
      await refresh()
      t.equal(asked(), before + 1)
      setWallClock(t, step)
      await refresh()
      t.equal(asked(), before + 1, 'not before the provider’s Retry-After')
      idp.fail('token', null)
      await sleep(3_100)
      t.equal(await refresh(), 200)
      t.equal(asked(), before + 2)
    },
  )

  void t.test(`the clock is set ${direction} by an hour: rate limits count as before`, async (t) => {
    const redis = await startRedis(t)
    for (const store of ['memory:', redis.url]) {
      const { url } = await startGateway(t, { config: { session: { store }, rateLimit: { login: '3/3s' } } })
      const login = async () => createBrowser().get(`${url}/oauth2/login`, { kind: 'none' })
      for (const request of [1, 2, 3]) t.not((await login()).status, 429, `${store} ${request}`)
      t.equal((await login()).status, 429)
      setWallClock(t, step)
      const over = await login()
      t.equal(over.status, 429)
      t.ok(Number(over.headers['retry-after']) <= 3, `Retry-After ${String(over.headers['retry-after'])}`)
      await sleep(3_100)
      t.not((await login()).status, 429)
    }
  })
}

void t.test('the clock is set back: a session in use stays in the store', async (t) => {
  const { redis, status, events } = await start(t, { idleTimeout: '4s' })
  t.equal(await status(), 200)
  setWallClock(t, -HOUR)
  for (let i = 0; i < 24; i += 1) {
    t.equal(await status(), 200, `${i}`)
    await sleep(500)
  }
  t.ok((await redis.keys()).some((key) => key.includes('session')))
  t.same(events('session_lost'), [])
})

void t.test('the clock is set back: no cooldown keeps the tokens from being renewed', async (t) => {
  const { url, idp, browser } = await start(t)
  const refresh = async (): Promise<Record<string, unknown>> =>
    (await browser.post(`${url}/oauth2/session/refresh`, '', script)).json()
  const grants = (): number => idp.grants['refresh_token'] ?? 0
  await refresh()
  await refresh()
  t.equal(grants(), 1, 'held back by the cooldown')
  setWallClock(t, -HOUR)
  t.match(await refresh(), { tokens: { refresh_cooldown: true } })
  t.equal(grants(), 2)
  setWallClock(t, -HOUR)
  t.equal((await browser.get(`${url}/api/orders`, script)).status, 200)
  await eventually(() => grants() === 3, { what: 'a token of the future is renewed on the side' })
})

void t.test('a clock that is set back and set right again makes no active session look idle', async (t) => {
  const { status } = await start(t, { idleTimeout: '10m' })
  setWallClock(t, -HOUR)
  t.equal(await status(), 200)
  setWallClock(t, HOUR)
  t.equal(await status(), 200)
})
