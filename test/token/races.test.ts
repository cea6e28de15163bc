import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { bearerClaims } from '../support/jwt.ts'
import { loggedIn, type LoggedIn } from '../support/logged-in.ts'
import { openWebSocket } from '../support/websocket.ts'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

const script = { kind: 'script' } as const

const routes = [
  { path: '/**' },
  { path: '/api/echo/exchanged', token: { grant: 'token-exchange', audience: 'api://orders' } },
  { path: '/api/echo/robot', token: { grant: 'client-credentials', resource: 'api://orders' } },
  { path: '/api/echo/redeemed', token: { resource: 'api://orders' } },
  { path: '/api/echo/admin', require: { claims: { groups: ['admin'] } } },
]

/**
 * A gateway with alice logged in; the provider takes nothing back, so that only the gateway itself can hold it back.
 */
const start = async (t: Test): Promise<LoggedIn> => {
  const running = await loggedIn(t, {
    idp: { lifetimes: { accessToken: 100 }, resources: ['api://orders'] },
    config: { routes },
  })
  running.idp.fail('revocation', { status: 503 })
  return running
}

/** The same browser in another tab: one cookie jar, requests that do not wait for each other. */
const sent = ({ upstream }: LoggedIn, path: string): unknown[] => upstream.requests.filter(({ url }) => url === path)

/** Requests a path, and runs an action before the provider answers. */
const meanwhile = async (running: LoggedIn, path: string, act: () => Promise<unknown>): ReturnType<Browser['get']> => {
  const before = running.idp.tokenRequests
  let goOn = (): void => {}
  running.idp.fail('token', {
    times: 1,
    until: new Promise<void>((resolve) => {
      goOn = resolve
    }),
  })
  const asked = running.browser.get(running.url + path, script)
  await eventually(() => running.idp.tokenRequests > before)
  await act()
  goOn()
  return asked
}

const logOut = async ({ browser, url }: LoggedIn) => browser.post(`${url}/oauth2/logout/local`, undefined, script)

void t.test('a token granted after a logout is not used', async (t) => {
  for (const path of ['/api/echo/exchanged', '/api/echo/redeemed', '/api/echo/robot']) {
    const running = await start(t)
    const answer = await meanwhile(running, path, async () => logOut(running))
    t.match(answer.json(), { status: 401, code: 'session_expired' }, path)
    t.same(sent(running, path), [], 'the application was not asked')
  }
})

void t.test('another user’s login while a token is requested mixes up no tokens', async (t) => {
  for (const path of ['/api/echo/exchanged', '/api/echo/redeemed', '/api/orders']) {
    const running = await start(t)
    if (path === '/api/orders') moveClock(t, 101_000)
    const answer = await meanwhile(running, path, async () =>
      running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'bob'),
    )
    t.match(answer.json(), { status: 401, code: 'session_expired' }, path)
    t.same(sent(running, path), [], 'alice’s request returned nothing')
    t.notOk(answer.headers['set-cookie'], 'bob’s cookie is left alone')
    t.equal((await running.browser.get(running.url + path, script)).status, 200)
    const [request, ...more] = running.upstream.requests.filter(({ url }) => url === path)
    t.same(more, [])
    if (request !== undefined && path !== '/api/orders')
      t.match(bearerClaims(request), { sub: 'bob', aud: 'api://orders' })
  }
})

void t.test('the same user’s next login during a refresh keeps its cookie', async (t) => {
  const running = await start(t)
  moveClock(t, 101_000)
  const answer = await meanwhile(running, '/api/orders', async () =>
    running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'alice'),
  )
  t.notOk(answer.headers['set-cookie'])
  t.equal((await running.call()).status, 200)
})

for (const path of ['/api/orders', '/api/echo/redeemed']) {
  void t.test(`a login of the same user while the refresh token is in use (${path}) keeps the grant`, async (t) => {
    const running = await start(t)
    running.idp.fail('revocation', null)
    moveClock(t, 101_000)
    await meanwhile(running, path, async () =>
      running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'alice'),
    )
    t.match(running.events('session_ended'), [{ reason: 'renewed' }])
    t.equal(running.idp.revocations, 0, 'a revocation can take the whole grant along')
    moveClock(t, 101_000)
    t.equal((await running.call()).status, 200, 'the new session’s refresh token is good')
  })
}

void t.test('tokens refreshed for a session that another user’s login replaced are revoked', async (t) => {
  const running = await start(t)
  running.idp.fail('revocation', { status: 503, times: 1 })
  moveClock(t, 101_000)
  await meanwhile(running, '/api/orders', async () =>
    running.browser.login(`${running.url}/oauth2/login?prompt=login`, 'bob'),
  )
  await eventually(() => running.idp.revocations === 2)
})

void t.test('permissions lost with refreshed tokens apply to the request that waited for them', async (t) => {
  const running = await start(t)
  const path = '/api/echo/admin'
  t.equal((await running.browser.get(running.url + path, script)).status, 200)
  const alice = running.idp.users.get('alice')
  if (alice !== undefined) running.idp.users.set('alice', { ...alice, groups: ['staff'] })
  moveClock(t, 101_000)
  t.match((await running.browser.get(running.url + path, script)).json(), { status: 403, code: 'forbidden' })
  t.equal(sent(running, path).length, 1)
})

void t.test('a redemption for another resource does not satisfy the refresh that waits for it', async (t) => {
  const running = await start(t)
  await running.call()
  const old = running.upstream.requests.at(-1)?.headers.authorization
  moveClock(t, 101_000)
  let own: Promise<unknown> = Promise.resolve()
  const redeemed = await meanwhile(running, '/api/echo/redeemed', async () => {
    own = running.call()
    // The time until it waits for the lock, which cannot be observed.
    await sleep(200)
  })
  await own
  t.equal(redeemed.status, 200)
  t.not(
    running.upstream.requests.find(({ url, headers }) => url === '/api/orders' && headers.authorization !== old),
    undefined,
    'the session’s own token was renewed, too',
  )
  t.equal(running.idp.grants['refresh_token'], 2)
  t.equal(running.idp.refusedGrants['refresh_token'], 0)
})

void t.test(
  'concurrent requests of many sessions on many routes each carry their own user’s token for their audience',
  async (t) => {
    const running = await start(t)
    const users = ['alice', 'bob', 'carol', 'zoe']
    const browsers = await Promise.all(
      users.map(async (user) => {
        const browser = createBrowser()
        await browser.login(`${running.url}/`, user)
        return browser
      }),
    )
    running.upstream.requests.length = 0
    const paths = ['/api/echo/exchanged', '/api/echo/redeemed']
    await Promise.all(
      Array.from({ length: 48 }, async (_, i) =>
        browsers[i % 4]?.get(`${running.url}${paths[i % 8 < 4 ? 0 : 1] ?? ''}?who=${users[i % 4] ?? ''}`, script),
      ),
    )
    t.equal(running.upstream.requests.length, 48)
    for (const request of running.upstream.requests) {
      t.match(bearerClaims(request), {
        sub: new URL(request.url, running.url).searchParams.get('who'),
        aud: 'api://orders',
      })
    }
    t.equal(running.idp.grants[TOKEN_EXCHANGE], 4, 'one exchange a user')
    t.equal(running.idp.grants['refresh_token'], 4, 'one redemption a user')
    t.equal(running.idp.refusedGrants['refresh_token'], 0)
  },
)

void t.test('a WebSocket stays open during a step-up, and new ones carry the new login’s token', async (t) => {
  const running = await start(t)
  const open = async () =>
    openWebSocket(`${running.url}/ws`, {
      headers: [`Cookie: ${running.browser.cookies.header(new URL(running.url))}`, `Origin: ${running.url}`],
    })
  const before = await open()
  await running.browser.login(`${running.url}/oauth2/login?acr_values=urn:demo:mfa`, 'alice')
  before.send('still here')
  t.match(await before.next(), { payload: Buffer.from('still here') })
  const after = await open()
  t.equal(after.status, 101)
  const tokens = running.upstream.requests
    .filter(({ url }) => url === '/ws')
    .map(({ headers }) => headers.authorization)
  t.equal(new Set(tokens).size, 2)
  await logOut(running)
  t.same(await Promise.all([before.closed, after.closed]), [4401, 4401], 'both belong to the session that ends')
})

void t.test('an ID token from an exchange is not sent to an application', async (t) => {
  const running = await start(t)
  running.idp.settings.reshapeTokenResponse = (body) =>
    'issued_token_type' in body
      ? { ...body, issued_token_type: 'urn:ietf:params:oauth:token-type:id_token', token_type: 'N_A' }
      : body
  t.match((await running.browser.get(`${running.url}/api/echo/exchanged`, script)).json(), {
    status: 502,
    code: 'token_unavailable',
  })
  t.same(sent(running, '/api/echo/exchanged'), [])
})
