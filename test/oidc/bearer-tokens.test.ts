import { createPublicKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { callWith } from '../support/api-client.ts'
import { createBrowser } from '../support/browser.ts'
import type { Answer } from '../support/exchange.ts'
import { moveClock } from '../support/clock.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { ask } from '../support/raw-http.ts'
import { openWebSocket } from '../support/websocket.ts'

const audience = 'api://orders'
const routes = [
  { path: '/**' },
  {
    path: '/api/**',
    bearer: { audience },
    headers: { set: { 'X-User': '{claims.sub}', 'X-Groups': '{claims.groups}' } },
  },
  {
    path: '/api/echo/admin',
    bearer: { audience: [audience, 'api://other'] },
    require: { claims: { 'realm_access.roles': ['admin'] } },
  },
  { path: '/api/echo/strong', bearer: { audience }, require: { acr: 'urn:demo:mfa', maxAge: '5m' } },
  { path: '/api/echo/public', access: 'public' },
  { path: '/api/echo/optional', access: 'optional', bearer: { audience } },
  { path: '/ws', bearer: { audience } },
]

type Started = Running & {
  /** A token as the provider makes it for the API, with these claims changed. */
  readonly token: (claims?: Record<string, unknown>, header?: { typ?: string; kid?: string }) => Promise<string>
  /** Sends a request of a client other than a browser. */
  readonly call: (token: string, path?: string, method?: string) => Promise<Answer>
}

const start = async (t: Test, config: object = {}): Promise<Started> => {
  const running = await startGateway(t, { config: { routes, ...config } })
  return {
    ...running,
    token: async (claims = {}, header = { typ: 'at+jwt' }) => {
      const now = Math.floor(Date.now() / 1000)
      return running.idp.sign(
        {
          iss: running.idp.issuer,
          aud: audience,
          sub: 'alice',
          client_id: 'robot',
          iat: now,
          exp: now + 300,
          jti: randomUUID(),
          ...claims,
        },
        header,
      )
    },
    call: async (token, path = '/api/echo', method = 'GET') =>
      createBrowser().request(method, running.url + path, {
        kind: 'none',
        headers: { authorization: `Bearer ${token}` },
      }),
  }
}

const upstreamHeaders = (answer: Answer): Record<string, string> => {
  const { headers }: { headers?: Record<string, string> } = answer.json()
  return headers ?? {}
}

const encoded = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')

void t.test(
  'a client’s own token admits it: the application receives its identity and the token, and no session is created',
  async (t) => {
    const { token, call, events } = await start(t)
    const mine = await token({ groups: ['staff', 'a,b'] })
    const answer = await call(mine)
    t.equal(answer.status, 200)
    t.match(upstreamHeaders(answer), {
      'x-user': 'alice',
      'x-groups': 'staff,a%2Cb',
      'authorization': `Bearer ${mine}`,
    })
    t.notOk(answer.headers['set-cookie'])
    t.same(events('login'), [])
  },
)

void t.test('every kind of invalid token is a 401 invalid_token', async (t) => {
  const { token, call, idp, upstream, url } = await start(t)
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: idp.issuer, aud: audience, sub: 'alice', iat: now, exp: now + 300 }
  const secret = new TextEncoder().encode('a secret of thirty-two bytes or more')
  const foreign = async (alg: string, key: Parameters<SignJWT['sign']>[0]): Promise<string> =>
    new SignJWT(claims).setProtectedHeader({ alg, typ: 'at+jwt' }).sign(key)
  const unsigned = `${encoded({ alg: 'none', typ: 'at+jwt' })}.${encoded(claims)}.`
  const good = await token()
  const [head = '', body = '', signature = ''] = good.split('.')
  const changed = Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url')
  const jwks: { keys: Record<string, string>[] } = JSON.parse(
    (await createBrowser().get(`${idp.issuer}/jwks`, { kind: 'none' })).body,
  )
  const jwksUri = `${idp.issuer}/jwks`
  const pem = createPublicKey({ key: { ...jwks.keys[0] }, format: 'jwk' })
    .export({ type: 'spki', format: 'pem' })
    .toString()
  /** Signed with another key, with a header that says where to find it. */
  const lured = async (hint: Record<string, unknown>): Promise<string> => {
    const signed = `${encoded({ alg: 'RS256', typ: 'at+jwt', ...hint })}.${encoded(claims)}`
    return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
  }
  const publicKeyAsSecret = new TextEncoder().encode(jwks.keys[0]?.['n'] ?? '')
  const rows: [string, string][] = [
    ['another key', await foreign('RS256', privateKey)],
    ['alg none', unsigned],
    ['alg none, capitals', unsigned.replace(head, Buffer.from('{"alg":"NONE"}').toString('base64url'))],
    ['HS256', await foreign('HS256', secret)],
    ['HS256 with the modulus', await foreign('HS256', publicKeyAsSecret)],
    ['HS256 with the public key', await foreign('HS256', new TextEncoder().encode(pem))],
    ['HS256 with the key set', await foreign('HS256', new TextEncoder().encode(JSON.stringify(jwks.keys[0])))],
    ...(await Promise.all(
      ['../jwks', '/dev/null', "' OR 1=1 --", '', jwksUri].map(async (kid): Promise<[string, string]> => [
        `kid ${kid}`,
        await lured({ kid }),
      ]),
    )),
    ['jku', await lured({ jku: 'http://127.0.0.1:1/jwks' })],
    ['x5u', await lured({ x5u: 'http://127.0.0.1:1/cert' })],
    ['a key of its own', await lured({ jwk: publicKey.export({ format: 'jwk' }) })],
    ['crit', await lured({ crit: ['exp'] })],
    ['not encoded', await lured({ b64: false, crit: ['b64'] })],
    ['twice the parts', `${good}.${good}`],
    ['a detached payload', `${head}..${signature}`],
    ['changed claims', `${head}.${changed}.${signature}`],
    ['no signature', `${head}.${body}.`],
    ['another issuer', await token({ iss: 'https://evil.example' })],
    ['another audience', await token({ aud: 'api://stock' })],
    ['no audience', await token({ aud: undefined })],
    ['expired', await token({ iat: now - 600, exp: now - 180 })],
    ['no exp', await token({ exp: undefined })],
    ['no sub', await token({ sub: undefined })],
    ['not yet', await token({ nbf: now + 180 })],
    ['issued in the future', await token({ iat: now + 180 })],
    ['typ', await token({}, { typ: 'logout+jwt' })],
    ['typ of an ID token', await token({}, { typ: 'id_token+jwt' })],
    ['a nonce', await token({ nonce: 'x' }, { typ: 'JWT' })],
    ['at_hash', await token({ at_hash: 'x' }, {})],
    ['bound to a key', await token({ cnf: { jkt: 'x' } })],
    ['events', await token({ events: {} }, { typ: 'JWT' })],
    ['typ ID, as Keycloak has it', await token({ typ: 'ID' }, { typ: 'JWT' })],
    ['opaque', 'opaque-token'],
    ['dots', '..'],
    ['not JSON', 'e30.e30.e30'],
    ['long', 'x'.repeat(8000)],
    ['an unknown kid', await token({}, { typ: 'at+jwt', kid: 'nobody' })],
  ]
  for (const [name, wrong] of rows) {
    const answer = await call(wrong)
    t.equal(answer.status, 401, name)
    t.equal(answer.headers['www-authenticate'], `Bearer realm="${new URL(url).host}", error="invalid_token"`, name)
    t.match(answer.json(), { code: 'invalid_token' })
    t.notOk(answer.json()['login_url'], 'no login would help')
    t.notOk(answer.headers['set-cookie'])
  }
  t.same(upstream.requests, [])
  t.equal((await call(good)).status, 200, 'the good one is good')
})

void t.test('plain JWTs and tokens with several audiences are accepted', async (t) => {
  const { token, call } = await start(t)
  for (const [name, mine] of [
    ['typ JWT', await token({}, { typ: 'JWT' })],
    ['no typ', await token({}, {})],
    ['application/at+jwt', await token({}, { typ: 'application/at+jwt' })],
    ['a list of audiences', await token({ aud: ['account', audience] })],
    ['a clock that is a little off', await token({ exp: Math.floor(Date.now() / 1000) - 10 })],
  ] as const)
    t.equal((await call(mine)).status, 200, name)
})

void t.test('an ID token is refused as an access token, even if the client itself is the audience', async (t) => {
  const running = await loggedIn(t)
  const { idp } = running
  const idToken = idp.secretsIssued.find((secret) => secret.split('.').length === 3) ?? ''
  const { aud } = JSON.parse(Buffer.from(idToken.split('.')[1] ?? '', 'base64url').toString()) as { aud: string }
  const api = await startGateway(t, {
    idp,
    config: { provider: { clientId: aud }, routes: [{ path: '/**', bearer: { audience: aud } }] },
  })
  const call = async (token: string): Promise<number> =>
    (await createBrowser().get(`${api.url}/api/echo`, { kind: 'none', headers: { authorization: `Bearer ${token}` } }))
      .status
  t.equal(await call(idToken), 401)
  const now = Math.floor(Date.now() / 1000)
  const bare = { iss: idp.issuer, aud, sub: 'alice', iat: now, exp: now + 60 }
  t.equal(await call(await idp.sign(bare, { typ: 'JWT' })), 401, 'a refreshed ID token has neither nonce nor at_hash')
  t.equal(
    await call(await idp.sign({ ...bare, scp: 'orders.read' }, { typ: 'JWT' })),
    200,
    'an access token has a scope',
  )
})

void t.test('a token has no effect on a route without bearer', async (t) => {
  const { token, call } = await start(t)
  const answer = await call(await token(), '/orders')
  t.match(answer.json(), { status: 401, code: 'login_required' })
  t.equal(answer.headers['www-authenticate'], 'Bearer')
})

void t.test('a bearer route without a token works like any other', async (t) => {
  const { url } = await start(t)
  t.match((await createBrowser().get(`${url}/api/echo`, { kind: 'script' })).json(), { code: 'login_required' })
  t.match(
    (await createBrowser().get(`${url}/api/echo`, { kind: 'none', headers: { authorization: 'Basic YTpi' } })).json(),
    { code: 'login_required' },
  )
  const browser = createBrowser()
  await browser.login(`${url}/`, 'bob')
  t.match(upstreamHeaders(await browser.get(`${url}/api/echo`, { kind: 'script' })), { 'x-user': 'bob' })
})

void t.test('a token takes precedence over a session cookie', async (t) => {
  const { url, token } = await start(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'bob')
  const mine = await token()
  t.match(
    upstreamHeaders(
      await browser.get(`${url}/api/echo`, { kind: 'script', headers: { authorization: `Bearer ${mine}` } }),
    ),
    { 'x-user': 'alice', 'authorization': `Bearer ${mine}` },
  )
  const wrong = await browser.get(`${url}/api/echo`, { kind: 'script', headers: { authorization: 'Bearer wrong' } })
  t.match(wrong.json(), { code: 'invalid_token' })
  t.notOk(wrong.headers['set-cookie'], 'the session stays')
  t.equal((await browser.get(`${url}/api/echo`, { kind: 'script' })).status, 200)
})

void t.test('a public route forwards any token, and an optional one refuses an invalid one', async (t) => {
  const { token, call } = await start(t)
  t.match(upstreamHeaders(await call('whatever', '/api/echo/public')), { authorization: 'Bearer whatever' })
  t.equal((await call('whatever', '/api/echo/optional')).status, 401)
  t.equal((await call(await token(), '/api/echo/optional')).status, 200)
})

void t.test('on an optional route no unverified token reaches the application, in any spelling', async (t) => {
  const optional = { path: '/ws', access: 'optional', bearer: { audience } }
  const { url, token, upstream } = await start(t, {
    routes: routes.map((route) => (route.path === '/ws' ? optional : route)),
  })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'bob')
  const cookie = `Cookie: ${browser.cookies.header(new URL(url), { crossSite: false, topLevelGet: true })}`
  const forged = `${encoded({ alg: 'none' })}.${encoded({ sub: 'root' })}.x`
  const [good, basic] = [`Bearer ${await token()}`, 'Basic YWxpY2U6cHc=']
  const fields = (...values: string[]): string[] => values.map((value) => `Authorization: ${value}`)
  const refused = [
    fields(`Bearer ${forged}`),
    fields(`Bearer\t${forged}`),
    fields(`bearer\t ${forged}`),
    fields(`Bearer ${forged} x`),
    fields(`Bearer ${forged},`),
    fields(`Bearer "${forged}"`),
    fields(`Bearer, Bearer ${forged}`),
    fields(`Bearer=${forged}`),
    fields(`Bearer${forged}`),
    fields(`BEARER:${forged}`),
    fields(`"Bearer ${forged}"`),
    fields(`, Bearer ${forged}`),
    fields('Bearer'),
    fields(basic, `Bearer ${forged}`),
    fields(basic, `bearer\t${forged}`),
    fields(basic, good),
    fields(`Bearer ${forged}`, good),
    [...fields(basic), `authorization: Bearer ${forged}`],
  ]
  for (const headers of refused) {
    for (const path of ['/api/echo/optional', '/api/echo', '/ws'])
      for (const session of [[], [cookie]]) {
        const answer = await ask(url, 'GET', path, [...headers, ...session])
        const what = `${path} ${headers.join(' | ')}${session.length === 0 ? '' : ' with a session'}`
        t.equal(answer.status, 401, what)
        t.same(
          answer.headers.get('www-authenticate'),
          [`Bearer realm="${new URL(url).host}", error="invalid_token"`],
          what,
        )
        t.same(answer.headers.get('gatehouse'), ['invalid_token'], what)
      }
    t.equal((await openWebSocket(`${url}/ws`, { headers: [...headers, `Origin: ${url}`] })).status, 401)
  }
  t.same(
    upstream.requests.filter(({ rawHeaders }) => rawHeaders.some((value) => value.includes(forged))),
    [],
  )
  const authorization = (): string[] => {
    const { rawHeaders = [] } = upstream.requests.at(-1) ?? {}
    return rawHeaders.filter((_, i) => /authorization/i.test(rawHeaders[i - 1] ?? ''))
  }
  const dropped = [
    [`Authorization_: Bearer ${forged}`],
    [`Authorization.: Bearer ${forged}`],
    fields(`Basic ${forged}`),
    fields(`${basic}, Bearer ${forged}`),
    fields(`Token ${forged}`),
    fields(`JWT ${forged}`),
    fields(`DPoP ${forged}`),
    fields(forged),
    fields(basic, basic),
    fields(basic, `Token ${forged}`),
  ]
  for (const headers of dropped) {
    t.equal((await ask(url, 'GET', '/api/echo/optional', headers)).status, 200)
    t.same(authorization(), [], headers.join(' | '))
  }
  t.equal((await ask(url, 'GET', '/api/echo/optional', fields(basic))).status, 200)
  t.same(authorization(), [basic], 'as on a public route')
  t.equal((await ask(url, 'GET', '/api/echo/optional', fields(good))).status, 200)
  t.same(authorization(), [good])
  t.equal((await ask(url, 'GET', '/api/echo/optional', [...fields(basic), cookie])).status, 200)
  t.notMatch(authorization(), [basic], 'with a session the application gets that one’s token')
  t.equal((await ask(url, 'GET', '/api/echo/public', fields(`Bearer\t${forged}`))).status, 200)
  t.same(authorization(), [`Bearer\t${forged}`], 'every token passes if none is verified')
})

void t.test('of two tokens in one request, the application gets the verified one', async (t) => {
  const { url, token, upstream } = await start(t)
  const mine = await token()
  const answer = await ask(url, 'GET', '/api/echo', [
    `Authorization: Bearer ${mine}`,
    'Authorization: Bearer never-verified',
    'X-Other: 1',
  ])
  t.equal(answer.status, 200)
  const sent = upstream.requests.at(-1)?.rawHeaders ?? []
  t.same(
    sent.filter((_, i) => sent[i - 1]?.toLowerCase() === 'authorization'),
    [`Bearer ${mine}`],
  )
  t.equal(
    (await ask(url, 'GET', '/api/echo', ['Authorization: Bearer never-verified', `Authorization: Bearer ${mine}`]))
      .status,
    401,
  )
})

void t.test('cross-origin protection applies to cookies, not to tokens', async (t) => {
  const { url, token } = await start(t)
  const answer = await createBrowser().post(`${url}/api/echo`, 'x', {
    kind: 'none',
    headers: {
      'authorization': `Bearer ${await token()}`,
      'origin': 'https://spa.example',
      'sec-fetch-site': 'cross-site',
    },
  })
  t.equal(answer.status, 200)
})

void t.test('claims rules apply to a token’s claims', async (t) => {
  const { token, call } = await start(t)
  const path = '/api/echo/admin'
  t.match((await call(await token(), path)).json(), { status: 403, code: 'forbidden' })
  t.match((await call(await token({ realm_access: { roles: ['user'] } }), path)).json(), {
    status: 403,
    code: 'forbidden',
  })
  t.equal(
    (await call(await token({ aud: 'api://other', realm_access: { roles: ['user', 'admin'] } }), path)).status,
    200,
  )
})

void t.test('a token from a sign-in that is too weak or too old gets the challenge of RFC 9470', async (t) => {
  const { token, call, url } = await start(t)
  const path = '/api/echo/strong'
  const realm = new URL(url).host
  const now = Math.floor(Date.now() / 1000)
  const weak = await call(await token({ acr: 'urn:demo:password', auth_time: now }), path)
  t.equal(weak.status, 401)
  t.equal(
    weak.headers['www-authenticate'],
    `Bearer realm="${realm}", error="insufficient_user_authentication", acr_values="urn:demo:mfa"`,
  )
  t.match(weak.json(), { code: 'step_up_required' })
  for (const auth_time of [now - 600, undefined]) {
    const old = await call(await token({ acr: 'urn:demo:mfa', auth_time }), path)
    t.equal(
      old.headers['www-authenticate'],
      `Bearer realm="${realm}", error="insufficient_user_authentication", max_age="300"`,
      `auth_time ${String(auth_time)}`,
    )
  }
  t.equal((await call(await token({ acr: 'urn:demo:mfa', auth_time: now }), path)).status, 200)
})

void t.test('an accepted token is refused after it expires', async (t) => {
  const { token, call } = await start(t)
  const mine = await token()
  t.equal((await call(mine)).status, 200)
  moveClock(t, 421_000)
  t.equal((await call(mine)).status, 401)
})

void t.test('a new key of the provider is fetched', async (t) => {
  const { token, call, idp } = await start(t)
  t.equal((await call(await token())).status, 200)
  await idp.rotateSigningKeys()
  t.equal((await call(await token())).status, 200)
})

void t.test('a token that can’t be verified at the moment yields a 503, not a 401', async (t) => {
  const { token, call, idp } = await start(t)
  idp.fail('jwks', { status: 503 })
  const answer = await call(await token())
  t.match(answer.json(), { status: 503, code: 'provider_unavailable' })
  t.ok(answer.headers['retry-after'])
  idp.fail('jwks', null)
  t.equal((await call(await token())).status, 200)
})

void t.test('a WebSocket opens with a token', async (t) => {
  const { url, token, upstream } = await start(t)
  const mine = await token()
  const socket = await openWebSocket(`${url}/ws`, {
    headers: [`Authorization: Bearer ${mine}`, 'Origin: https://spa.example'],
  })
  t.equal(socket.status, 101)
  t.equal(upstream.requests.at(-1)?.headers.authorization, `Bearer ${mine}`)
  socket.socket.destroy()
  t.equal(
    (await openWebSocket(`${url}/ws`, { headers: ['Authorization: Bearer wrong'] })).headers.get('www-authenticate'),
    `Bearer realm="${new URL(url).host}", error="invalid_token"`,
  )
})

void t.test('no token is in the log', async (t) => {
  const { token, call, log } = await start(t)
  const mine = [await token(), await token({ exp: 1 }), 'some-opaque-token']
  for (const one of mine) await call(one)
  for (const one of mine) t.notOk(log.join('\n').includes(one))
})

void t.test('the log says what is wrong with a token, and contains no part of it', async (t) => {
  const { token, call, events, idp, log } = await start(t)
  const now = Math.floor(Date.now() / 1000)
  const rows: [string, string | RegExp][] = [
    [await token({ aud: 'account' }), 'its aud is "account", not "api://orders"'],
    [await token({ aud: undefined }), /aud/],
    [await token({ iss: 'https://evil.example' }), `its iss is "https://evil.example", not "${idp.issuer}"`],
    [await token({ exp: now - 180 }), `it has expired (exp ${now - 180})`],
    [await token({ sub: '' }), 'its sub is empty or too long'],
    [await token({ cnf: { jkt: 'x' } }), 'it is bound to a key of the client (cnf)'],
    [await token({}, { typ: 'logout+jwt' }), 'its typ is "logout+jwt", not at+jwt'],
    [await token({ nonce: 'x' }, { typ: 'JWT' }), 'it is an ID token or of another kind'],
    ['opaque-token', 'it is not a JWT'],
  ]
  for (const [wrong, why] of rows) {
    t.equal((await call(wrong)).status, 401)
    t.match(events('invalid_token').at(-1), { why })
    t.notOk(log.join('').includes(wrong))
  }
})

void t.test('a token is accepted by its client, regardless of its audience', async (t) => {
  const { token, call } = await start(t, {
    routes: [{ path: '/**', bearer: { clientIds: ['robot', 'cron'] } }],
  })
  const rows: [number, string, Record<string, unknown>][] = [
    [200, 'client_id', { client_id: 'cron', aud: undefined }],
    [200, 'azp', { client_id: undefined, azp: 'robot', scope: 'openid' }],
    [401, 'another client', { client_id: 'spa' }],
    [401, 'another client with an accepted azp', { client_id: 'spa', azp: 'robot' }],
    [401, 'no client', { client_id: undefined }],
    [401, 'an ID token', { client_id: undefined, azp: 'robot', aud: 'robot' }],
  ]
  for (const [status, name, claims] of rows)
    t.equal((await call(await token(claims, { typ: 'JWT' }))).status, status, name)
})

void t.test('the ID token of a login is refused, also where the clients of tokens decide', async (t) => {
  const running = await loggedIn(t)
  const { idp, config } = running
  const { clientId } = config.provider
  const api = await startGateway(t, {
    idp,
    config: {
      provider: { clientId },
      routes: [{ path: '/**', bearer: { audience: clientId, clientIds: clientId } }],
    },
  })
  const [idToken = ''] = idp.secretsIssued.filter((secret) => secret.split('.').length === 3)
  const claims = JSON.parse(Buffer.from(idToken.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
  const { nonce: _nonce, at_hash: _hash, ...bare } = claims
  for (const [name, one] of [
    ['as issued', idToken],
    ['without nonce and at_hash', await idp.sign(bare, { typ: 'JWT' })],
    ['with azp', await idp.sign({ ...bare, azp: clientId }, { typ: 'JWT' })],
    ['with another azp', await idp.sign({ ...bare, azp: 'robot' }, { typ: 'JWT' })],
    ['for two audiences', await idp.sign({ ...bare, aud: [clientId, audience], azp: clientId }, { typ: 'JWT' })],
  ] as const)
    t.equal((await callWith(api, one)).status, 401, name)
})

void t.test('bearer.require counts for clients in place of require, and require for sessions', async (t) => {
  const require = { claims: { groups: ['board'] }, acr: 'urn:demo:mfa' }
  const own = { require: { claims: { client_id: 'robot' }, networks: '127.0.0.0/8' } }
  const { token, call, url } = await start(t, {
    routes: [
      { path: '/**' },
      { path: '/api/echo', require, bearer: { audience, ...own } },
      { path: '/api/echo/same', require, bearer: { audience } },
      { path: '/api/echo/optional', access: 'optional', bearer: { audience, ...own } },
      { path: '/api/echo/recent', bearer: { audience, require: { maxAge: '5m' } } },
    ],
  })
  t.equal((await call(await token())).status, 200)
  t.equal((await call(await token(), '/api/echo/optional')).status, 200)
  const spa = await token({ client_id: 'spa' })
  t.match((await call(spa)).json(), { status: 403, code: 'forbidden' })
  t.match((await call(spa, '/api/echo/optional')).json(), { status: 403, code: 'forbidden' })
  t.match((await call(await token(), '/api/echo/same')).json(), { status: 401, code: 'step_up_required' })
  const old = await call(await token({ auth_time: 1 }), '/api/echo/recent')
  t.match(old.headers['www-authenticate'], /error="insufficient_user_authentication".*max_age="300"/)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'bob')
  t.match((await browser.get(`${url}/api/echo`, { kind: 'script' })).json(), { code: 'step_up_required' })
  t.equal((await browser.get(`${url}/api/echo/optional`, { kind: 'script' })).status, 200)
})
