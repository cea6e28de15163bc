import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createBrowser } from '../../support/browser.ts'
import { cookieOf, startReplicas, statusAt } from '../../support/gateway-process.ts'
import { startRedis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

t.jobs = 2

void t.test(
  'a Redis that is full lets nobody in, keeps those who are there, and lets them go',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a, b],
      login,
    } = await startReplicas(t, { store: redis.url, session: { idleTimeout: '2s' } })
    const browser = await login()
    t.equal(await statusAt(browser, a), 200)
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')

    const visitor = createBrowser()
    const { answer } = await visitor.login(`${b.url}/`, 'bob')
    t.equal(answer.status, 503)
    t.match(answer.headers['content-type'], /^text\/html/)
    t.equal(answer.headers['retry-after'], '5')
    t.notOk(cookieOf(visitor, b).includes('gatehouse='), 'nobody is half logged in')

    const before = await redis.calls()
    const statuses = new Set<number>()
    let requests = 0
    for (const end = Date.now() + 6_000; Date.now() < end; requests += 1) {
      statuses.add(await statusAt(browser, a))
      await sleep(50)
    }
    t.same([...statuses], [200], 'for longer than its record would have lived without use')
    const touches = ((await redis.calls())['evalsha'] ?? 0) - (before['evalsha'] ?? 0)
    t.ok(touches < requests / 3, `${touches} notes of activity in ${requests} requests`)

    const cookie = cookieOf(browser, a)
    const left = await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
      kind: 'script',
      headers: { 'sec-fetch-site': 'same-origin' },
    })
    t.equal(left.status, 204)
    await eventually(async () => (await fetch(`${b.url}/api/echo`, { headers: { cookie } })).status === 401, {
      what: 'the other one refuses',
    })
    t.same(
      (await redis.keys()).filter((key) => key.includes('session')),
      [],
    )

    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    t.equal((await visitor.login(`${b.url}/`, 'bob')).answer.status, 200, 'there is room again')
    for (const gateway of [a, b]) t.notMatch(gateway.lines.join('\n'), /unhandled|internal_error/i)
  },
)

void t.test(
  'tokens that a full Redis does not let renew are used while they are valid, then 503, and the session stays',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a],
      login,
      idp,
    } = await startReplicas(t, { store: redis.url, idp: { lifetimes: { accessToken: 4 } } })
    const browser = await login()
    await redis.command('CONFIG', 'SET', 'maxmemory', '1')
    await sleep(2_200)
    t.equal(await statusAt(browser, a), 200, 'due, but valid')
    await sleep(2_000)
    const answer = await browser.get(`${a.url}/api/echo`, { kind: 'script' })
    t.equal(answer.status, 503)
    t.match(answer.json(), { code: 'token_unavailable' })
    t.equal(idp.grants['refresh_token'] ?? 0, 0, 'without the lock nobody asks the provider')
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    await eventually(async () => (await statusAt(browser, a)) === 200, { what: 'it is renewed' })
    t.equal(idp.grants['refresh_token'], 1)
  },
)

void t.test(
  'whoever an evicting Redis has no room for logs in again, and nobody meets an error',
  { buffered: true },
  async (t) => {
    const redis = await startRedis(t)
    const {
      gateways: [a, b],
      login,
    } = await startReplicas(t, { store: redis.url })
    const users = ['alice', 'bob', 'carol', 'zoe']
    const browsers = [await login()]
    const used = Number(/^used_memory:(\d+)/m.exec(String(await redis.command('INFO', 'memory')))?.[1])
    await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    await redis.command('CONFIG', 'SET', 'maxmemory', String(used + 60_000))
    const sessions = async (): Promise<number> => (await redis.keys()).filter((key) => key.includes('session')).length
    await eventually(
      async () => {
        browsers.push(await login(users[browsers.length % users.length]))
        return (await sessions()) < browsers.length - 2
      },
      { what: 'sessions are evicted', timeoutMs: 60_000 },
    )
    const cookies = browsers.map((browser) => cookieOf(browser, a))
    const ask = async (): Promise<Response[]> =>
      Promise.all(
        [a, b].flatMap(({ url }) => cookies.map(async (cookie) => fetch(`${url}/api/echo`, { headers: { cookie } }))),
      )
    await eventually(
      async () => (await ask()).filter(({ status }) => status === 200).length === 2 * (await sessions()),
      { what: 'all that is gone is noticed' },
    )
    for (const answer of await ask()) {
      t.ok([200, 401].includes(answer.status), String(answer.status))
      if (answer.status !== 200) t.match(answer.headers.get('set-cookie'), /Max-Age=0/)
    }
    await redis.command('CONFIG', 'SET', 'maxmemory', '0')
    for (const browser of browsers.slice(0, 5)) {
      const { answer } = await browser.login(`${a.url}/`, 'alice')
      t.equal(answer.status, 200)
      t.equal(await statusAt(browser, b), 200)
    }
    for (const gateway of [a, b]) t.notMatch(gateway.lines.join('\n'), /unhandled|internal_error/i)
  },
)
