import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startReplicas, statusAt, type Replicas } from '../support/gateway-process.ts'
import { startRedis, type Redis } from '../support/redis.ts'
import { eventually } from '../support/eventually.ts'

/** The lock outlives a call to the provider by five seconds. */
const LOCK_LIFE = 6_000

// Both wait for a lock to run out: at the same time.
t.jobs = 2

const setUp = async (t: Test, rotateRefreshTokens: boolean, count = 2): Promise<Replicas & { redis: Redis }> => {
  const redis = await startRedis(t)
  const replicas = await startReplicas(t, {
    store: redis.url,
    count,
    idp: { rotateRefreshTokens, lifetimes: { accessToken: 2 } },
    provider: { timeout: '1s' },
  })
  return { ...replicas, redis }
}

const isLocked = async (redis: Redis): Promise<boolean> => (await redis.keys()).some((key) => key.includes('lock'))

void t.test(
  'a holder that stalls past the lock’s expiry does no harm if refresh tokens are reusable',
  { buffered: true },
  async (t) => {
    const {
      gateways: [a, b],
      idp,
      upstream,
      login,
      redis,
    } = await setUp(t, false)
    const browser = await login()
    t.equal(await statusAt(browser, b), 200)
    await sleep(2_100)
    idp.fail('token', { delay: 400, times: 1 })
    const stalled = statusAt(browser, a)
    await eventually(async () => isLocked(redis), { what: 'the lock is taken' })
    await sleep(150)
    a.pause()
    const begun = Date.now()
    t.equal(await statusAt(browser, b), 200)
    t.ok(Date.now() - begun > LOCK_LIFE / 2, 'the other replica waited for the lock to run out')
    const newer = upstream.requests.at(-1)?.headers.authorization
    const grants = idp.grants['refresh_token']
    a.goOn()
    t.equal(await stalled, 200, 'the request at the stalled replica is served')
    t.equal(await statusAt(browser, a), 200)
    t.equal(upstream.requests.at(-1)?.headers.authorization, newer, 'the newer token stays')
    t.equal(await statusAt(browser, b), 200)
    t.equal(upstream.requests.at(-1)?.headers.authorization, newer)
    t.equal(idp.grants['refresh_token'], grants)
    t.equal([...a.events('session_ended'), ...b.events('session_ended')].length, 0, 'no user was logged out')
  },
)

void t.test(
  'with one-time refresh tokens a stalled holder costs one login, and is logged as the cause',
  { buffered: true },
  async (t) => {
    const {
      gateways: [a, b, c = b],
      idp,
      login,
      redis,
    } = await setUp(t, true, 3)
    const [alice, bob] = [await login('alice'), await login('bob')]
    for (const browser of [alice, bob]) t.equal(await statusAt(browser, b), 200)
    await sleep(2_100)
    const before = idp.grants['refresh_token'] ?? 0
    // The provider does its work and keeps quiet: the grants have happened, their responses do not arrive.
    idp.fail('token', { processed: true, hang: true, times: 2 })
    const stalled = statusAt(alice, a)
    const crashed = statusAt(bob, c).catch(() => 'cut off')
    await eventually(() => (idp.grants['refresh_token'] ?? 0) === before + 2, { what: 'both grants are made' })
    a.pause()
    await c.kill()
    t.equal(await crashed, 'cut off')
    const begun = Date.now()
    const answers = await Promise.all(
      [alice, bob].map(async (browser) => browser.get(`${b.url}/api/echo`, { kind: 'script', timeout: 20_000 })),
    )
    t.ok(Date.now() - begun < LOCK_LIFE + 4_000, 'they wait no longer than for the lock')
    for (const answer of answers) {
      t.equal(answer.status, 401, 'the refresh token was used, and the new one is lost')
      t.match(answer.json(), { code: 'session_expired' })
      t.match(String(answer.headers['set-cookie']), /Max-Age=0/)
    }
    await eventually(() => b.events('session_ended').length === 2, { what: 'both ended sessions are logged' })
    t.match(
      b.events('refresh_failed'),
      [1, 2].map(() => ({ ended: true, abandoned: true, msg: /stopped before it could save the new one/ })),
    )
    t.match(b.events('session_ended'), [{ reason: 'refused' }, { reason: 'refused' }])
    t.same(
      (await redis.keys()).filter((key) => key.includes('session')),
      [],
    )
    a.goOn()
    t.equal(await stalled, 401)
    const journey = await alice.login(`${a.url}/`, 'alice')
    t.equal(journey.answer.status, 200)
    for (const gateway of [a, b, a, b]) t.equal(await statusAt(alice, gateway), 200, 'one login was enough')
  },
)
