import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { callWith, receivedHeaders, registerRobot } from '../support/api-client.ts'
import { moveClock } from '../support/clock.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'

/** Gateways with a scripted provider do not use this provider. */
const unused = await startIdp()
t.teardown(async () => unused.close())

const set = { 'X-User': '{claims.sub}', 'X-Client': '{claims.client_id}' }

void t.test('an opaque token admits a client, which needs no sub', async (t) => {
  const gateway = await startGateway(t, {
    config: { routes: [{ path: '/**', bearer: { clientIds: 'robot' }, headers: { set } }] },
  })
  const token = await (await registerRobot(gateway.idp))({ scope: 'orders.read' })
  t.notMatch(token, /\./, 'the provider issues opaque tokens')
  const answer = await callWith(gateway, token)
  t.equal(answer.status, 200)
  t.match(receivedHeaders(answer), { 'x-client': 'robot', 'authorization': `Bearer ${token}` })
  t.notOk('x-user' in receivedHeaders(answer), 'the client is no user')
})

void t.test(
  'an opaque token of a user has the claims of the provider’s answer, which routes may require',
  async (t) => {
    const { idp, config } = await loggedIn(t)
    const bearer = { clientIds: config.provider.clientId }
    const api = await startGateway(t, {
      idp,
      config: {
        routes: [
          { path: '/**', bearer, headers: { set }, require: { claims: { groups: ['admin'] } } },
          { path: '/api/echo/board', bearer, require: { claims: { groups: ['board'] } } },
        ],
      },
    })
    const [token = ''] = idp.secretsIssued.filter((secret) => !secret.includes('.')).slice(1)
    const answer = await callWith(api, token)
    t.equal(answer.status, 200)
    t.match(receivedHeaders(answer), { 'x-user': 'alice' })
    t.match((await callWith(api, token, '/api/echo/board')).json(), { status: 403, code: 'forbidden' })
    t.equal(idp.requests.introspection, 1, 'routes share the answer')
  },
)

void t.test('the provider is asked once per token and minute, also about inactive tokens', async (t) => {
  const gateway = await startGateway(t, { config: { routes: [{ path: '/**', bearer: { clientIds: 'robot' } }] } })
  const { idp } = gateway
  const token = await (await registerRobot(idp))()
  const call = async (one: string): Promise<number> => (await callWith(gateway, one)).status
  t.same(new Set(await Promise.all(Array.from({ length: 20 }, async () => call(token)))), new Set([200]))
  t.same(new Set(await Promise.all(Array.from({ length: 20 }, async () => call('unknown')))), new Set([401]))
  t.equal(await call(token), 200)
  t.equal(await call('unknown'), 401)
  t.equal(idp.requests.introspection, 2)
  moveClock(t, 61_000)
  t.equal(await call(token), 200)
  t.equal(await call('unknown'), 401)
  t.equal(idp.requests.introspection, 4)
})

void t.test('a revoked token is refused within a minute', async (t) => {
  const { idp, config } = await loggedIn(t)
  const api = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', bearer: { clientIds: config.provider.clientId } }] },
  })
  const [token = ''] = idp.secretsIssued.filter((secret) => !secret.includes('.')).slice(1)
  t.equal((await callWith(api, token)).status, 200)
  idp.revokeGrantsOf('alice')
  t.equal((await callWith(api, token)).status, 200)
  moveClock(t, 61_000)
  t.match((await callWith(api, token)).json(), { status: 401, code: 'invalid_token' })
})

void t.test('a JWT is never sent to the introspection endpoint', async (t) => {
  const gateway = await startGateway(t, { config: { routes: [{ path: '/**', bearer: { audience: 'api://orders' } }] } })
  const { idp } = gateway
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: idp.issuer, aud: 'api://orders', sub: 'alice', client_id: 'robot', iat: now, exp: now + 60 }
  const good = await idp.sign(claims, { typ: 'at+jwt' })
  const expired = await idp.sign({ ...claims, exp: now - 300 }, { typ: 'at+jwt' })
  const unsigned = good.replace(/[^.]*$/, '')
  const withTyp = (typ: unknown): string =>
    good.replace(/^[^.]*/, Buffer.from(JSON.stringify({ alg: 'RS256', typ })).toString('base64url'))
  const statuses = []
  for (const token of [good, expired, unsigned, `${good}x`, withTyp(5), withTyp(null), withTyp([])])
    statuses.push((await callWith(gateway, token)).status)
  t.same(statuses, [200, 401, 401, 401, 401, 401, 401])
  t.equal(idp.requests.introspection, 0)
})

interface Scripted {
  readonly provider: ScriptedProvider
  readonly gateway: Running
  /** The forms that the introspection endpoint has received. */
  readonly forms: URLSearchParams[]
  /** Changes the answer of the introspection endpoint. */
  readonly answer: (how: (form: URLSearchParams, response: ServerResponse) => void) => void
}

const AUDIENCE = 'api://orders'

const json = (response: ServerResponse, body: object, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

const startScripted = async (t: Test, config: object = {}, bearer: object = {}): Promise<Scripted> => {
  const provider = await startScriptedProvider(t)
  provider.document['introspection_endpoint'] = `${provider.origin}/introspect`
  const forms: URLSearchParams[] = []
  let how: Parameters<Scripted['answer']>[0] = (_form, response) => {
    json(response, { active: false })
  }
  provider.paths.set('/introspect', (request: IncomingMessage, response: ServerResponse) => {
    void text(request).then((form) => {
      forms.push(new URLSearchParams(form))
      how(new URLSearchParams(form), response)
    })
  })
  const gateway = await startGateway(t, {
    idp: unused,
    config: {
      provider: { issuer: provider.issuer, clientId: 'orders', clientSecret: 'secret' },
      routes: [{ path: '/**', bearer: { audience: AUDIENCE, clientIds: ['robot'], ...bearer }, headers: { set } }],
      ...config,
    },
  })
  return {
    provider,
    gateway,
    forms,
    answer(next) {
      how = next
    },
  }
}

void t.test('each member of the answer counts', async (t) => {
  const { provider, gateway, answer, forms } = await startScripted(t)
  const now = Math.floor(Date.now() / 1000)
  const good = { active: true, sub: 'alice', aud: AUDIENCE, client_id: 'spa', exp: now + 300 }
  const rows: [number, string, object][] = [
    [200, 'all members', { ...good, iss: provider.issuer, token_type: 'Bearer', nbf: now - 1, scope: 'a b' }],
    [200, 'an accepted client', { active: true, client_id: 'robot', token_type: 'Bearer' }],
    [200, 'a list of audiences', { ...good, aud: ['account', AUDIENCE] }],
    [200, 'token_type in lower case', { ...good, token_type: 'bearer' }],
    [200, 'times as strings', { ...good, exp: String(now + 300), nbf: String(now) }],
    [401, 'an accepted client, and no sign of an access token', { active: true, client_id: 'robot' }],
    [401, 'a refresh token of Hydra', { ...good, token_type: 'Bearer', token_use: 'refresh_token' }],
    [401, 'inactive', { ...good, active: false }],
    [401, 'another audience', { ...good, aud: 'api://stock' }],
    [401, 'another client, no audience', { active: true, sub: 'alice', client_id: 'spa' }],
    [401, 'another issuer', { ...good, iss: 'https://evil.example' }],
    [401, 'expired', { ...good, exp: now - 1 }],
    [401, 'no time', { ...good, exp: 'soon' }],
    [401, 'not yet', { ...good, nbf: now + 300 }],
    [401, 'another type of token', { ...good, token_type: 'mac' }],
    [401, 'a refresh token of Keycloak', { ...good, typ: 'Refresh' }],
    [401, 'an ID token of Cognito', { ...good, token_use: 'id' }],
    [401, 'a sub that identifies no user', { ...good, sub: '' }],
    [401, 'neither sub nor client_id', { active: true, aud: AUDIENCE }],
    [401, 'bound to a certificate', { ...good, cnf: { 'x5t#S256': 'x' } }],
    [401, 'bound to a key', { ...good, cnf: { jkt: 'x' } }],
  ]
  for (const [index, [status, name, body]] of rows.entries()) {
    answer((_form, response) => {
      json(response, body)
    })
    const result = await callWith(gateway, `opaque-${index}`)
    t.equal(result.status, status, name)
    if (status === 401) t.match(result.json(), { code: 'invalid_token' }, name)
  }
  t.match(Object.fromEntries(forms[0] ?? []), { token: 'opaque-0', token_type_hint: 'access_token' })
  t.notOk(gateway.log.join('').includes('opaque-'), 'no token is in the log')
})

void t.test('an answer is not kept past exp', async (t) => {
  const { gateway, answer, forms } = await startScripted(t)
  const exp = Math.floor(Date.now() / 1000) + 10
  answer((_form, response) => {
    json(response, { active: Date.now() < exp * 1000, client_id: 'robot', token_type: 'Bearer', exp })
  })
  t.equal((await callWith(gateway, 'opaque')).status, 200)
  moveClock(t, 11_000)
  t.equal((await callWith(gateway, 'opaque')).status, 401)
  t.equal(forms.length, 2)
})

void t.test(
  'while the provider is unavailable, clients get a 503, except with tokens that were active within a minute',
  async (t) => {
    const { gateway, answer } = await startScripted(t)
    const active: Parameters<Scripted['answer']>[0] = (_form, response) => {
      json(response, { active: true, client_id: 'robot', token_type: 'Bearer' })
    }
    answer(active)
    t.equal((await callWith(gateway, 'known')).status, 200)
    const failures: Parameters<Scripted['answer']>[0][] = [
      (_form, response) => response.socket?.destroy(),
      (_form, response) => {
        json(response, {}, 503)
      },
      (_form, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>Maintenance'),
      (_form, response) => {
        json(response, { active: 'yes' })
      },
    ]
    for (const failure of failures) {
      answer(failure)
      const result = await callWith(gateway, 'another')
      t.match(result.json(), { status: 503, code: 'provider_unavailable' })
      t.ok(result.headers['retry-after'])
      t.equal((await callWith(gateway, 'known')).status, 200)
    }
    answer(active)
    t.equal((await callWith(gateway, 'another')).status, 200, 'a failure is not kept')
  },
)

void t.test('a provider that refuses the gateway’s own credentials yields a 503 and an error in the log', async (t) => {
  const { gateway, answer } = await startScripted(t)
  answer((_form, response) => {
    json(response, { error: 'invalid_client' }, 401)
  })
  t.match((await callWith(gateway, 'opaque')).json(), { status: 503, code: 'provider_unavailable' })
  const [line] = gateway.events('provider_unavailable')
  t.match(line, { level: 'error', cause: /invalid_client.*401 from .*\/introspect/ })
})

void t.test('an error about the token is a 401, and no other error is', async (t) => {
  const { gateway, answer } = await startScripted(t)
  const rows = [
    ['unsupported_token_type', 401],
    ['invalid_request', 401],
    ['invalid_client', 503],
    ['unauthorized_client', 503],
  ] as const
  for (const [error, status] of rows) {
    answer((_form, response) => {
      json(response, { error }, 400)
    })
    t.equal((await callWith(gateway, `opaque-${error}`)).status, status, error)
  }
})

void t.test('a refresh token of the provider is not an access token', async (t) => {
  const { idp, config } = await loggedIn(t)
  const api = await startGateway(t, {
    idp,
    config: { routes: [{ path: '/**', bearer: { clientIds: config.provider.clientId } }] },
  })
  const opaque = idp.secretsIssued.filter((secret) => !secret.includes('.')).slice(1)
  const statuses = []
  for (const token of opaque) statuses.push((await callWith(api, token)).status)
  t.ok(statuses.length > 1, 'there is a refresh token')
  t.equal(statuses.filter((status) => status === 200).length, 1, statuses.join())
})

void t.test('a flood of tokens while the provider is away is one line at error in a second', async (t) => {
  const { gateway, answer } = await startScripted(t)
  answer((_form, response) => response.socket?.destroy())
  const begun = performance.now()
  const results = await Promise.all(Array.from({ length: 40 }, async (_, i) => callWith(gateway, `random-${i}`)))
  t.same(new Set(results.map(({ status }) => status)), new Set([503]))
  const lines = gateway.events('provider_unavailable')
  t.equal(lines.length, 40)
  const errors = lines.filter(({ level }) => level === 'error').length
  t.ok(errors >= 1 && errors <= 1 + (performance.now() - begun) / 1_000, `${errors} lines`)
})

void t.test('a 401 with an answer, as Dex gives it, says that the token is not active', async (t) => {
  const { gateway, answer } = await startScripted(t)
  answer((_form, response) => {
    json(response, { active: false }, 401)
  })
  t.match((await callWith(gateway, 'opaque')).json(), { status: 401, code: 'invalid_token' })
})

void t.test('the answer may be a JWT', async (t) => {
  const { provider, gateway, answer } = await startScripted(t)
  const now = Math.floor(Date.now() / 1000)
  const members = { iss: provider.issuer, aud: 'orders', iat: now }
  const jwt = await provider.sign(
    { ...members, token_introspection: { active: true, client_id: 'robot', token_type: 'Bearer' } },
    { typ: 'token-introspection+jwt' },
  )
  answer((_form, response) =>
    response.writeHead(200, { 'content-type': 'application/token-introspection+jwt' }).end(jwt),
  )
  t.equal((await callWith(gateway, 'opaque')).status, 200)
})

void t.test('without an endpoint, and with introspection: off, opaque tokens are refused', async (t) => {
  const provider = await startScriptedProvider(t)
  const settings = { issuer: provider.issuer, clientId: 'orders', clientSecret: 'secret' }
  const routes = [{ path: '/**', bearer: { audience: AUDIENCE } }]
  const without = await startGateway(t, { idp: unused, config: { provider: settings, routes } })
  for (const token of ['one', 'two']) t.equal((await callWith(without, token)).status, 401)
  t.match(without.events('introspection_unavailable'), [{ msg: /provider\.endpoints\.introspection/ }], 'logged once')
  const off = await startScripted(t, {}, { introspection: 'off' })
  t.equal((await callWith(off.gateway, 'opaque')).status, 401)
  t.match(off.gateway.events('invalid_token'), [{ why: 'it is not a JWT' }])
  t.same(off.forms, [])
})

void t.test('an opaque token is not disclosed if it may belong to another provider', async (t) => {
  const idps = await Promise.all([startIdp(), startIdp()])
  t.teardown(async () => Promise.all(idps.map(async (idp) => idp.close())))
  const [first, second] = idps
  const client = { clientId: 'orders', clientSecret: 'secret' }
  const bearer = { clientIds: ['robot'] }
  const gateway = await startGateway(t, {
    idp: first,
    config: {
      provider: null,
      providers: { first: { issuer: first.issuer, ...client }, second: { issuer: second.issuer, ...client } },
      routes: [
        { path: '/**', bearer },
        { path: '/api/echo/second', provider: ['second'], bearer, headers: { set: { 'X-Provider': '{provider}' } } },
      ],
    },
  })
  await second.registerClient({ ...client, redirectUris: [`${gateway.url}/oauth2/callback`] })
  const token = await (await registerRobot(second))()
  t.equal((await callWith(gateway, token)).status, 401)
  t.match(gateway.events('introspection_unavailable'), [{ msg: /set provider on the route/ }])
  const answer = await callWith(gateway, token, '/api/echo/second')
  t.equal(answer.status, 200)
  t.match(receivedHeaders(answer), { 'x-provider': 'second' })
  t.equal(first.requests.introspection, 0)
})

void t.test('a flood of random tokens reaches the provider slowly, and valid tokens still pass', async (t) => {
  const { gateway, answer } = await startScripted(t, { trustedProxies: ['127.0.0.1'] })
  let running = 0
  let most = 0
  let isSlow = false
  answer((form, response) => {
    running += 1
    most = Math.max(most, running)
    const token = form.get('token') ?? ''
    void sleep(isSlow ? 100 : 0).then(() => {
      running -= 1
      json(
        response,
        token.startsWith('valid') ? { active: true, client_id: 'robot', token_type: 'Bearer' } : { active: false },
      )
    })
  })
  const from = (address: string) => ({ 'x-forwarded-for': address })
  t.equal((await callWith(gateway, 'valid-known', '/', from('192.0.2.1'))).status, 200)
  isSlow = true
  moveClock(t, 61_000)
  const flood = Promise.all(
    Array.from({ length: 60 }, async (_, i) => callWith(gateway, `random-${i}`, '/', from('192.0.2.1'))),
  )
  await sleep(150)
  const begun = Date.now()
  t.equal((await callWith(gateway, 'valid-known', '/', from('192.0.2.1'))).status, 200, 'known before the flood')
  t.equal((await callWith(gateway, 'valid-new', '/', from('192.0.2.2'))).status, 200, 'from another address')
  t.ok(Date.now() - begun < 800, `without waiting for the flood (${Date.now() - begun} ms)`)
  t.equal((await callWith(gateway, 'valid-late', '/', from('192.0.2.1'))).status, 200, 'behind the flood')
  t.same(new Set((await flood).map(({ status }) => status)), new Set([401]))
  t.ok(most <= 6, `at most four calls for one address at a time, and two others (${most})`)
})

void t.test('the addresses of one IPv6 network share their calls', async (t) => {
  const { gateway, answer } = await startScripted(t, { trustedProxies: ['127.0.0.1'] })
  let running = 0
  let most = 0
  answer((_form, response) => {
    running += 1
    most = Math.max(most, running)
    void sleep(50).then(() => {
      running -= 1
      json(response, { active: false })
    })
  })
  const calls = Array.from({ length: 12 }, async (_, i) =>
    callWith(gateway, `random-${i}`, '/', { 'x-forwarded-for': `2001:db8::${i + 1}` }),
  )
  t.same(new Set((await Promise.all(calls)).map(({ status }) => status)), new Set([401]))
  t.equal(most, 4)
})
