import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connectTo } from '../../../src/store/redis/connections.ts'
import { probeRedis } from '../../../src/store/redis/probe.ts'
import type { Browser } from '../../support/browser.ts'
import { cookieOf, startReplicas, statusAt, type Replicas } from '../../support/gateway-process.ts'
import { startLoad } from '../../support/load.ts'
import { startCluster, type Redis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

const sessionsAt = async (nodes: readonly Redis[]): Promise<number[]> =>
  Promise.all(nodes.map(async (node) => (await node.keys()).filter((key) => key.includes('session')).length))

/** Logs in until each master has a session at least. */
const logInEverywhere = async ({ login }: Replicas, masters: readonly Redis[]): Promise<Browser[]> => {
  const browsers: Browser[] = []
  while ((await sessionsAt(masters)).some((count) => count === 0)) {
    if (browsers.length > 40) throw new Error('one master gets no session')
    browsers.push(await login())
  }
  return browsers
}

const endsEverywhere = async (t: Test, { gateways: [a, b] }: Replicas, browsers: readonly Browser[]): Promise<void> => {
  for (const browser of browsers) t.equal(await statusAt(browser, b), 200)
  for (const browser of browsers) {
    const cookie = cookieOf(browser, a)
    await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
      kind: 'script',
      headers: { 'sec-fetch-site': 'same-origin' },
    })
    await t.resolves(
      eventually(async () => (await fetch(`${b.url}/api/echo`, { headers: { cookie } })).status === 401, {
        what: 'the other replica refuses the session',
        timeoutMs: 1_000,
      }),
    )
  }
}

void t.test(
  'sessions are spread over all masters, and all replicas are notified of changes on any master',
  async (t) => {
    const { url, masters } = await startCluster(t)
    const replicas = await startReplicas(t, { store: url, idp: { lifetimes: { accessToken: 2 } } })
    const [a, b] = replicas.gateways
    const browsers = await logInEverywhere(replicas, masters)
    const found = await (await fetch(`${b.admin}/sessions?sub=alice`)).text()
    t.equal(found.match(/"id"/g)?.length, browsers.length)
    await sleep(2_100)
    const before = replicas.idp.grants['refresh_token'] ?? 0
    const statuses = await Promise.all(
      browsers.flatMap((browser) => [a, b, a, b].map(async (gateway) => statusAt(browser, gateway))),
    )
    t.same([...new Set(statuses)], [200])
    t.equal((replicas.idp.grants['refresh_token'] ?? 0) - before, browsers.length, 'one grant for each session')
    await endsEverywhere(t, replicas, browsers)
    t.same(await sessionsAt(masters), [0, 0, 0])
    for (const node of masters) {
      for (const key of await node.keys()) t.ok(Number(await node.command('PTTL', key)) > 0, key)
    }

    // One master is away: its sessions live by the grace, the others as ever.
    const more = await logInEverywhere(replicas, masters)
    for (const browser of more) t.equal(await statusAt(browser, b), 200)
    const [first] = masters
    await first?.kill()
    const load = startLoad(more, replicas.gateways, 40)
    t.teardown(load.stop)
    await sleep(3_000)
    t.ok(
      Object.keys(load.take()).every((status) => ['200', '503 with Retry-After'].includes(status)),
      'tokens that expire can’t be renewed there',
    )
    await first?.start()
    await eventually(
      async () => {
        await sleep(300)
        return Object.keys(load.take()).join() === '200'
      },
      { what: 'all requests succeed again', timeoutMs: 15_000 },
    )
    await load.stop()
    for (const gateway of replicas.gateways) {
      t.notMatch(gateway.lines.join('\n'), /unhandled|internal_error/i)
      t.equal((await gateway.stop()).status, 0)
    }
  },
)

void t.test('a store closed while it connects leaves no connection open, and neither does a probe', async (t) => {
  const { masters } = await startCluster(t)
  const urls = masters.map(({ url }) => url)
  const noFiles = { caFile: null, certFile: null, keyFile: null, username: null, password: null }
  const connections = await connectTo({ kind: 'redis-cluster', urls }, noFiles)(() => {})
  // Each of these has to connect first, wherever its key lies.
  const commands = Array.from({ length: 20 }, async (_, i) => connections.command(`key ${i}`, ['EXISTS', `key ${i}`]))
  connections.close()
  await Promise.allSettled(commands)
  const probe = await probeRedis({ kind: 'redis-cluster', urls }, noFiles)
  t.match(probe, { server: /^Redis \d/, isOld: false, masters: 3, evictionPolicy: 'noeviction' })
  for (const node of masters) {
    await t.resolves(
      eventually(
        async () =>
          String(await node.command('CLIENT', 'LIST', 'TYPE', 'NORMAL'))
            .trim()
            .split('\n').length === 1,
        { what: 'only this test is connected', timeoutMs: 2_000 },
      ),
    )
  }
})

void t.test('a failover from a master to its replica fails no request', async (t) => {
  const { url, masters, replicas: followers } = await startCluster(t, { withReplicas: true })
  const replicas = await startReplicas(t, { store: url })
  const browsers = await logInEverywhere(replicas, masters)
  // What a replica has not read yet it could not know while the master is away.
  for (const browser of browsers)
    for (const gateway of replicas.gateways) t.equal(await statusAt(browser, gateway), 200)
  await sleep(500)
  const load = startLoad(browsers, replicas.gateways, 40)
  t.teardown(load.stop)
  await sleep(500)
  await masters[1]?.kill()
  await eventually(async () => String(await followers[1]?.command('ROLE')).startsWith('master'), {
    what: 'its replica has taken over',
    timeoutMs: 20_000,
  })
  await sleep(4_000)
  t.same(Object.keys(load.take()), ['200'])
  await load.stop()
  const nodes = [masters[0], followers[1], masters[2]].filter((node) => node !== undefined)
  const sessions = await sessionsAt(nodes)
  t.equal(
    sessions.reduce((sum, count) => sum + count, 0),
    browsers.length,
  )
  await endsEverywhere(t, replicas, browsers)
  t.same(await sessionsAt(nodes), [0, 0, 0])
})
