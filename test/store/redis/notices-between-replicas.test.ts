import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Browser } from '../../support/browser.ts'
import { cookieOf, startReplicas, statusAt } from '../../support/gateway-process.ts'
import { startRedis } from '../../support/redis.ts'
import { startTcpProxy } from '../../support/tcp-proxy.ts'
import { eventually } from '../../support/eventually.ts'

// A is connected directly, B through a proxy that fails in all the ways of networks.
const redis = await startRedis(t)
const proxy = await startTcpProxy(t, redis.port)
const {
  gateways: [a],
  login,
  another,
} = await startReplicas(t, { store: redis.url })
const b = await another({ session: { store: `redis://127.0.0.1:${proxy.port}` } })

/** A user who is in use at both, and whose cookie stays what it is whatever the gateway says. */
const known = async (t: Test): Promise<{ browser: Browser; atB: () => Promise<Response> }> => {
  const browser = await login()
  const cookie = cookieOf(browser, a)
  const atB = async (): Promise<Response> => fetch(`${b.url}/api/echo`, { headers: { cookie }, redirect: 'manual' })
  t.equal((await atB()).status, 200)
  return { browser, atB }
}

const logOutAtA = async (browser: Browser): Promise<void> => {
  await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
}

/** How long B still lets the session in under steady use, ms. */
const timeUntilRefused = async (atB: () => Promise<Response>): Promise<number> => {
  const begun = Date.now()
  await eventually(async () => (await atB()).status === 401, { what: 'B refuses', timeoutMs: 5_000 })
  return Date.now() - begun
}

void t.test('a session that ends on one replica is refused by the others at once', async (t) => {
  const { browser, atB } = await known(t)
  await logOutAtA(browser)
  t.ok((await timeUntilRefused(atB)) < 500)
  const refused = await atB()
  t.match(await refused.json(), { code: 'session_expired' })
  t.match(refused.headers.get('set-cookie'), /Max-Age=0/)
})

void t.test('administration on one replica ends it everywhere, and tells only of what it is asked for', async (t) => {
  const { atB } = await known(t)
  const other = await login('bob')
  const listed = await (await fetch(`${a.admin}/sessions?sub=alice`)).text()
  t.match(JSON.parse(listed), {
    sessions: [{ id: /^[\w-]{22}$/, sub: 'alice', created_at: /Z$/, last_seen_at: /Z$/, ends_at: /Z$/ }],
  })
  const [, id = ''] = /"id":"([\w-]+)"/.exec(listed) ?? []
  t.equal(
    (await fetch(`${b.url}/api/echo`, { headers: { cookie: `gatehouse=${id}` } })).status,
    401,
    'an id opens nothing',
  )
  t.equal((await fetch(`${a.admin}/sessions/${id}`, { method: 'DELETE' })).status, 204)
  t.ok((await timeUntilRefused(atB)) < 900)
  t.equal((await fetch(`${a.admin}/sessions/${id}`, { method: 'DELETE' })).status, 204, 'a second time does no harm')
  t.match(await (await fetch(`${a.admin}/sessions?sub=alice`)).json(), { sessions: [] })
  t.equal(await statusAt(other, b), 200)
  t.equal((await fetch(`${b.admin}/sessions?sub=bob`, { method: 'DELETE' })).status, 204)
  await eventually(async () => (await statusAt(other, a)) === 401, { what: 'A refuses', timeoutMs: 900 })
  t.equal((await fetch(`${a.admin}/sessions`)).status, 400)
})

void t.test(
  'the subscription is killed again and again: a session that ends meanwhile is refused within a second',
  async (t) => {
    const { browser, atB } = await known(t)
    const killing = (async () => {
      for (let i = 0; i < 8; i += 1) {
        await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
        await sleep(100)
      }
    })()
    await sleep(250)
    await logOutAtA(browser)
    t.ok((await timeUntilRefused(atB)) < 1_000)
    await killing
    await eventually(
      async () => String(await redis.command('PUBSUB', 'NUMSUB', 'gatehouse:notices')) === 'gatehouse:notices,3',
      { what: 'the notices come in again' },
    )
  },
)

void t.test(
  'the subscription is swallowed without a word: refused within a second, and new connections are made',
  async (t) => {
    const { browser, atB } = await known(t)
    const second = await known(t)
    proxy.swallow('subscribers')
    t.teardown(() => {
      proxy.swallow(null)
    })
    await logOutAtA(browser)
    t.ok((await timeUntilRefused(atB)) < 1_000)
    t.equal((await second.atB()).status, 200, 'others are not disturbed')
    await eventually(() => b.events('store_unavailable').some(({ cause }) => String(cause).includes('heartbeats')), {
      what: 'the log says what is wrong',
    })
    t.equal((await second.atB()).status, 200)
    await sleep(500)
    proxy.swallow(null)
    await eventually(
      async () => {
        const third = await known(t)
        await logOutAtA(third.browser)
        return (await timeUntilRefused(third.atB)) < 400
      },
      { what: 'B has a subscription that works', timeoutMs: 15_000 },
    )
  },
)

void t.test(
  'everything is swallowed without a word: sessions go on, and B is back as soon as the network is',
  async (t) => {
    const { atB } = await known(t)
    proxy.swallow('all')
    t.teardown(() => {
      proxy.swallow(null)
    })
    const statuses = new Set<number>()
    const end = Date.now() + 3_000
    let slowest = 0
    while (Date.now() < end) {
      const begun = Date.now()
      statuses.add((await atB()).status)
      slowest = Math.max(slowest, Date.now() - begun)
      await sleep(20)
    }
    t.same([...statuses], [200])
    t.ok(slowest < 1_500, `the slowest answer took ${slowest} ms`)
    proxy.swallow(null)
    await eventually(async () => (await fetch(`${b.admin}/readyz`)).status === 200, {
      what: 'B is ready again',
      timeoutMs: 15_000,
    })
    t.equal((await atB()).status, 200)
  },
)

void t.test(
  'Redis answers after two seconds: who is known is served, who is not waits, and nobody is sent away',
  async (t) => {
    const { atB } = await known(t)
    const fresh = await login('carol')
    proxy.delay(2_000)
    t.teardown(() => {
      proxy.delay(0)
    })
    const statuses: number[] = []
    const end = Date.now() + 4_000
    while (Date.now() < end) {
      statuses.push((await atB()).status)
      await sleep(50)
    }
    t.same([...new Set(statuses)], [200])
    t.ok(statuses.length > 10)
    t.equal(await statusAt(fresh, b), 200)
    proxy.delay(0)
    await eventually(
      async () => {
        const begun = Date.now()
        return (await atB()).status === 200 && Date.now() - begun < 100
      },
      { what: 'it is quick again' },
    )
    t.same(
      b.lines.filter((line) => /internal_error|unhandled/i.test(line)),
      [],
    )
  },
)

void t.test('connections that are cut while requests are answered disturb nobody', async (t) => {
  const { atB } = await known(t)
  const statuses = new Set<number>()
  const end = Date.now() + 2_000
  while (Date.now() < end) {
    proxy.cut()
    statuses.add((await atB()).status)
    await sleep(30)
  }
  t.same([...statuses], [200])
})
