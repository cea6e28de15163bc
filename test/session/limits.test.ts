import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { cookieOf, startReplicas } from '../support/gateway-process.ts'
import { startRedis } from '../support/redis.ts'

const redis = await startRedis(t)

/** The lines of the metrics that have a word in them. */
const linesOf = async (admin: string, word: string): Promise<string> =>
  (await (await fetch(`${admin}/metrics`)).text())
    .split('\n')
    .filter((line) => line.includes(word))
    .join('\n')

void t.test('use of one replica keeps a session alive on the others', async (t) => {
  const {
    gateways: [c, d],
    login,
  } = await startReplicas(t, { store: redis.url, session: { idleTimeout: '4s' } })
  const cookie = cookieOf(await login('zoe'), c)
  const statusOf = async (url: string): Promise<number> =>
    (await fetch(`${url}/api/orders`, { headers: { cookie } })).status
  t.equal(await statusOf(c.url), 200)
  for (let i = 0; i < 12; i += 1) {
    t.equal(await statusOf(d.url), 200)
    await sleep(500)
  }
  t.equal(await statusOf(c.url), 200, 'which it has not seen for six seconds')
  await sleep(4_500)
  t.same([await statusOf(c.url), await statusOf(d.url)], [401, 401], 'nobody has used it for four')
})

void t.test('one user has so many sessions at most, and the oldest goes', async (t) => {
  const limited = await startReplicas(t, { store: redis.url, session: { maxPerUser: 2 } })
  const [c, d] = limited.gateways
  const sessionsOf = async (sub: string): Promise<number> =>
    (await (await fetch(`${c.admin}/sessions?sub=${sub}`)).text()).match(/"id"/g)?.length ?? 0
  const [first, second, third] = [await limited.login(), await limited.login(), await limited.login()]
  t.equal(await sessionsOf('alice'), 2)
  for (const gateway of [c, d]) {
    t.same(
      await Promise.all(
        [first, second, third].map(
          async (browser) =>
            (await fetch(`${gateway.url}/api/orders`, { headers: { cookie: cookieOf(browser, c) } })).status,
        ),
      ),
      [401, 200, 200],
    )
  }
  await Promise.all(Array.from({ length: 6 }, async () => limited.login('bob')))
  t.equal(await sessionsOf('bob'), 2, 'logins at the same moment count, too')
  t.equal(await sessionsOf('alice'), 2)
  const [, ended] = /\{reason="max_per_user"\} (\d+)/.exec(await linesOf(c.admin, 'max_per_user')) ?? []
  t.ok(Number(ended) >= 5, `${ended} were ended: whoever was on the way in has logged in again`)
})
