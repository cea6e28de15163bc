import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startReplicas, statusAt } from '../../support/gateway-process.ts'
import { startLoad } from '../../support/load.ts'
import { startRedis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

const onDisk = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '']

t.jobs = 2

void t.test(
  'an outage of Redis for ten seconds under 100 requests a second fails no request',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t, { args: onDisk })
    const { gateways, login } = await startReplicas(t, { store: redis.url })
    const browsers = await Promise.all(['alice', 'bob', 'carol', 'zoe'].map(async (user) => login(user)))
    const load = startLoad(browsers, gateways, 100)
    t.teardown(load.stop)
    await sleep(1_500)
    t.same(Object.keys(load.take()), ['200'])
    await redis.kill()
    await sleep(10_000)
    const away = load.take()
    t.same(Object.keys(away), ['200'])
    t.ok((away['200'] ?? 0) > 200, `${away['200']} answers while it was away`)
    for (const { admin } of gateways) {
      const ready = await fetch(`${admin}/readyz`)
      t.equal(ready.status, 503)
      t.match(await ready.json(), { ready: false, checks: { store: 'unavailable', provider: 'ok' } })
    }
    await redis.start()
    await sleep(2_500)
    t.same(Object.keys(load.take()), ['200'])
    await eventually(
      async () =>
        (await Promise.all(gateways.map(async ({ admin }) => fetch(`${admin}/readyz`)))).every(
          ({ status }) => status === 200,
        ),
      { what: 'the replicas are ready again' },
    )
    await load.stop()
    for (const gateway of gateways) {
      t.equal(gateway.events('session_ended').length + gateway.events('session_lost').length, 0)
      t.equal(gateway.events('store_connected').length, 2, 'the log says that it is back')
      t.ok(gateway.events('store_unavailable').length < 40, 'and does not say too often that it is away')
      t.notMatch(gateway.lines.join('\n'), /unhandled|UnhandledPromise|internal_error/i)
    }
  },
)

void t.test(
  'an outage longer than outageGrace gives 503, and then 200 without a new login',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t, { args: onDisk })
    const { gateways, login, idp } = await startReplicas(t, { store: redis.url, session: { outageGrace: '3s' } })
    const browsers = await Promise.all(['alice', 'bob'].map(async (user) => login(user)))
    const [alice] = browsers
    if (alice === undefined) throw new Error('no user is logged in')
    const load = startLoad(browsers, gateways, 40)
    t.teardown(load.stop)
    await sleep(1_000)
    t.same(Object.keys(load.take()), ['200'])
    await redis.kill()
    const killedAt = Date.now()
    await sleep(2_000)
    t.same(Object.keys(load.take()), ['200'], 'within the grace')
    await sleep(killedAt + 4_500 - Date.now())
    load.take()
    await sleep(1_500)
    t.same(Object.keys(load.take()), ['503 with Retry-After'])
    const page = await alice.get(`${gateways[0].url}/`)
    t.equal(page.status, 503)
    t.match(page.headers['content-type'], /^text\/html/)
    t.equal(page.headers['set-cookie'], undefined, 'the cookie stays')
    const logins = idp.requests.authorization
    await redis.start()
    load.take()
    const backAt = Date.now()
    await eventually(
      async () => {
        await sleep(300)
        return Object.keys(load.take()).join() === '200'
      },
      { what: 'requests succeed again' },
    )
    t.comment(`served again after ${Date.now() - backAt} ms`)
    await sleep(1_000)
    t.same(Object.keys(load.take()), ['200'])
    await load.stop()
    t.equal(idp.requests.authorization, logins)
  },
)

void t.test('a session that ends during an outage stays ended', { buffered: true }, async (t) => {
  const redis = await startRedis(t, { args: onDisk })
  const {
    gateways: [a, b],
    login,
    another,
  } = await startReplicas(t, { store: redis.url })
  const browser = await login()
  t.equal(await statusAt(browser, b), 200)
  const cookie = browser.cookies.header(new URL(a.url), { crossSite: false, topLevelGet: true })
  await redis.kill()
  const left = await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
  t.equal(left.status, 204)
  t.equal((await fetch(`${a.url}/api/echo`, { headers: { cookie } })).status, 401, 'this gateway refuses at once')
  t.equal(
    (await fetch(`${b.url}/api/echo`, { headers: { cookie } })).status,
    200,
    'the grace continues for other sessions',
  )
  await redis.start()
  await eventually(async () => (await redis.keys()).every((key) => !key.includes('session')), {
    what: 'the session is removed from Redis',
  })
  await sleep(1_000)
  t.equal((await fetch(`${b.url}/api/echo`, { headers: { cookie } })).status, 401)
  t.equal(
    (await fetch(`${(await another()).url}/api/echo`, { headers: { cookie } })).status,
    401,
    'a new replica does not know it, either',
  )
})

void t.test(
  'a session that ends during an outage stays ended, even at a replica that had not cached it',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t, { args: onDisk })
    const {
      gateways: [a, b],
      login,
    } = await startReplicas(t, { store: redis.url })
    const browser = await login()
    const cookie = browser.cookies.header(new URL(a.url), { crossSite: false, topLevelGet: true })
    await redis.kill()
    const left = await fetch(`${b.url}/oauth2/logout/local`, { method: 'POST', headers: { cookie } })
    t.equal(left.status, 204)
    t.match(left.headers.get('set-cookie'), /Max-Age=0/)
    await redis.start()
    await eventually(async () => (await redis.keys()).every((key) => !key.includes('session')), {
      what: 'the session is removed from Redis',
    })
    t.equal((await fetch(`${a.url}/api/echo`, { headers: { cookie } })).status, 401)
  },
)

void t.test('writes that a failover of Redis loses are repeated', { buffered: true }, async (t) => {
  const redis = await startRedis(t)
  const {
    gateways: [a, b],
    login,
    idp,
  } = await startReplicas(t, { store: redis.url, idp: { lifetimes: { accessToken: 4 } } })
  const [alice, bob] = [await login('alice'), await login('bob')]
  const recordKeys = (await redis.keys()).filter((key) => key.includes('session'))
  const dumps = await Promise.all(recordKeys.map(async (key) => dumpOf(redis, key)))
  // Now one of them is renewed and the other ends; then Redis comes back as it was before.
  await sleep(4_100)
  t.equal(await statusAt(alice, a), 200)
  const cookie = bob.cookies.header(new URL(a.url), { crossSite: false, topLevelGet: true })
  await bob.post(`${a.url}/oauth2/logout/local`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
  await redis.kill()
  await redis.start()
  for (const restore of dumps) await restore()
  await eventually(() => [a, b].every((gateway) => gateway.events('store_connected').length === 2), {
    what: 'both replicas have reconnected',
  })
  await eventually(async () => (await redis.keys()).filter((key) => key.includes('session')).length === 1, {
    what: 'the ended session is removed again',
  })
  t.equal((await fetch(`${b.url}/api/echo`, { headers: { cookie } })).status, 401)
  await sleep(4_000)
  t.equal(await statusAt(alice, a), 200)
  t.equal(await statusAt(alice, b), 200)
  t.equal(
    idp.refusedGrants['refresh_token'] ?? 0,
    0,
    'the refresh token that Redis had come back with was not used again',
  )
})

const dumpOf = async (redis: Awaited<ReturnType<typeof startRedis>>, key: string): Promise<() => Promise<unknown>> => {
  const fields = await redis.command('HGETALL', key)
  if (!Array.isArray(fields)) throw new Error(`${key} is no hash`)
  return async () => {
    await redis.command('HSET', key, ...fields.map(String))
    return redis.command('PEXPIRE', key, '600000')
  }
}
