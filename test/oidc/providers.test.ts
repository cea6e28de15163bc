import { randomBytes, randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { startIdp, type Idp } from '../../src/demo/idp.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import type { Answer } from '../support/exchange.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { startRedis } from '../support/redis.ts'
import { clientOf, loginAt, providerOf, startTwo, type Two } from '../support/two-providers.ts'

const NAMES = ['staff', 'partners'] as const

const loggedInAt = async (two: Two, name: 'staff' | 'partners'): Promise<Browser> => {
  const browser = createBrowser()
  await loginAt(browser, two, name)
  return browser
}

const claimsOf = async (browser: Browser, { url }: Running): Promise<Record<string, unknown>> =>
  (await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()

void t.test('each provider ends only its own sessions', async (t) => {
  const two = await startTwo(t)
  const { url, port, events } = two
  const ends = async (how: (name: 'staff' | 'partners', sid: string) => Promise<unknown>): Promise<void> => {
    for (const name of NAMES) {
      const browsers = { staff: await loggedInAt(two, 'staff'), partners: await loggedInAt(two, 'partners') }
      await how(name, String((await claimsOf(browsers[name], two))['sid']))
      const other = name === 'staff' ? 'partners' : 'staff'
      await eventually(async () => (await providerOf(browsers[name], two)) === 'session_expired')
      t.equal(await providerOf(browsers[other], two), other)
      t.match(events('logout').at(-1), { provider: name, ended: 1 })
    }
  }
  await t.test('over the back channel', async () => ends((name) => two[name].endSessionsOf('alice')))
  await t.test('over the front channel, with iss and sid', async () =>
    ends((name, sid) =>
      createBrowser().get(
        `${url}/oauth2/logout/frontchannel?${new URLSearchParams({ iss: two[name].issuer, sid }).toString()}`,
      ),
    ),
  )
  await t.test('over the front channel, with sid alone', async () =>
    ends((_name, sid) =>
      createBrowser().get(`${url}/oauth2/logout/frontchannel?${new URLSearchParams({ sid }).toString()}`),
    ),
  )
  await t.test('a logout token must be for the client at its issuer', async (t) => {
    const post = async (aud: string, iss: string): Promise<number> => {
      const iat = Math.floor(Date.now() / 1000)
      const events = { 'http://schemas.openid.net/event/backchannel-logout': {} }
      const claims = { iss, aud, iat, exp: iat + 60, jti: randomUUID(), sub: 'alice', events }
      const token = await two.staff.sign(claims, { typ: 'logout+jwt' })
      const body = new URLSearchParams({ logout_token: token })
      return (await createBrowser().post(`${url}/oauth2/logout/backchannel`, body, { kind: 'none' })).status
    }
    t.equal(await post(clientOf('staff', port), two.staff.issuer), 200)
    t.equal(await post(clientOf('partners', port), two.staff.issuer), 400)
    t.equal(await post(clientOf('partners', port), two.partners.issuer), 400, 'signed by the other provider')
    t.equal(await post(clientOf('staff', port), 'https://foreign.example.com'), 400)
  })
  await t.test('a front-channel logout names a provider', async (t) => {
    const answer = await createBrowser().get(`${url}/oauth2/logout/frontchannel?iss=https://foreign.example.com&sid=x`)
    t.equal(answer.status, 400)
  })
})

void t.test('each session is refreshed at its own provider', async (t) => {
  const two = await startTwo(t, { idp: { lifetimes: { accessToken: 100 } } })
  for (const name of NAMES) {
    const browser = await loggedInAt(two, name)
    const before = { staff: two.staff.requests.token, partners: two.partners.requests.token }
    const answer = await browser.post(`${two.url}/oauth2/session/refresh`, undefined, { kind: 'script' })
    t.same([answer.status, answer.json()['provider']], [200, name])
    t.equal(two[name].requests.token, before[name] + 1)
    const other = name === 'staff' ? 'partners' : 'staff'
    t.equal(two[other].requests.token, before[other])
    t.match(two.events('refresh').at(-1), { provider: name })
    two[name].revokeGrantsOf('alice')
  }
})

void t.test('a bearer token must be of a provider that the route allows', async (t) => {
  const audience = 'api://orders'
  const set = { 'X-Provider': '{provider}' }
  const two = await startTwo(t, {
    config: {
      routes: [
        { path: '/**', bearer: { audience }, headers: { set } },
        { path: '/api/echo/partners', provider: 'partners', bearer: { audience }, headers: { set } },
      ],
    },
  })
  const call = async (idp: Idp, path: string, aud: string = audience, typ = 'at+jwt'): Promise<Answer> => {
    const iat = Math.floor(Date.now() / 1000)
    const token = await idp.sign({ iss: idp.issuer, aud, sub: 'robot', iat, exp: iat + 60, jti: randomUUID() }, { typ })
    return createBrowser().get(`${two.url}${path}`, { kind: 'none', headers: { authorization: `Bearer ${token}` } })
  }
  for (const name of NAMES)
    t.match((await call(two[name], '/api/echo')).json(), { headers: { 'x-provider': name } }, name)
  t.equal((await call(two.partners, '/api/echo/partners')).status, 200)
  const refused = await call(two.staff, '/api/echo/partners')
  t.same([refused.status, refused.headers.gatehouse], [401, 'invalid_token'])
  const foreign = await startIdp()
  t.teardown(async () => foreign.close())
  t.equal((await call(foreign, '/api/echo')).status, 401)
})

void t.test('session administration names providers, and never confuses two users with one sub', async (t) => {
  const admin = `127.0.0.1:${await freePort()}`
  const two = await startTwo(t, { config: { admin: { listen: admin, sessions: 'loopback' } } })
  const [staff, partners] = [await loggedInAt(two, 'staff'), await loggedInAt(two, 'partners')]
  const ask = async (method: string, query: string): Promise<Answer> =>
    createBrowser().request(method, `http://${admin}/sessions?sub=alice${query}`, { kind: 'none' })
  const listed = async (query = ''): Promise<unknown[]> => {
    const { sessions } = (await ask('GET', query)).json()
    return Array.isArray(sessions) ? sessions.map(({ provider, sub }: Record<string, unknown>) => [provider, sub]) : []
  }
  t.same(await listed(), [
    ['staff', 'alice'],
    ['partners', 'alice'],
  ])
  t.same(await listed('&provider=partners'), [['partners', 'alice']])
  t.equal((await ask('GET', '&provider=unknown')).status, 400)
  const ambiguous = await ask('DELETE', '')
  t.equal(ambiguous.status, 400)
  t.match(ambiguous.json()['detail'], /provider=NAME: staff, partners/)
  t.equal((await ask('DELETE', '&provider=partners')).status, 204)
  t.equal(await providerOf(partners, two), 'session_expired')
  t.equal(await providerOf(staff, two), 'staff')
  t.equal((await ask('DELETE', '')).status, 204, 'only staff has the user now')
  t.equal(await providerOf(staff, two), 'session_expired')
})

void t.test('the gateway is ready while one of its providers is', async (t) => {
  const admin = `127.0.0.1:${await freePort()}`
  const down = `http://127.0.0.1:${await freePort()}`
  const two = await startTwo(t, { partners: { issuer: down }, config: { admin: { listen: admin } } })
  const ready = async (): Promise<Answer> => createBrowser().get(`http://${admin}/readyz`, { kind: 'none' })
  await eventually(async () => (await ready()).status === 200)
  t.same((await ready()).json()['checks'], {
    provider: 'ok',
    providers: { staff: 'ok', partners: 'unavailable' },
    store: 'ok',
    draining: false,
  })
  t.equal(await providerOf(await loggedInAt(two, 'staff'), two), 'staff')
  const answer = await createBrowser().get(`${two.url}/oauth2/login?provider=partners`)
  t.same([answer.status, answer.headers.gatehouse], [503, 'provider_unavailable'])
})

void t.test('a session check and its interval are those of the provider of the session', async (t) => {
  const two = await startTwo(t, { partners: { sessionCheck: '5m' } })
  const body = async (name: 'staff' | 'partners'): Promise<Record<string, unknown>> =>
    (await (await loggedInAt(two, name)).get(`${two.url}/oauth2/session`, { kind: 'script' })).json()
  t.match(await body('partners'), { provider: 'partners', check_every_seconds: 300 })
  const { provider, check_every_seconds: seconds } = await body('staff')
  t.same([provider, seconds], ['staff', undefined])
})

void t.test('a reload changes the settings of each provider', async (t) => {
  const two = await startTwo(t)
  const { gateway, config, url } = two
  const { providers } = config
  if (providers === null) throw new Error('there are no providers')
  const { staff, partners } = providers
  if (staff === undefined || partners === undefined) throw new Error('a provider is missing')
  const next = { ...partners, title: 'Our partners', authorizationParameters: { domain_hint: 'p' } }
  await gateway.reload({ ...config, providers: { staff, partners: next } })
  t.match((await createBrowser().get(`${url}/oauth2/login`)).body, 'Our partners')
  await eventually(async () => {
    const answer = await createBrowser().get(`${url}/oauth2/login?provider=partners`)
    return answer.body.includes('domain_hint')
  })
  t.notMatch((await createBrowser().get(`${url}/oauth2/login?provider=staff`)).body, 'domain_hint')
})

/** Registers a gateway's client at a provider, and returns the provider's keys in the configuration. */
const registered = async (idp: Idp, url: string, callback: string): Promise<object> => {
  const [clientId, clientSecret] = ['gateway', 'a-secret-of-the-gateway']
  await idp.registerClient({ clientId, clientSecret, redirectUris: [`${url}/oauth2/${callback}`] })
  return { issuer: idp.issuer, clientId, clientSecret }
}

void t.test('sessions outlive a restart with more providers, and end with their provider', async (t: Test) => {
  const redis = await startRedis(t)
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const [staff, partners] = await Promise.all([startIdp(), startIdp({ hostname: 'localhost' })])
  const other = await startIdp()
  t.teardown(async () => Promise.all([staff.close(), partners.close(), other.close()]))
  const session = { keys: [randomBytes(32).toString('base64')], store: redis.url }
  const run = async (config: object): Promise<Running> => {
    const running = await startGateway(t, { idp: staff, port, config: { session, ...config } })
    await eventually(() => running.events('provider_discovered').length > 0)
    return running
  }

  const single = await run({ provider: await registered(staff, url, 'callback') })
  const first = createBrowser()
  await first.login(`${url}/`, 'alice')
  t.equal((await first.get(`${url}/`)).status, 200)
  await single.gateway.close()

  const entries = {
    staff: await registered(staff, url, 'callback/staff'),
    partners: await registered(partners, url, 'callback/partners'),
  }
  const several = await run({ provider: null, providers: entries })
  t.equal(await providerOf(first, several), 'staff', 'the session of the former provider continues')
  const second = createBrowser()
  await loginAt(second, several, 'partners')
  t.equal(await providerOf(second, several), 'partners')
  await several.gateway.close()

  const changed = await run({
    provider: null,
    providers: { ...entries, partners: await registered(other, url, 'callback/partners') },
  })
  t.equal(await providerOf(first, changed), 'staff')
  t.equal(
    await providerOf(second, changed),
    'session_expired',
    'another provider of that name does not get the session',
  )
})
