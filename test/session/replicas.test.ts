import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { cookieOf, startReplicas, statusAt } from '../support/gateway-process.ts'
import { callbackFor } from '../support/sign-in.ts'
import { startRedis, type Redis } from '../support/redis.ts'
import { eventually } from '../support/eventually.ts'

const redis = await startRedis(t)
const [oldKey, newKey] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]
const {
  gateways: [a, b],
  idp,
  login,
  another,
} = await startReplicas(t, {
  store: redis.url,
  session: { keys: [oldKey, newKey] },
  idp: { lifetimes: { accessToken: 2 } },
})

/** Everything that Redis holds, as bytes: its own dump, without compression, and each value as it is given out. */
const everythingIn = async (server: Redis): Promise<string> => {
  await server.command('CONFIG', 'SET', 'rdbcompression', 'no')
  await server.command('SAVE')
  const dir = await server.command('CONFIG', 'GET', 'dir')
  const dump = readFileSync(join(Array.isArray(dir) ? String(dir[1]) : '', 'dump.rdb')).toString('latin1')
  const values = await Promise.all(
    (await server.keys()).map(async (key) => {
      const type = await server.command('TYPE', key)
      const words =
        type === 'hash' ? ['HGETALL', key] : type === 'zset' ? ['ZRANGE', key, '0', '-1', 'WITHSCORES'] : ['GET', key]
      const value = JSON.stringify(await server.command(...words))
      const decoded = [...value.matchAll(/"([\w+/=-]{20,})"/g)].map(([, text = '']) =>
        Buffer.from(text, 'base64').toString('latin1'),
      )
      return [key, value, ...decoded].join('\n')
    }),
  )
  return [dump, ...values].join('\n')
}

const claimsOf = (jwt: string): Record<string, unknown> => {
  const claims: unknown = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString())
  return typeof claims === 'object' && claims !== null ? { ...claims } : {}
}

// The steps of a rotation, each while it is rolled out: some replicas have the list before it, others the one after it.
const steps = [
  { what: 'the new key comes', lists: [[oldKey], [oldKey, newKey]] },
  {
    what: 'the new key seals',
    lists: [
      [oldKey, newKey],
      [newKey, oldKey],
    ],
  },
  { what: 'the old key goes', lists: [[newKey, oldKey], [newKey]] },
]
for (const { what, lists } of steps) {
  for (const order of ['the first replica is behind', 'the first replica is ahead']) {
    void t.test(`while ${what} (${order}) no user is logged out`, async (t) => {
      const [mine, theirs] = order.endsWith('behind') ? lists : lists.toReversed()
      const here = await another({ session: { keys: mine } })
      const there = await another({ session: { keys: theirs } })
      const both = [here, there]
      for (const [begins, ends] of [
        [here, there],
        [there, here],
      ] as const) {
        const browser = createBrowser()
        // Which replica the provider sends the browser back to is chance.
        const { pathname, search } = await callbackFor(browser, begins.url)
        t.equal((await browser.get(`${ends.url}${pathname}${search}`)).status, 302)
        for (const gateway of both) t.equal(await statusAt(browser, gateway), 200)
        await sleep(2_100)
        for (const gateway of both) t.equal(await statusAt(browser, gateway), 200, 'after a refresh, too')
        for (const { admin } of both)
          t.match(await (await fetch(`${admin}/sessions?sub=alice`)).json(), { sessions: [{ sub: 'alice' }] })
        await fetch(`${begins.admin}/sessions?sub=alice`, { method: 'DELETE' })
        for (const gateway of both)
          await t.resolves(
            eventually(async () => (await statusAt(browser, gateway)) === 401, {
              what: 'the other replica refuses the session',
              timeoutMs: 1_000,
            }),
          )
      }
    })
  }
}

void t.test('a user whose cookie was sealed with a removed key has to log in', async (t) => {
  const onlyOld = await another({ session: { keys: [oldKey] } })
  const onlyNew = await another({ session: { keys: [newKey] } })
  const browser = await login()
  t.equal(await statusAt(browser, onlyOld), 200)
  t.equal(await statusAt(browser, onlyNew), 401)
})

void t.test('a dump of Redis reveals nothing about users and tokens', async (t) => {
  await login('alice')
  const browser = await login('bob')
  await sleep(2_100)
  t.equal(await statusAt(browser, b), 200)
  const everything = await everythingIn(redis)
  t.ok(everything.length > 1_000)
  const jwts = idp.secretsIssued.filter((secret) => secret.split('.').length === 3)
  const sids = jwts.map((jwt) => claimsOf(jwt)['sid']).filter((sid) => typeof sid === 'string')
  t.ok(sids.length > 0 && idp.secretsIssued.length > 5)
  const cookie = /gatehouse=([^;]+)/.exec(cookieOf(browser, a))?.[1] ?? ''
  t.ok(cookie.length > 50)
  for (const secret of [
    ...idp.secretsIssued,
    ...sids,
    cookie,
    'alice',
    '"bob"',
    'Archer',
    'example.com',
    'staff',
    'access',
    'refresh',
    idp.issuer,
  ]) {
    t.notOk(everything.includes(secret), `${secret.slice(0, 12)} is not to be found`)
  }
})

void t.test('the usual request does not ask Redis', async (t) => {
  const browser = await login('carol')
  idp.settings.lifetimes.accessToken = 300
  t.teardown(() => {
    idp.settings.lifetimes.accessToken = 2
  })
  await browser.post(`${a.url}/oauth2/session/refresh`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
  for (const gateway of [a, b]) t.equal(await statusAt(browser, gateway), 200)
  const before = await redis.calls()
  const begun = Date.now()
  const headers = { cookie: cookieOf(browser, a) }
  for (let i = 0; i < 300; i += 1) {
    const answer = await fetch(`${(i % 2 === 0 ? a : b).url}/api/orders`, { headers })
    await answer.arrayBuffer()
    if (answer.status !== 200) t.fail(`request ${i}: ${answer.status}`)
  }
  const seconds = (Date.now() - begun) / 1000
  const after = await redis.calls()
  const made = Object.entries(after)
    .map(([name, count]) => [name, count - (before[name] ?? 0)] as const)
    .filter(([, count]) => count > 0)
  t.same(
    made.map(([name]) => name).filter((name) => !['publish', 'hmget', 'info'].includes(name)),
    [],
    'heartbeats, and a look now and then',
  )
  const looks = made.find(([name]) => name === 'hmget')?.[1] ?? 0
  t.ok(looks <= Math.ceil(seconds / 2 + 1) * 2, `${looks} looks in ${seconds} s`)
})

void t.test('the metrics show what operators need, and no ids', async (t) => {
  const browser = await login('alice')
  await sleep(2_100)
  t.equal(await statusAt(browser, a), 200)
  await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
  const metrics = await (await fetch(`${a.admin}/metrics`)).text()
  for (const line of [
    /^gatehouse_refreshes_total\{outcome="refreshed",cause="expired"\} [1-9]/m,
    /^gatehouse_refresh_lock_wait_seconds_count [1-9]/m,
    /^gatehouse_store_seconds_count\{operation="read",outcome="ok"\} [1-9]/m,
    /^gatehouse_store_seconds_count\{operation="lock",outcome="ok"\} [1-9]/m,
    /^gatehouse_sessions_begun_total [1-9]/m,
    /^gatehouse_sessions_ended_total\{reason="local_logout"\} [1-9]/m,
    /^gatehouse_session_cache_total\{result="hit"\} [1-9]/m,
  ])
    t.ok(line.test(metrics), String(line))
  t.ok(
    /^gatehouse_session_cache_total\{result="miss"\} [1-9]/m.test(await (await fetch(`${b.admin}/metrics`)).text()),
    'a session that another replica created',
  )
  t.notOk(/alice|"[\w-]{22}"/.test(metrics))
})

void t.test('every key in Redis has a time to live, and a logout leaves no session behind', async (t) => {
  const before = await redis.keys()
  for (const key of before) t.ok(Number(await redis.command('PTTL', key)) > 0, key)
  const browser = await login('zoe')
  for (const gateway of [a, b]) await statusAt(browser, gateway)
  await sleep(2_100)
  await statusAt(browser, b)
  await browser.post(`${b.url}/oauth2/logout/local`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
  await eventually(
    async () => {
      const left = (await redis.keys()).filter((key) => !before.includes(key))
      // A short note says why the session ended, for a refresh that another replica began.
      return left.every((key) => /^gatehouse:(?:once|mark):/.test(key))
    },
    { what: 'Redis holds no session any more' },
  )
  t.notOk((await redis.keys()).some((key) => key.includes('lock')))
})
