import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { cookieOf, startReplicas, statusAt } from '../../support/gateway-process.ts'
import { startLoad } from '../../support/load.ts'
import { probeRedis } from '../../../src/store/redis/probe.ts'
import { startSentinels } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

void t.test('a failover under load fails no request, and the new master keeps later writes', async (t) => {
  const { url, master, replica, sentinels } = await startSentinels(t)
  const { gateways, login } = await startReplicas(t, { store: url })
  const [a, b] = gateways
  const browsers = await Promise.all(['alice', 'bob', 'carol'].map(async (user) => login(user)))
  const [alice, bob] = browsers
  if (alice === undefined || bob === undefined) throw new Error('no user is logged in')
  const load = startLoad(browsers, gateways, 60)
  t.teardown(load.stop)
  await sleep(1_000)
  t.same(Object.keys(load.take()), ['200'])

  await master.kill()
  await eventually(async () => String(await replica.command('INFO', 'replication')).includes('role:master'), {
    what: 'the replica has taken over',
    timeoutMs: 20_000,
  })
  await eventually(
    async () =>
      (await Promise.all(gateways.map(async ({ admin }) => fetch(`${admin}/readyz`)))).every(
        ({ status }) => status === 200,
      ),
    { what: 'the gateways have reconnected to the new master', timeoutMs: 10_000 },
  )
  await sleep(500)
  t.same(Object.keys(load.take()), ['200'], 'during the failover, too')

  const cookie = cookieOf(bob, a)
  await load.stop()
  await bob.post(`${a.url}/oauth2/logout/local`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
  await eventually(async () => (await fetch(`${b.url}/api/echo`, { headers: { cookie } })).status === 401, {
    what: 'the other replica refuses the session',
    timeoutMs: 900,
  })
  const dave = await login('zoe')
  t.equal(await statusAt(dave, b), 200)
  t.equal((await replica.keys()).filter((key) => key.includes('session')).length, 3)

  await sentinels[0]?.kill()
  await master.start()
  await eventually(async () => String(await master.command('INFO', 'replication')).includes('role:slave'), {
    what: 'the old master follows the new one',
    timeoutMs: 60_000,
  })
  await sleep(1_000)
  t.equal(await statusAt(alice, a), 200)
  t.equal(await statusAt(alice, b), 200)

  // The other way round, while both are alive and the first sentinel is not.
  await eventually(async () => String(await sentinels[1]?.command('SENTINEL', 'FAILOVER', 'main')) === 'OK', {
    what: 'a replica is available for failover',
    timeoutMs: 20_000,
  })
  await eventually(async () => String(await master.command('INFO', 'replication')).includes('role:master'), {
    what: 'the first server is master again',
    timeoutMs: 20_000,
  })
  await eventually(
    async () => {
      const one = await login('alice')
      return (await statusAt(one, b)) === 200
    },
    { what: 'writes reach the first server', timeoutMs: 10_000 },
  )
  for (const gateway of gateways) {
    t.equal(gateway.events('session_lost').length, 0)
    t.notMatch(gateway.lines.join('\n'), /unhandled|internal_error/i)
    t.ok(
      gateway.lines.every((line) => line === '' || line.startsWith('{')),
      'every line is JSON',
    )
  }
  for (const gateway of gateways) t.equal((await gateway.stop()).status, 0)
})

void t.test('a master name that the sentinels do not know is reported', async (t) => {
  const { url, sentinels } = await startSentinels(t)
  const probe = async (name: string) =>
    probeRedis(
      { kind: 'redis-sentinel', urls: sentinels.map((one) => one.url), name },
      { caFile: null, certFile: null, keyFile: null, username: null, password: null },
    )
  t.match(await probe('main'), { server: /^Redis \d/, masters: 1 })
  await t.rejects(probe('other'), /knows no master of the name other/)
  const {
    gateways: [a],
  } = await startReplicas(t, { store: url.replace(/main$/, 'other'), withoutStore: true })
  await eventually(
    () => a.events('store_unavailable').some(({ cause }) => /knows no master of the name other/.test(String(cause))),
    { what: 'the error is logged' },
  )
  t.equal((await fetch(`${a.admin}/readyz`)).status, 503)
})
