import t, { type Test } from 'tap'
import { callWith, receivedHeaders } from '../support/api-client.ts'
import { moveClock } from '../support/clock.ts'
import { freePort } from '../support/free-port.ts'
import { bearerClaims } from '../support/jwt.ts'
import { loggedIn, type LoggedIn } from '../support/logged-in.ts'
import { ask } from '../support/raw-http.ts'

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ON_BEHALF_OF = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

const orders = { grant: 'token-exchange', audience: 'api://orders', scopes: ['orders.read'] }

interface Started extends LoggedIn {
  /** An opaque access token that the provider has issued to alice. */
  readonly token: string
}

/** Starts a gateway whose routes below `/api/` exchange the tokens of clients. */
const start = async (t: Test, routes: readonly object[] = [], config: object = {}): Promise<Started> => {
  const port = await freePort()
  const bearer = { clientIds: `client-${port}`, token: 'exchange' }
  const api = { path: '/api/**', bearer, token: orders, headers: { set: { 'X-User': '{claims.sub}' } } }
  const others = routes.map((route) => ({ bearer, ...route }))
  const running = await loggedIn(t, {
    port,
    idp: { lifetimes: { accessToken: 100 } },
    config: { routes: [{ path: '/**' }, api, ...others], ...config },
  })
  const [, token = ''] = running.idp.secretsIssued.filter((secret) => !secret.includes('.'))
  return { ...running, token }
}

void t.test('the application receives the exchanged token in place of the client’s own', async (t) => {
  const running = await start(t)
  const { token, upstream } = running
  const answer = await callWith(running, token)
  t.equal(answer.status, 200)
  const { headers } = upstream.requests.at(-1) ?? { headers: {} }
  t.match(bearerClaims({ headers }), { aud: 'api://orders', sub: 'alice', scope: 'orders.read' })
  t.match(receivedHeaders(answer), { 'x-user': 'alice' })
  t.notOk(JSON.stringify(upstream.requests.at(-1)).includes(token), 'the client’s token stays at the gateway')
})

void t.test('a token is exchanged once, however many requests bring it, until the new one expires', async (t) => {
  const running = await start(t)
  const { token, idp } = running
  idp.settings.lifetimes.accessToken = 50
  const call = async (): Promise<number> => (await callWith(running, token)).status
  t.same(new Set(await Promise.all(Array.from({ length: 10 }, call))), new Set([200]))
  t.equal(await call(), 200)
  t.match(idp.grants, { [TOKEN_EXCHANGE]: 1 })
  moveClock(t, 55_000)
  t.equal(await call(), 200)
  t.match(idp.grants, { [TOKEN_EXCHANGE]: 2 })
})

void t.test('on-behalf-of and another header work as for sessions', async (t) => {
  const running = await start(t, [
    {
      path: '/api/echo/entra',
      token: { grant: 'on-behalf-of', scopes: ['api://stock/.default'], header: 'X-Access-Token' },
    },
  ])
  const headers = receivedHeaders(await callWith(running, running.token, '/api/echo/entra'))
  t.match(bearerClaims({ headers: { authorization: headers['x-access-token'] } }), { aud: 'api://stock' })
  t.notOk('authorization' in headers)
  t.match(running.idp.grants, { [ON_BEHALF_OF]: 1 })
})

void t.test('clients learn whether the provider is unavailable, refuses, or asks for another login', async (t) => {
  const running = await start(t, [
    { path: '/api/echo/refused', token: { ...orders, audience: 'api://refused' } },
    { path: '/api/echo/user', token: { ...orders, audience: 'api://user' } },
  ])
  const { idp, token } = running
  idp.settings.refuseExchange = (audience) =>
    audience === 'api://orders'
      ? null
      : { error: audience === 'api://user' ? 'interaction_required' : 'invalid_target' }
  const call = async (path: string) => callWith(running, token, path)
  t.match((await call('/api/echo/refused')).json(), { status: 502, code: 'token_unavailable' })
  const login = await call('/api/echo/user')
  t.match(login.json(), { status: 401, code: 'step_up_required' })
  t.match(login.headers['www-authenticate'], 'error="insufficient_user_authentication"')
  idp.fail('token', { status: 503 })
  const away = await call('/api/echo')
  t.match(away.json(), { status: 503, code: 'token_unavailable' })
  t.ok(away.headers['retry-after'])
  t.match(running.events('exchange_failed').at(-1), { grant: 'token-exchange' })
  t.notOk(running.log.join('').includes(token))
})

void t.test('a token that the application rejects is renewed once, and the request repeated', async (t) => {
  const running = await start(t)
  const { idp, token, upstream } = running
  t.equal((await callWith(running, token)).status, 200)
  moveClock(t, 11_000)
  const challenge = 'WWW-Authenticate: Bearer error="invalid_token"'
  const once = `/api/status/401?${new URLSearchParams({ header: challenge, times: '1' }).toString()}`
  t.equal((await callWith(running, token, once)).status, 200)
  const sent = upstream.requests.filter(({ url }) => url === once).map(({ headers }) => headers.authorization)
  t.equal(new Set(sent).size, 2)
  t.match(idp.grants, { [TOKEN_EXCHANGE]: 2 })
  const always = `/api/status/401?${new URLSearchParams({ header: challenge }).toString()}`
  const answer = await callWith(running, token, always)
  t.equal(answer.status, 401)
  t.notOk(answer.headers.gatehouse, 'the application’s own answer')
  t.match(idp.grants, { [TOKEN_EXCHANGE]: 2 })
})

void t.test('a browser with a session uses the same route with the token of its session', async (t) => {
  const running = await start(t)
  const { upstream, url, browser } = running
  t.equal((await browser.get(`${url}/api/echo`, { kind: 'script' })).status, 200)
  t.match(bearerClaims(upstream.requests.at(-1) ?? { headers: {} }), { aud: 'api://orders', sub: 'alice' })
})

void t.test('forward-auth gives the proxy the exchanged token', async (t) => {
  const running = await start(t, [], { forwardAuth: { listen: '127.0.0.1:0' } })
  const answer = await ask(running.verdicts, 'GET', '/oauth2/auth', [
    'X-Original-Method: GET',
    `X-Original-URL: ${running.url}/api/echo`,
    `Authorization: Bearer ${running.token}`,
  ])
  t.equal(answer.status, 200)
  const [authorization, ...others] = answer.headers.get('authorization') ?? []
  t.same(others, [])
  t.match(bearerClaims({ headers: { authorization } }), { aud: 'api://orders', sub: 'alice' })
})
