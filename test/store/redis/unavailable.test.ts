import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createBrowser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { cookieOf, startReplicas, statusAt } from '../../support/gateway-process.ts'
import { startRedis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

t.jobs = 2

void t.test(
  'with Redis unreachable at the start, anonymous requests are served, and the gateway recovers without a restart',
  { buffered: true },
  async (t) => {
    const port = await freePort()
    const {
      gateways: [a, b],
      login,
    } = await startReplicas(t, {
      store: `redis://127.0.0.1:${port}`,
      withoutStore: true,
      routes: [{ path: '/assets/**', access: 'public' }, { path: '/**' }],
    })
    const visitor = createBrowser()
    t.equal(
      (await visitor.get(`${a.url}/assets/style.css`, { kind: 'script' })).status,
      404,
      'public routes go to the application',
    )
    t.equal(
      (await visitor.get(`${a.url}/api/echo`, { kind: 'script' })).status,
      401,
      'a request without a session needs no store',
    )
    const ready = await fetch(`${a.admin}/readyz`)
    t.equal(ready.status, 503)
    t.match(await ready.json(), { ready: false, checks: { store: 'unavailable' } })
    t.equal((await fetch(`${a.admin}/livez`)).status, 200)
    t.equal((await fetch(`${a.admin}/sessions?sub=alice`)).status, 503)

    const { answer, hops } = await visitor.login(`${a.url}/`, 'alice')
    t.equal(answer.status, 503, 'a login ends with a page')
    t.match(answer.headers['content-type'], /^text\/html/)
    t.equal(answer.headers['retry-after'], '5')
    t.ok(hops.length < 12, 'there is no loop')
    t.notOk(cookieOf(visitor, a).includes('gatehouse='), 'there is no incomplete session')

    const redis = await startRedis(t, { port })
    await eventually(
      async () =>
        (await Promise.all([a, b].map(async ({ admin }) => fetch(`${admin}/readyz`)))).every(
          ({ status }) => status === 200,
        ),
      { what: 'both replicas are ready', timeoutMs: 5_000 },
    )
    const browser = await login()
    t.equal(await statusAt(browser, b), 200)
    t.equal((await redis.keys()).filter((key) => key.includes('session')).length, 1)
    t.notMatch([...a.lines, ...b.lines].join('\n'), /unhandled|internal_error/i)
    t.match(a.events('store_unavailable')[0], { level: 'error', cause: /ECONNREFUSED/ })
  },
)

void t.test(
  'a gateway that never reached Redis stops at once, and so does one that lost it',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a],
      login,
      another,
    } = await startReplicas(t, { store: redis.url })
    const never = await another({ session: { store: `redis://127.0.0.1:${await freePort()}` }, withoutStore: true })
    const ended = await never.stop()
    t.equal(ended.status, 0)
    t.ok(ended.after < 2_500, `it took ${ended.after} ms`)
    await login()
    await redis.kill()
    await sleep(500)
    const stopped = await a.stop()
    t.equal(stopped.status, 0)
    t.ok(stopped.after < 2_500, `it took ${stopped.after} ms`)
  },
)

void t.test(
  'a stopping gateway waits for Redis to take pending writes, and logs those that remain',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a],
      login,
    } = await startReplicas(t, { store: redis.url })
    const browser = await login()
    await redis.kill()
    await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
      kind: 'script',
      headers: { 'sec-fetch-site': 'same-origin' },
    })
    const { status, after } = await a.stop()
    t.equal(status, 0)
    t.ok(after > 4_000 && after < 9_000, `it took ${after} ms`)
    t.match(a.events('not_saved'), [{ left: 1 }])
  },
)

void t.test(
  'an outage of Redis during a login gives a 503 page, and the next attempt succeeds',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a],
      idp,
    } = await startReplicas(t, { store: redis.url })
    const browser = createBrowser()
    idp.fail('token', { delay: 1_000, times: 1 })
    const journey = browser.login(`${a.url}/`, 'alice')
    await eventually(() => idp.requests.token === 1, { what: 'the code is redeemed' })
    await redis.kill()
    const { answer } = await journey
    t.equal(answer.status, 503)
    t.match(answer.headers['content-type'], /^text\/html/)
    t.match(answer.body, /Sessions unavailable/)
    t.notOk(cookieOf(browser, a).includes('gatehouse='))
    await redis.start()
    await eventually(async () => (await fetch(`${a.admin}/readyz`)).status === 200, { what: 'the gateway is ready' })
    t.equal((await browser.login(`${a.url}/`, 'alice')).answer.status, 200)
    t.match(await (await fetch(`${a.admin}/sessions?sub=alice`)).json(), { sessions: [{ sub: 'alice' }] })
    t.equal((await redis.keys()).filter((key) => key.includes('session')).length, 1)
  },
)

void t.test(
  'sessions that Redis lost are noticed within five seconds: the cookie is cleared, and one login follows',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a, b],
      login,
    } = await startReplicas(t, { store: redis.url })
    const [busy, quiet] = [await login('alice'), await login('bob')]
    for (const gateway of [a, b]) {
      t.equal(await statusAt(busy, gateway), 200)
      t.equal(await statusAt(quiet, gateway), 200)
    }
    await redis.command('FLUSHALL')
    const begun = Date.now()
    const cookie = cookieOf(busy, a)
    await eventually(async () => (await fetch(`${a.url}/api/echo`, { headers: { cookie } })).status === 401, {
      what: 'the loss of the active session is noticed',
    })
    t.ok(Date.now() - begun < 5_000)
    await sleep(Math.max(0, begun + 5_000 - Date.now()))
    for (const gateway of [a, b]) {
      const answer = await fetch(`${gateway.url}/api/echo`, { headers: { cookie: cookieOf(quiet, a) } })
      t.equal(answer.status, 401, 'the quiet one with its first request')
      t.match(await answer.json(), { code: 'session_expired' })
      t.match(answer.headers.get('set-cookie'), /Max-Age=0/)
    }
    const { answer, hops } = await busy.login(`${a.url}/`, 'alice')
    t.equal(answer.status, 200)
    t.ok(hops.length < 12)
    t.equal(await statusAt(busy, b), 200)
    await eventually(() => a.events('session_lost').length === 2, { what: 'both losses are logged' })
    t.ok((await (await fetch(`${a.admin}/metrics`)).text()).includes('gatehouse_sessions_ended_total{reason="lost"} 2'))
  },
)
