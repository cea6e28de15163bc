import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { cookieOf, startReplicas } from '../support/gateway-process.ts'
import { startLoad } from '../support/load.ts'
import { startRedis } from '../support/redis.ts'
import { eventually } from '../support/eventually.ts'

const USERS = ['alice', 'bob', 'carol', 'zoe']

void t.test(
  'a logout that races a refresh on another replica always ends the session, with no other outcome',
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a, b],
      login,
      idp,
    } = await startReplicas(t, { store: redis.url, idp: { lifetimes: { accessToken: 2 } } })
    const ROUNDS = 4
    const EACH = 10
    const seen: Record<string, number> = {}
    for (let round = 0; round < ROUNDS; round += 1) {
      const browsers = await Promise.all(Array.from({ length: EACH }, async (_, i) => login(USERS[i % USERS.length])))
      const cookies = browsers.map((browser) => cookieOf(browser, a))
      const atB = async (cookie: string | undefined): Promise<number> =>
        (await fetch(`${b.url}/api/echo`, { headers: { cookie: cookie ?? '' } })).status
      for (const cookie of cookies) await atB(cookie)
      await sleep(2_100)
      await Promise.all(
        browsers.map(async (browser, i) => {
          const refreshing = atB(cookies[i])
          await sleep(30 * i)
          if (i === EACH - 1) await refreshing
          const left = await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
            kind: 'script',
            headers: { 'sec-fetch-site': 'same-origin' },
          })
          if (left.status !== 204) t.fail(`the logout ended with ${left.status}`)
          const status = await refreshing
          seen[status] = (seen[status] ?? 0) + 1
          await eventually(async () => (await atB(cookies[i])) === 401, { what: 'B refuses the session' })
        }),
      )
      t.same(
        (await redis.keys()).filter((key) => key.includes('session')),
        [],
        'no session has returned',
      )
    }
    t.comment(`${JSON.stringify(seen)}, ${String(idp.grants['refresh_token'])} grants`)
    t.ok(
      Object.keys(seen).every((status) => ['200', '401'].includes(status)),
      JSON.stringify(seen),
    )
    t.ok((seen['200'] ?? 0) > 0 && (seen['401'] ?? 0) > 0, 'each of them was first at times')
    await eventually(async () => (await redis.keys()).every((key) => !key.includes('lock')), {
      what: 'all locks are released',
    })
    await sleep(1_200)
    const ended = async (admin: string): Promise<string[]> =>
      (await (await fetch(`${admin}/metrics`)).text())
        .split('\n')
        .filter((line) => line.startsWith('gatehouse_sessions_ended_total{') && !line.endsWith(' 0'))
    t.same(
      await ended(a.admin),
      [`gatehouse_sessions_ended_total{reason="local_logout"} ${ROUNDS * EACH}`],
      'each is counted once, as what it was',
    )
    t.same(await ended(b.admin), [])
    t.same(b.events('session_lost'), [])
    t.notMatch([...a.lines, ...b.lines].join('\n'), /unhandled|internal_error/i)
  },
)

void t.test('flushing Redis under load makes every user log in again, and no request fails', async (t) => {
  const redis = await startRedis(t)
  const { gateways, login } = await startReplicas(t, { store: redis.url })
  const browsers = await Promise.all(USERS.map(async (user) => login(user)))
  const load = startLoad(browsers, gateways, 60)
  t.teardown(load.stop)
  await eventually(() => (load.take()['200'] ?? 0) > 0, { what: 'requests are served' })
  await redis.command('FLUSHALL')
  await redis.command('SCRIPT', 'FLUSH')
  const taken = new Set<string>()
  await eventually(
    async () => {
      await sleep(300)
      const counts = Object.keys(load.take())
      for (const status of counts) taken.add(status)
      return counts.join() === '401'
    },
    { what: 'all requests are refused' },
  )
  await load.stop()
  t.same([...taken].toSorted(), ['200', '401'])
  const [alice] = browsers
  t.equal((await alice?.login(`${gateways[0].url}/`, 'alice'))?.answer.status, 200)
})

void t.test('a process killed during its userinfo request has saved the new refresh token', async (t) => {
  const redis = await startRedis(t)
  const {
    gateways: [a, b],
    login,
    idp,
  } = await startReplicas(t, {
    store: redis.url,
    idp: { lifetimes: { accessToken: 2 } },
    provider: { userinfo: true, timeout: '4s' },
  })
  const browser = await login()
  const cookie = cookieOf(browser, a)
  await sleep(2_100)
  idp.fail('userinfo', { hang: true })
  const asked = idp.requests.userinfo
  const waiting = fetch(`${b.url}/api/echo`, { headers: { cookie } }).catch(() => null)
  await eventually(() => idp.requests.userinfo > asked, { what: 'userinfo is requested' })
  await sleep(500)
  await b.kill()
  await waiting
  idp.fail('userinfo', null)
  await eventually(async () => (await fetch(`${a.url}/api/echo`, { headers: { cookie } })).status === 200, {
    what: 'the other replica holds the lock',
    timeoutMs: 30_000,
  })
  t.equal(idp.refusedGrants['refresh_token'] ?? 0, 0)
  t.same(a.events('session_ended'), [])
})
