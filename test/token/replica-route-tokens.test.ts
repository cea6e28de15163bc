import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { bearerClaims } from '../support/jwt.ts'
import { startReplicas, statusAt } from '../support/gateway-process.ts'
import { startRedis } from '../support/redis.ts'
import { eventually } from '../support/eventually.ts'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

const routes = [
  { path: '/**' },
  { path: '/api/echo/orders', token: { resource: 'api://orders' } },
  { path: '/api/echo/stock', token: { resource: 'api://stock' } },
  { path: '/api/echo/exchanged', token: { grant: 'token-exchange', audience: 'api://orders' } },
]
const paths = ['/api/echo/orders', '/api/echo/stock', '/api/echo/exchanged', '/api/echo']

void t.test(
  'two gateways on one Redis have a token per route and use no refresh token twice, also across restarts',
  async (t) => {
    const redis = await startRedis(t)
    const { gateways, idp, upstream, login, another } = await startReplicas(t, {
      store: redis.url,
      routes,
      idp: { lifetimes: { accessToken: 3 }, resources: ['api://orders', 'api://stock'] },
    })
    const browser = await login()
    const everywhere = async (): Promise<number[]> =>
      Promise.all(
        Array.from({ length: 24 }, async (_, i) =>
          statusAt(browser, gateways[i % 2] ?? gateways[0], paths[(i >> 1) % 4]),
        ),
      )
    const check = (): void => {
      for (const request of upstream.requests.filter(({ url }) => url.startsWith('/api/echo/'))) {
        t.match(
          bearerClaims(request),
          { sub: 'alice', aud: request.url === '/api/echo/stock' ? 'api://stock' : 'api://orders' },
          request.url,
        )
      }
      t.equal(idp.refusedGrants['refresh_token'], 0, 'none was used twice')
      upstream.requests.length = 0
    }
    t.same([...new Set(await everywhere())], [200])
    t.equal(idp.grants['refresh_token'], 4, 'two resources at two gateways: each redeems in its turn')
    t.equal(idp.grants[TOKEN_EXCHANGE], 2)
    check()

    // All of them have expired: the session's own and the routes', at both gateways at once.
    await sleep(3_200)
    t.same(
      [...new Set(await everywhere())],
      [200],
      gateways
        .flatMap((gateway) => gateway.events('exchange_failed'))
        .map((one) => JSON.stringify(one))
        .join(),
    )
    check()

    const third = await another()
    await gateways[1].kill()
    t.equal(await statusAt(browser, third, '/api/echo/stock'), 200, 'a new gateway requests its own token')
    t.equal(await statusAt(browser, gateways[0], '/api/echo/orders'), 200)
    check()

    await browser.post(`${third.url}/oauth2/logout/local`, undefined, { kind: 'script' })
    const cookieGone = await login('bob')
    t.equal(await statusAt(cookieGone, gateways[0], '/api/echo/orders'), 200)
    t.match(bearerClaims(upstream.requests.at(-1) ?? { headers: {} }), { sub: 'bob' })
  },
)

void t.test('a session that ends at one gateway also loses its routes’ tokens at the other', async (t) => {
  const redis = await startRedis(t)
  const {
    gateways: [a, b],
    login,
    upstream,
  } = await startReplicas(t, { store: redis.url, routes })
  const browser = await login()
  t.equal(await statusAt(browser, a, '/api/echo/exchanged'), 200)
  t.equal(await statusAt(browser, b, '/api/echo/exchanged'), 200)
  const before = browser.cookies.all()
  await browser.post(`${a.url}/oauth2/logout/local`, undefined, { kind: 'script' })
  // As a client that has kept the cookie.
  for (const { name, value } of before) browser.cookies.store(new URL(b.url), [`${name}=${value}; Path=/`])
  upstream.requests.length = 0
  await eventually(async () => (await statusAt(browser, b, '/api/echo/exchanged')) === 401, {
    what: 'the other gateway refuses the session',
    timeoutMs: 1_500,
  })
  t.same(upstream.requests.filter(({ url }) => url === '/api/echo/exchanged').length <= 1, true)
})
