import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway } from '../support/gateway.ts'
import { loggedIn, type LoggedIn } from '../support/logged-in.ts'
import { ask, header } from '../support/raw-http.ts'
import { openWebSocket } from '../support/websocket.ts'
import { startScriptedProvider } from '../oidc/scripted-provider.ts'

const script = { kind: 'script' } as const

const routes = [
  { path: '/**', token: { grant: 'none' } },
  { path: '/api/orders', token: { grant: 'id-token' } },
  { path: '/api/status/**', token: { grant: 'id-token' } },
  { path: '/ws', token: { grant: 'id-token' } },
  { path: '/api/echo/named', token: { grant: 'id-token', header: 'X-Id-Token' } },
  { path: '/api/echo/optional', access: 'optional', token: { grant: 'id-token' } },
  {
    path: '/api/echo/both',
    headers: { set: { 'Authorization': 'Bearer {idToken}', 'X-Forwarded-Access-Token': '{accessToken}' } },
  },
  { path: '/api/echo/session', token: { grant: 'session' } },
]

const LIFETIMES = { accessToken: 3_600, idToken: 100 }
const idp = await startIdp({ lifetimes: LIFETIMES })
t.teardown(() => idp.close())

type Started = LoggedIn & { readonly refreshes: () => number }

/** A gateway with alice logged in. ID tokens live for 100 s, access tokens for an hour. */
const start = async (t: Test, config: object = {}): Promise<Started> => {
  t.teardown(() => {
    Object.assign(idp.settings.lifetimes, LIFETIMES)
    idp.settings.reshapeTokenResponse = null
    idp.fail('token', null)
  })
  const total = (): number => idp.grants['refresh_token'] ?? 0
  const before = total()
  return { ...(await loggedIn(t, { idp, config: { routes, ...config } })), refreshes: () => total() - before }
}

/** The token of the last request that reached the application, without its scheme. */
const lastToken = ({ upstream }: LoggedIn, name = 'authorization'): string =>
  String(upstream.requests.at(-1)?.headers[name] ?? '').replace(/^Bearer /, '')

/** Makes the provider leave the ID token out of the answers to refreshes, as the specification allows. */
const leaveOutIdTokens = (): void => {
  idp.settings.reshapeTokenResponse = ({ id_token: _left, ...rest }) => rest
}

void t.test('grant: id-token sends the ID token as bearer token, or alone in another header', async (t) => {
  const running = await start(t)
  const { browser, url, upstream, config } = running
  t.equal((await running.call()).status, 200)
  const sent = upstream.requests.at(-1)?.headers.authorization ?? ''
  t.match(sent, /^Bearer /)
  t.match(decodeJwt(lastToken(running)), { sub: 'alice', aud: config.provider.clientId, nonce: String })
  await browser.get(`${url}/api/echo/named`, script)
  t.equal(`Bearer ${String(upstream.requests.at(-1)?.headers['x-id-token'])}`, sent)
  t.equal(upstream.requests.at(-1)?.headers.authorization, undefined)
  await browser.get(`${url}/api/echo/optional`, script)
  t.equal(upstream.requests.at(-1)?.headers.authorization, sent)
  await createBrowser().get(`${url}/api/echo/optional`, script)
  t.equal(upstream.requests.at(-1)?.headers.authorization, undefined, 'without a session')
})

void t.test('headers.set carries both tokens on a route without a token of its own', async (t) => {
  Object.assign(idp.settings.lifetimes, { accessToken: 100, idToken: 3_600 })
  const running = await start(t, { forwardAuth: { listen: '127.0.0.1:0' }, trustedProxies: ['127.0.0.1'] })
  const { browser, url, verdicts } = running
  await browser.get(`${url}/api/echo/session`, script)
  const session = lastToken(running)
  await browser.get(`${url}/api/echo/both`, script)
  t.match(decodeJwt(lastToken(running)), { aud: running.config.provider.clientId })
  t.equal(lastToken(running, 'x-forwarded-access-token'), session)
  moveClock(t, 101_000)
  t.equal((await browser.get(`${url}/api/echo/both`, script)).status, 200)
  t.equal(running.refreshes(), 1, 'the expired access token is replaced before the request goes on')
  t.not(lastToken(running, 'x-forwarded-access-token'), session)
  const verdict = await ask(verdicts, 'GET', '/oauth2/auth', [
    `Cookie: ${browser.cookies.header(new URL(url))}`,
    `Host: ${new URL(url).host}`,
    'X-Original-Method: GET',
    'X-Original-URI: /api/echo/both',
  ])
  t.equal(header(verdict, 'authorization'), `Bearer ${lastToken(running)}`)
})

void t.test(
  'an ID token that is due is refreshed in the background, and an expired one before the request',
  async (t) => {
    const running = await start(t)
    await running.call()
    const first = lastToken(running)
    moveClock(t, 51_000)
    await running.browser.get(`${running.url}/api/echo/session`, script)
    await sleep(50)
    t.equal(running.refreshes(), 0, 'a route that needs the access token alone')
    t.equal((await running.call()).status, 200)
    t.equal(lastToken(running), first)
    await eventually(() => running.refreshes() === 1)
    await eventually(async () => (await running.call()).status === 200 && lastToken(running) !== first)
    const second = lastToken(running)
    moveClock(t, 101_000)
    const answers = await Promise.all(Array.from({ length: 10 }, running.call))
    t.same([...new Set(answers.map(({ status }) => status))], [200])
    t.equal(running.refreshes(), 2)
    t.not(lastToken(running), second)
  },
)

void t.test('if a refresh brings no ID token, the expired one is not sent: the user logs in', async (t) => {
  const running = await start(t)
  const { browser, url, upstream } = running
  leaveOutIdTokens()
  moveClock(t, 51_000)
  await running.call()
  await eventually(() => running.refreshes() === 1)
  moveClock(t, 45_000)
  t.equal((await running.call()).status, 200, 'valid for four more seconds')
  await sleep(50)
  t.equal(running.refreshes(), 1, 'the next refresh would bring none either')
  moveClock(t, 61_000)
  upstream.requests.length = 0
  for (const path of ['/api/orders', '/api/echo/named', '/api/echo/both']) {
    const answer = await browser.get(url + path, script)
    t.equal(answer.status, 401, path)
    t.equal(answer.json()['code'], 'session_expired')
    t.notOk(answer.headers['set-cookie'], 'the cookie stays for the other routes')
  }
  t.same(upstream.requests, [])
  t.equal(running.refreshes(), 2, 'one attempt, then the cooldown')
  t.equal((await browser.get(`${url}/api/echo/optional`, script)).status, 200)
  t.equal(upstream.requests.at(-1)?.headers.authorization, undefined, 'an optional route works as without a session')
  t.equal((await browser.get(`${url}/api/echo/session`, script)).status, 200)
  idp.settings.reshapeTokenResponse = null
  const { answer } = await browser.follow(await browser.get(`${url}/api/orders`))
  t.equal(answer.status, 200)
  t.match(decodeJwt(lastToken(running)), { sub: 'alice', aud: running.config.provider.clientId })
})

void t.test('without a refresh token, an expired ID token leads to the login', async (t) => {
  const running = await start(t, { provider: { scopes: ['openid'] } })
  t.equal((await running.call()).status, 200)
  moveClock(t, 101_000)
  t.equal((await running.call()).json()['code'], 'session_expired')
  t.equal((await running.browser.get(`${running.url}/api/echo/session`, script)).status, 200)
})

void t.test('while the provider is unavailable, an expired ID token yields a 503, and the session stays', async (t) => {
  const running = await start(t)
  idp.fail('token', { status: 503 })
  moveClock(t, 101_000)
  const answer = await running.call()
  t.equal(answer.status, 503)
  t.equal(answer.json()['code'], 'token_unavailable')
  t.equal((await running.browser.get(`${running.url}/api/echo/session`, script)).status, 200)
})

void t.test('an ID token that arrives expired is 502, because another login would bring the same', async (t) => {
  const provider = await startScriptedProvider(t)
  const port = await freePort()
  const { url } = await startGateway(t, {
    port,
    config: { routes: [{ path: '/**', token: { grant: 'id-token' } }], provider: { issuer: provider.issuer } },
  })
  const now = Math.floor(Date.now() / 1000)
  const { browser, answer } = await provider.login(url, { iat: now - 90, exp: now - 30 })
  t.equal(answer.status, 302, 'the clock tolerance accepts it')
  const denied = await browser.get(`${url}/orders`, script)
  t.equal(denied.status, 502)
  t.equal(denied.json()['code'], 'token_unavailable')
})

void t.test('an application that rejects the ID token with invalid_token gets a new one', async (t) => {
  const running = await start(t)
  const challenge = { header: 'WWW-Authenticate: Bearer error="invalid_token"', times: '1' }
  // An ID token of the same second would have the same text.
  moveClock(t, 1_500)
  const path = `/api/status/401?${new URLSearchParams(challenge).toString()}`
  t.equal((await running.browser.get(running.url + path, script)).status, 200)
  const sent = running.upstream.requests.filter(({ url }) => url === path).map(({ headers }) => headers.authorization)
  t.equal(new Set(sent).size, 2)
  t.equal(running.refreshes(), 1)
})

void t.test('WebSockets and a forward-auth proxy get the ID token too', async (t) => {
  const running = await start(t, { forwardAuth: { listen: '127.0.0.1:0' } })
  const { url, verdicts, browser, upstream } = running
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  await running.call()
  const sent = `Bearer ${lastToken(running)}`
  const socket = await openWebSocket(`${url}/ws`, { headers: [cookie] })
  t.equal(socket.status, 101)
  t.equal(upstream.requests.at(-1)?.headers.authorization, sent)
  socket.socket.destroy()
  const verdict = async (path: string) => ask(verdicts, 'GET', '/auth', [cookie, `X-Original-URL: ${url}${path}`])
  t.equal(header(await verdict('/api/orders'), 'authorization'), sent)
  t.equal(header(await verdict('/api/echo/both'), 'authorization'), sent)
  t.equal(header(await verdict('/api/echo/named'), 'x-id-token'), sent.slice('Bearer '.length))
  moveClock(t, 101_000)
  const answer = await verdict('/api/orders')
  t.equal(answer.status, 200)
  t.not(header(answer, 'authorization'), sent, 'refreshed')
})
