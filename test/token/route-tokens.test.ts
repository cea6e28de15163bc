import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { loggedIn, type LoggedIn } from '../support/logged-in.ts'
import { bearerClaims } from '../support/jwt.ts'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ON_BEHALF_OF = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

const script = { kind: 'script' } as const

/** A gateway with alice logged in, whose routes are the paths of `/api/` with these tokens. */
const withTokens = async (
  t: Test,
  tokens: Record<string, object>,
  more: Parameters<typeof loggedIn>[1] = {},
): Promise<LoggedIn> =>
  loggedIn(t, {
    idp: { lifetimes: { accessToken: 100 }, resources: ['api://orders', 'api://stock'] },
    ...more,
    config: {
      provider: { scopes: ['openid', 'profile', 'offline_access', 'orders.read', 'orders.write'] },
      routes: [
        { path: '/**' },
        ...Object.entries(tokens).map(([name, token]) => ({ path: `/api/echo/${name}`, token })),
      ],
      ...more.config,
    },
  })

/** What the token endpoint answers for a route's token. */
const tokenFor = async (running: LoggedIn, name: string): Promise<{ access_token: string }> => {
  let accessToken = ''
  running.idp.settings.reshapeTokenResponse = (body) => {
    accessToken = String(body['access_token'])
    return body
  }
  await running.browser.get(`${running.url}/api/echo/${name}`, script)
  return { access_token: accessToken }
}

/** The status of a script's request to a route, and the token that it brought to the application. */
const ask = async ({ browser, url, upstream }: LoggedIn, name: string) => {
  upstream.requests.length = 0
  const answer = await browser.get(`${url}/api/echo/${name}`, script)
  const [sent] = upstream.requests
  return { answer, status: answer.status, claims: sent === undefined ? null : bearerClaims(sent) }
}

void t.test('token exchange returns a token with the audience and scopes of the route', async (t) => {
  const running = await withTokens(t, {
    orders: { grant: 'token-exchange', audience: 'api://orders', scopes: ['orders.read'] },
  })
  t.match(await ask(running, 'orders'), {
    status: 200,
    claims: { aud: 'api://orders', sub: 'alice', scope: 'orders.read' },
  })
  t.match(running.idp.grants, { [TOKEN_EXCHANGE]: 1 })
})

void t.test('on-behalf-of uses Entra’s parameters', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'on-behalf-of', scopes: ['api://orders/.default'] } })
  t.match(await ask(running, 'orders'), {
    status: 200,
    claims: { aud: 'api://orders', sub: 'alice', scope: 'orders.read orders.write' },
  })
  t.match(running.idp.grants, { [ON_BEHALF_OF]: 1 })
})

void t.test('a client credentials token is requested once and shared by all users', async (t) => {
  const running = await withTokens(t, {
    orders: { grant: 'client-credentials', resource: 'api://orders', scopes: ['orders.write'] },
  })
  const first = await ask(running, 'orders')
  t.match(first, { status: 200, claims: { aud: 'api://orders', scope: 'orders.write' } })
  t.notMatch(first, { claims: { sub: 'alice' } })
  const other = createBrowser()
  await other.login(`${running.url}/`, 'bob')
  t.equal((await other.get(`${running.url}/api/echo/orders`, script)).status, 200)
  t.match(running.idp.grants, { client_credentials: 1 })
})

void t.test('client credentials need no access token of the user', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'client-credentials', resource: 'api://orders' } })
  running.idp.fail('token', { status: 503, times: 1 })
  moveClock(t, 101_000)
  t.equal((await running.browser.get(`${running.url}/api/orders`, script)).status, 503, 'the user’s own has expired')
  t.equal((await ask(running, 'orders')).status, 200)
})

void t.test(
  'the session’s refresh token is redeemed for another resource, and the session continues with the rotated one',
  async (t) => {
    const running = await withTokens(t, { stock: { resource: 'api://stock', scopes: ['orders.read'] } })
    t.match(await ask(running, 'stock'), {
      status: 200,
      claims: { aud: 'api://stock', sub: 'alice', scope: 'orders.read' },
    })
    t.equal(running.idp.grants['refresh_token'], 1)
    moveClock(t, 101_000)
    t.equal((await running.call()).status, 200)
    t.equal((await ask(running, 'stock')).status, 200)
    t.equal((await running.status()).session['active'], true)
    t.equal(running.idp.refusedGrants['refresh_token'], 0, 'no refresh token was used twice')
  },
)

void t.test('concurrent requests with all kinds of refresh use no refresh token twice', async (t) => {
  const running = await withTokens(t, { stock: { resource: 'api://stock' }, orders: { resource: 'api://orders' } })
  moveClock(t, 101_000)
  const paths = ['/api/orders', '/api/echo/stock', '/api/echo/orders']
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) => running.browser.get(running.url + paths[i % 3], script)),
  )
  t.same([...new Set(answers.map(({ status }) => status))], [200])
  t.equal(running.idp.grants['refresh_token'], 3, 'one for each token')
  t.equal(running.idp.refusedGrants['refresh_token'], 0)
})

void t.test('two routes with two audiences at the same moment each request their own token once', async (t) => {
  const running = await withTokens(t, {
    orders: { grant: 'token-exchange', audience: 'api://orders' },
    stock: { grant: 'token-exchange', audience: 'api://stock' },
  })
  const names = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 'orders' : 'stock'))
  await Promise.all(names.map((name) => running.browser.get(`${running.url}/api/echo/${name}`, script)))
  const sent = running.upstream.requests.filter(({ url }) => url.startsWith('/api/echo/'))
  t.equal(sent.length, 20)
  for (const request of sent) t.equal(bearerClaims(request).aud, `api://${request.url.slice('/api/echo/'.length)}`)
  t.match(running.idp.grants, { [TOKEN_EXCHANGE]: 2 })
})

void t.test('two users on one route each get their own token', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'token-exchange', audience: 'api://orders' } })
  const other = createBrowser()
  await other.login(`${running.url}/`, 'bob')
  t.match(await ask(running, 'orders'), { claims: { sub: 'alice' } })
  t.match(await ask({ ...running, browser: other }, 'orders'), { claims: { sub: 'bob' } })
})

void t.test('a route without a token sends none, not even the client’s', async (t) => {
  const { browser, url, upstream } = await withTokens(t, { none: { grant: 'none' } })
  t.equal(
    (await browser.get(`${url}/api/echo/none`, { ...script, headers: { authorization: 'Bearer mine' } })).status,
    200,
  )
  t.notOk(upstream.requests.at(-1)?.headers.authorization)
})

void t.test('a token goes into the header that the route names', async (t) => {
  const { browser, url, upstream } = await withTokens(t, {
    orders: { grant: 'token-exchange', audience: 'api://orders', header: 'X-Access-Token' },
  })
  await browser.get(`${url}/api/echo/orders`, script)
  const { headers = {} } = upstream.requests.at(-1) ?? {}
  t.notOk(headers.authorization)
  t.match(bearerClaims({ headers: { authorization: `Bearer ${String(headers['x-access-token'])}` } }), {
    aud: 'api://orders',
  })
})

void t.test(
  'a route’s token is cached, refreshed in the background before its expiry, and at once after its expiry',
  async (t) => {
    const running = await withTokens(t, { orders: { grant: 'client-credentials', resource: 'api://orders' } })
    const first = await ask(running, 'orders')
    t.same((await ask(running, 'orders')).claims, first.claims, 'kept')
    moveClock(t, 85_000)
    t.same((await ask(running, 'orders')).claims, first.claims, 'the old token, without waiting')
    await eventually(() => running.idp.grants['client_credentials'] === 2)
    await eventually(async () => (await ask(running, 'orders')).claims?.jti !== first.claims?.jti)
    moveClock(t, 110_000)
    t.equal((await ask(running, 'orders')).status, 200)
    t.equal(running.idp.grants['client_credentials'], 3, 'expired: asked for before the request went on')
  },
)

void t.test('a route’s token ends with its session', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'token-exchange', audience: 'api://orders' } })
  const first = await ask(running, 'orders')
  await running.browser.post(`${running.url}/oauth2/logout/local`, undefined, script)
  t.match((await ask(running, 'orders')).answer, { status: 401 })
  await running.browser.login(`${running.url}/`, 'alice')
  t.not((await ask(running, 'orders')).claims?.jti, first.claims?.jti)
})

void t.test('a provider that refuses the exchange is a 502, never another token', async (t) => {
  const running = await withTokens(t, {
    orders: { grant: 'token-exchange', audience: 'api://orders' },
    stock: { grant: 'on-behalf-of', scopes: ['api://stock/.default'] },
    closed: { resource: 'api://closed' },
  })
  running.idp.settings.refuseExchange = () => ({ error: 'invalid_target' })
  for (const name of ['orders', 'stock', 'closed']) {
    const { answer, claims } = await ask(running, name)
    t.match(answer.json(), { status: 502, code: 'token_unavailable' }, name)
    t.equal(claims, null, `${name}: the application was not asked`)
  }
  t.equal((await running.call()).status, 200, 'other routes go on')
  t.equal(running.events('exchange_failed').length, 3)
})

void t.test('a refused exchange is not repeated with every request', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'token-exchange', audience: 'api://orders' } })
  running.idp.settings.refuseExchange = () => ({ error: 'invalid_target' })
  const before = running.idp.tokenRequests
  await Promise.all(Array.from({ length: 20 }, () => running.browser.get(`${running.url}/api/echo/orders`, script)))
  t.equal(running.idp.tokenRequests - before, 1)
})

void t.test('an unreachable provider yields a 503 with Retry-After', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'token-exchange', audience: 'api://orders' } })
  running.idp.fail('token', { status: 503, times: 1 })
  const { answer } = await ask(running, 'orders')
  t.equal(answer.status, 503)
  t.match(answer.headers['retry-after'], /^\d+$/)
  t.equal(answer.json()['code'], 'token_unavailable')
  await eventually(async () => (await ask(running, 'orders')).status === 200)
})

const policy = '{"id_token":{"acrs":{"essential":true,"value":"c1"}}}'

void t.test('an exchange that needs the user becomes a login with the provider’s claims', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'on-behalf-of', scopes: ['api://orders/.default'] } })
  moveClock(t, 61_000)
  running.idp.settings.refuseExchange = () => ({ error: 'interaction_required', claims: policy })
  const { answer } = await ask(running, 'orders')
  t.equal(answer.status, 401)
  t.equal(answer.json()['code'], 'step_up_required')
  const login = new URL(String(answer.json()['login_url']))
  t.equal(login.searchParams.get('claims'), policy)

  running.idp.settings.refuseExchange = null
  await running.browser.login(login.href, 'alice')
  t.match(running.idp.lastAuthorizationRequest, { claims: policy })
  t.equal((await ask(running, 'orders')).status, 200)
})

void t.test('invalid_grant with claims, as Entra sends it, is a step-up', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'on-behalf-of', scopes: ['api://orders/.default'] } })
  running.idp.settings.refuseExchange = () => ({ error: 'invalid_grant', suberror: 'basic_action', claims: policy })
  t.match((await ask(running, 'orders')).answer.json(), { code: 'step_up_required' })
  t.equal((await running.call()).status, 200, 'and does not end the session')
})

void t.test('a provider that repeats its request for a login ends in a page instead of a loop', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'on-behalf-of', scopes: ['api://orders/.default'] } })
  running.idp.settings.refuseExchange = () => ({ error: 'interaction_required', claims: policy })
  const { answer, hops } = await running.browser.login(`${running.url}/api/echo/orders`, 'alice')
  t.equal(answer.status, 502)
  t.match(answer.headers['content-type'], /^text\/html/)
  t.equal(hops.filter(({ url }) => url.includes('/oauth2/callback')).length, 1, 'one login')
})

void t.test('a revoked refresh token ends the session, even when it is used for another resource', async (t) => {
  const running = await withTokens(t, { stock: { resource: 'api://stock' } })
  running.idp.revokeGrantsOf('alice')
  const { answer } = await ask(running, 'stock')
  t.match(answer.json(), { status: 401, code: 'session_expired' })
  t.match(running.events('session_ended'), [{ reason: 'refused' }])
})

const ignored: Record<string, object> = {
  exchanged: { grant: 'token-exchange', audience: 'api://stock' },
  redeemed: { audience: 'api://stock' },
  orders: { grant: 'token-exchange', audience: 'api://orders' },
  plain: {},
}

void t.test('a token whose aud differs from the route’s audience causes one warning', async (t) => {
  const running = await withTokens(t, ignored)
  // Keycloak, for one, leaves what it does not know unread.
  const { access_token: other } = await tokenFor(running, 'orders')
  for (const name of ['exchanged', 'redeemed', 'plain']) {
    for (const user of ['alice', 'bob']) {
      const browser = createBrowser()
      running.idp.settings.reshapeTokenResponse = null
      await browser.login(`${running.url}/`, user)
      running.idp.settings.reshapeTokenResponse = (body) => ({ ...body, access_token: other })
      t.equal((await browser.get(`${running.url}/api/echo/${name}`, script)).status, 200)
    }
  }
  t.match(running.events('audience_not_granted'), [
    { grant: 'token-exchange', audience: 'api://stock', resource: null, granted: ['api://orders'] },
    { grant: 'session', audience: 'api://stock', resource: null, granted: ['api://orders'] },
  ])
  t.notMatch(running.log.join(''), other)
})

void t.test('a token with several audiences, or one that is not a JWT, causes no warning', async (t) => {
  const running = await withTokens(t, { ...ignored, list: { grant: 'token-exchange', audience: 'api://stock' } })
  const jwt = await running.idp.sign({ aud: ['account', 'api://stock'] })
  for (const accessToken of [jwt, 'opaque']) {
    const browser = createBrowser()
    running.idp.settings.reshapeTokenResponse = null
    await browser.login(`${running.url}/`, 'alice')
    running.idp.settings.reshapeTokenResponse = (body) => ({ ...body, access_token: accessToken })
    t.equal((await browser.get(`${running.url}/api/echo/list`, script)).status, 200)
  }
  t.same(running.events('audience_not_granted'), [])
})

void t.test('unexpected values in the response lose neither the route’s token nor the new refresh token', async (t) => {
  const odd = {
    id_token: 'x.y.z',
    scope: ['openid', 'orders.read'],
    expires_in: null,
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  }
  for (const name of ['exchanged', 'redeemed']) {
    const running = await withTokens(t, {
      exchanged: { grant: 'token-exchange', audience: 'api://stock' },
      redeemed: { resource: 'api://stock' },
    })
    running.idp.settings.reshapeTokenResponse = (body) => ({
      ...body,
      ...odd,
      ...(name === 'redeemed' ? { issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' } : {}),
    })
    t.equal((await ask(running, name)).status, 200, name)
    t.equal((await running.browser.post(`${running.url}/oauth2/session/refresh`, '', script)).status, 200)
    t.equal(running.idp.refusedGrants['refresh_token'], 0)
  }
})

void t.test('a refused exchange is handled by its error, regardless of other values', async (t) => {
  const running = await withTokens(t, { orders: { grant: 'token-exchange', audience: 'api://orders' } })
  for (const failure of [
    { status: 401, body: { error: 'invalid_token' }, headers: { 'www-authenticate': 'Bearer' } },
    { status: 500, body: { error: 'invalid_target' } },
    { status: 200, body: { error: 'access_denied' } },
  ]) {
    running.idp.fail('token', failure)
    t.equal((await ask(running, 'orders')).status, 502, JSON.stringify(failure))
    moveClock(t, 2_100)
  }
  // Right after the login another one would be of no use.
  moveClock(t, 61_000)
  running.idp.fail('token', {
    status: 401,
    body: { error: 'interaction_required' },
    headers: { 'www-authenticate': 'Bearer' },
  })
  t.match((await ask(running, 'orders')).answer.json(), { status: 401, code: 'step_up_required' })
  t.match(running.events('exchange_failed').at(0), { cause: /invalid_token.* ← 401 from http/ })
})
