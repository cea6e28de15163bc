import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startReplicas, statusAt } from '../support/gateway-process.ts'
import { startRedis } from '../support/redis.ts'
import { callbackFor } from '../support/sign-in.ts'
import { eventually } from '../support/eventually.ts'

const redis = await startRedis(t)
const { gateways, idp, upstream, login } = await startReplicas(t, {
  store: redis.url,
  count: 3,
  idp: { lifetimes: { accessToken: 2 } },
})
const [a, b, c = b] = gateways
const together = (count: number) => gateways.flatMap((gateway) => Array.from({ length: count }, () => gateway))

const countOf = (statuses: number[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

void t.test(
  '200 requests at each of three replicas meet an expired token: one grant, and all are answered',
  async (t) => {
    const browser = await login()
    const before = idp.grants['refresh_token'] ?? 0
    await sleep(2_100)
    const statuses = await Promise.all(together(200).map(async (gateway) => statusAt(browser, gateway)))
    t.same(countOf(statuses), { 200: 600 })
    t.equal((idp.grants['refresh_token'] ?? 0) - before, 1)
    t.equal(idp.refusedGrants['refresh_token'] ?? 0, 0, 'no refresh token was used twice')
    await sleep(2_100)
    t.same(
      countOf(await Promise.all(together(1).map(async (gateway) => statusAt(browser, gateway)))),
      { 200: 3 },
      'and the next time again',
    )
    t.equal((idp.grants['refresh_token'] ?? 0) - before, 2)
  },
)

void t.test('the same while the token endpoint takes six seconds and whoever came first has gone', async (t) => {
  const browser = await login()
  const before = idp.grants['refresh_token'] ?? 0
  await sleep(2_100)
  idp.fail('token', { delay: 6_000, times: 1 })
  await t.rejects(browser.get(`${a.url}/api/echo`, { kind: 'script', timeout: 150 }), 'the first client does not wait')
  const begun = Date.now()
  const statuses = await Promise.all(together(200).map(async (gateway) => statusAt(browser, gateway)))
  t.ok(Date.now() - begun > 5_000, 'they have waited for that one grant')
  t.same(countOf(statuses), { 200: 600 })
  t.equal((idp.grants['refresh_token'] ?? 0) - before, 1)
  t.equal(idp.refusedGrants['refresh_token'] ?? 0, 0)
})

void t.test('a token that is due is renewed once, in the background', async (t) => {
  const lifetime = idp.settings.lifetimes.accessToken
  idp.settings.lifetimes.accessToken = 6
  t.teardown(() => {
    idp.settings.lifetimes.accessToken = lifetime
  })
  const browser = await login()
  const before = idp.grants['refresh_token'] ?? 0
  for (const gateway of gateways) t.equal(await statusAt(browser, gateway), 200)
  await sleep(3_100)
  idp.fail('token', { delay: 2_500, times: 1 })
  const begun = Date.now()
  t.same(countOf(await Promise.all(together(20).map(async (gateway) => statusAt(browser, gateway)))), { 200: 60 })
  t.ok(Date.now() - begun < 2_400, 'nobody has waited')
  await eventually(() => (idp.grants['refresh_token'] ?? 0) > before, { what: 'the grant' })
  await sleep(300)
  t.equal((idp.grants['refresh_token'] ?? 0) - before, 1)
  const tokens = await Promise.all(
    gateways.map(async (gateway) => {
      await statusAt(browser, gateway)
      return upstream.requests.at(-1)?.headers.authorization
    }),
  )
  t.equal(new Set(tokens).size, 1, 'all replicas use the new one')
})

void t.test(
  'POST session/refresh at every replica at once makes one grant, and the cooldown holds for all',
  async (t) => {
    const browser = await login()
    const before = idp.grants['refresh_token'] ?? 0
    const answers = await Promise.all(
      together(5).map(async ({ url }) =>
        browser.post(`${url}/oauth2/session/refresh`, undefined, {
          kind: 'script',
          headers: { 'sec-fetch-site': 'same-origin', 'origin': a.url, 'referer': `${a.url}/` },
        }),
      ),
    )
    t.same(countOf(answers.map(({ status }) => status)), { 200: 15 })
    t.equal((idp.grants['refresh_token'] ?? 0) - before, 1)
    t.match(answers[0]?.json(), { tokens: { refresh_cooldown: true, refreshable: true, last_refresh_error: null } })
  },
)

void t.test('logout wins over a refresh that is under way elsewhere', async (t) => {
  const browser = await login('bob')
  const keysBefore = (await redis.keys()).filter((key) => key.includes('session'))
  for (const gateway of gateways) t.equal(await statusAt(browser, gateway), 200)
  await sleep(2_100)
  const before = idp.grants['refresh_token'] ?? 0
  idp.fail('token', { delay: 1_500, times: 1 })
  // Else the provider would refuse what it is about to grant.
  idp.fail('revocation', { status: 503, times: 1 })
  const revocations = idp.revocations
  const waiting = statusAt(browser, b)
  await eventually(async () => (await redis.keys()).some((key) => key.includes('lock')), {
    what: 'the refresh is under way',
  })
  const cookie = browser.cookies.header(new URL(a.url), { crossSite: false, topLevelGet: true })
  const left = await browser.post(`${a.url}/oauth2/logout`, undefined, {
    kind: 'script',
    headers: { 'sec-fetch-site': 'same-origin' },
  })
  t.equal(left.status, 200)
  await sleep(1_000)
  for (const gateway of [b, c]) {
    const answer = await fetch(`${gateway.url}/api/echo`, { headers: { cookie } })
    t.equal(answer.status, 401)
    t.match(await answer.json(), { code: 'session_expired' })
  }
  t.equal(await waiting, 401, 'who waited for the refresh is refused, too')
  t.equal((idp.grants['refresh_token'] ?? 0) - before, 1, 'the provider did grant it')
  await eventually(() => idp.revocations === revocations + 2, { what: 'what was granted too late is given back' })
  await eventually(async () => (await redis.keys()).every((key) => !key.includes('lock')), { what: 'nothing is left' })
  await sleep(500)
  const keysAfter = (await redis.keys()).filter((key) => key.includes('session'))
  t.equal(keysAfter.length, keysBefore.length - 1, 'nothing has come back')
})

void t.test('a login that ends at one replica while another refreshes leaves the user’s grant alone', async (t) => {
  const browser = await login('carol')
  for (const gateway of gateways) t.equal(await statusAt(browser, gateway), 200)
  await sleep(2_100)
  const { revocations } = idp
  const grants = idp.grants['refresh_token'] ?? 0
  const callback = await callbackFor(browser, a.url, { user: 'carol', prompt: 'login' })
  let goOn = (): void => {}
  idp.fail('token', {
    times: 1,
    until: new Promise<void>((resolve) => {
      goOn = resolve
    }),
  })
  const asked = idp.tokenRequests
  const waiting = statusAt(browser, b)
  await eventually(() => idp.tokenRequests > asked, { what: 'the refresh is under way' })
  t.equal((await browser.get(callback.href)).status, 302)
  goOn()
  t.equal(await waiting, 401, 'what waited belongs to the session of before')
  t.equal((idp.grants['refresh_token'] ?? 0) - grants, 1, 'the provider did grant it')
  await sleep(300)
  t.equal(idp.revocations, revocations)
  await sleep(2_100)
  for (const gateway of gateways) t.equal(await statusAt(browser, gateway), 200, 'the new session goes on')
})

void t.test('a record with words where Redis should have numbers is no session, and no error', async (t) => {
  for (const field of ['v', 'c', 'e', 's']) {
    for (const value of ['soon', '-1', 'nan', '1e300', '']) {
      const before = await redis.keys()
      const browser = await login('zoe')
      const [key = ''] = (await redis.keys()).filter((one) => one.includes('session') && !before.includes(one))
      await redis.command('HSET', key, field, value)
      for (const method of ['GET', 'POST']) {
        // At replica c nobody has seen the session yet.
        const { status } = await browser.request(
          method,
          `${c.url}/oauth2/session${method === 'POST' ? '/refresh' : ''}`,
          {
            kind: 'script',
            headers: { origin: a.url },
          },
        )
        t.equal(status, 401, `${field} ${value}`)
      }
      await redis.command('DEL', key)
    }
  }
})
