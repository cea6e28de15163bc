import t, { type Test } from 'tap'
import { startScriptedProvider, type ScriptedProvider } from '../oidc/scripted-provider.ts'
import { createBrowser } from '../support/browser.ts'
import type { Answer } from '../support/exchange.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { ask } from '../support/raw-http.ts'
import { startTwo } from '../support/two-providers.ts'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

const mcp = { path: '/mcp/**', bearer: { metadata: true, scopes: ['orders.read', 'orders.write'] } }

const get = async (url: string, headers: Record<string, string> = {}): Promise<Answer> =>
  createBrowser().get(url, { kind: 'none', headers })

const start = async (t: Test, routes: readonly object[], config: object = {}): Promise<Running> =>
  startGateway(t, { config: { routes, ...config } })

void t.test('the metadata of a route names the resource, the provider and the scopes', async (t) => {
  const { url, idp } = await start(t, [{ path: '/**' }, mcp])
  for (const path of ['/mcp', '/mcp/']) {
    const answer = await get(`${url}${WELL_KNOWN}${path}`)
    t.equal(answer.status, 200)
    t.same(answer.json(), {
      resource: `${url}/mcp`,
      authorization_servers: [idp.issuer],
      scopes_supported: ['orders.read', 'orders.write'],
      bearer_methods_supported: ['header'],
      resource_name: '127.0.0.1',
    })
    t.match(answer.headers['content-type'], /^application\/json/)
    t.equal(answer.headers['access-control-allow-origin'], '*')
    t.match(answer.headers['cache-control'], /^public, max-age=[1-9]/)
    t.notOk(answer.headers['set-cookie'])
  }
})

void t.test('the metadata says whether tokens may or must be bound with DPoP', async (t) => {
  for (const dpop of ['accepted', 'required']) {
    const { url } = await start(t, [{ path: '/**', bearer: { metadata: true, dpop } }])
    const metadata = (await get(url + WELL_KNOWN)).json()
    t.equal(metadata['dpop_bound_access_tokens_required'], dpop === 'required')
    const [, algs] = / algs="([^"]+)"/.exec(String((await get(`${url}/x`)).headers['www-authenticate'])) ?? []
    t.same(metadata['dpop_signing_alg_values_supported'], algs?.split(' '), 'the same as in the challenge')
  }
})

void t.test('the suffix of the metadata URL is the path up to its wildcard', async (t) => {
  const rows: [path: string, suffix: string][] = [
    ['/**', ''],
    ['/', ''],
    ['/mcp', '/mcp'],
    ['/mcp/', '/mcp'],
    ['/tools/mcp/**', '/tools/mcp'],
    ['/tools/*', '/tools'],
    ['/caf%C3%A9/**', '/caf%C3%A9'],
  ]
  for (const [path, suffix] of rows) {
    const { url } = await start(t, [{ path, bearer: { metadata: true } }], { pages: { title: 'Orders' } })
    const answer = await get(`${url}${WELL_KNOWN}${suffix}`)
    t.match(answer.json(), { resource: `${url}${suffix}`, resource_name: 'Orders' }, path)
    t.notOk('scopes_supported' in answer.json(), 'an empty list must be omitted')
    t.equal((await get(`${url}${WELL_KNOWN}${suffix}/`)).status, 200, `${path}, with a slash`)
    t.not((await get(`${url}${WELL_KNOWN}${suffix}/other`)).status, 200, path)
  }
})

void t.test('the 401 of the route leads to its metadata', async (t) => {
  const { url } = await start(t, [{ path: '/**' }, mcp])
  const challenge = (error = ''): string =>
    `Bearer realm="${new URL(url).host}", scope="orders.read orders.write"${error}, ` +
    `resource_metadata="${url}${WELL_KNOWN}/mcp"`
  const anonymous = await get(`${url}/mcp/tools?x=1`)
  t.match(anonymous.json(), { status: 401, code: 'login_required', login_url: `${url}/oauth2/login` })
  t.equal(anonymous.headers['www-authenticate'], challenge(), 'without a token, there is no error')
  const wrong = await get(`${url}/mcp`, { authorization: 'Bearer wrong' })
  t.match(wrong.json(), { status: 401, code: 'invalid_token' })
  t.equal(wrong.headers['www-authenticate'], challenge(', error="invalid_token"'))
  const person = await createBrowser().get(`${url}/mcp`)
  t.match(person.headers.location, /\/oauth2\/login\?redirect=%2Fmcp$/, 'a navigation is redirected')
  t.equal((await get(`${url}/orders`)).headers['www-authenticate'], 'Bearer', 'other routes have the plain challenge')
})

void t.test('the 401 has one WWW-Authenticate for scripts, forms and upgrades', async (t) => {
  const { url } = await start(t, [mcp])
  const expected = [
    `Bearer realm="${new URL(url).host}", scope="orders.read orders.write", ` +
      `resource_metadata="${url}${WELL_KNOWN}/mcp"`,
  ]
  const form = ['Content-Type: application/x-www-form-urlencoded', 'Accept: text/html', 'Content-Length: 0']
  for (const [method, headers] of [
    ['GET', []],
    ['POST', form],
    ['DELETE', []],
    ['GET', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: eA==']],
  ] as const) {
    const answer = await ask(url, method, '/mcp', headers)
    t.equal(answer.status, 401)
    t.same(answer.headers.get('www-authenticate'), expected, `${method} ${headers.join(', ')}`)
  }
})

/** Returns a function that calls `/mcp` with an access token of alice with these claims. */
const callerOf =
  (url: string, idp: Awaited<ReturnType<typeof start>>['idp']) =>
  async (claims: Record<string, unknown>): Promise<Answer> => {
    const exp = Math.floor(Date.now() / 1000) + 60
    const token = await idp.sign(
      { iss: idp.issuer, aud: `${url}/mcp`, sub: 'alice', exp, ...claims },
      { typ: 'at+jwt' },
    )
    return get(`${url}/mcp`, { authorization: `Bearer ${token}` })
  }

void t.test('a token without all scopes gets a 403 that names them', async (t) => {
  const { url, idp } = await start(t, [mcp])
  const call = callerOf(url, idp)
  for (const claims of [
    {},
    { scope: 'orders.read' },
    { scope: 'orders.readorders.write' },
    { scp: ['orders.write', 'openid'] },
    { scope: ['orders.read'], scp: 1 },
  ]) {
    const answer = await call(claims)
    t.match(answer.json(), { status: 403, code: 'forbidden' }, JSON.stringify(claims))
    t.equal(
      answer.headers['www-authenticate'],
      `Bearer realm="${new URL(url).host}", scope="orders.read orders.write", error="insufficient_scope", ` +
        `resource_metadata="${url}${WELL_KNOWN}/mcp"`,
    )
  }
  for (const claims of [
    { scope: 'openid orders.write orders.read' },
    { scp: 'orders.read orders.write' },
    { scope: ['orders.read', 'orders.write'] },
    { scp: ['orders.write'], scope: 'orders.read' },
    { scp: ['orders.write', 'orders.read'], aud: ['other', `${url}/mcp/`] },
  ])
    t.equal((await call(claims)).status, 404, `${JSON.stringify(claims)} reaches the application`)
  t.equal((await call({ scope: 'orders.read orders.write', aud: url })).status, 401, 'the origin is another resource')
})

void t.test('a scope of Entra ID is requested with the URI of the application, and issued without it', async (t) => {
  const scopes = ['api://orders/orders.read']
  const { url, idp } = await start(t, [{ path: '/mcp/**', bearer: { metadata: true, scopes } }])
  const call = callerOf(url, idp)
  t.equal((await call({ scp: 'orders.write orders.read' })).status, 404, 'reaches the application')
  for (const claims of [{ scp: 'read' }, { scp: ['orders.read'] }, { scope: 'orders.read' }])
    t.equal((await call(claims)).status, 403, JSON.stringify(claims))
  const mail = { path: '/**', bearer: { audience: 'x', scopes: ['https://mail.example.com/'] } }
  const other = await start(t, [mail], { provider: { issuer: idp.issuer } })
  const none = { iss: idp.issuer, aud: 'x', sub: 'alice', exp: Math.floor(Date.now() / 1000) + 60, scp: ' ' }
  const token = await idp.sign(none, { typ: 'at+jwt' })
  t.equal((await get(other.url, { authorization: `Bearer ${token}` })).status, 403, 'a scope without a name')
})

void t.test('a session needs no scopes', async (t) => {
  const { url, browser } = await loggedIn(t, { config: { routes: [{ ...mcp, path: '/**' }] } })
  t.equal((await browser.get(`${url}/api/echo`, { kind: 'script' })).status, 200)
})

void t.test('pages of every origin may read the metadata, with the headers of MCP clients', async (t) => {
  const { url } = await start(t, [mcp])
  const paths = [`${WELL_KNOWN}/mcp`, '/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']
  for (const path of paths) {
    const preflight = await ask(url, 'OPTIONS', path, [
      'Origin: https://inspector.example',
      'Access-Control-Request-Method: GET',
      'Access-Control-Request-Headers: mcp-protocol-version',
    ])
    t.equal(preflight.status, 204, path)
    t.same(preflight.headers.get('access-control-allow-origin'), ['*'])
    t.match(preflight.headers.get('access-control-allow-headers'), [/^MCP-Protocol-Version\b/])
    t.match(preflight.headers.get('access-control-allow-methods'), [/^GET\b/])
    t.same((await ask(url, 'GET', path, ['Origin: null'])).headers.get('access-control-allow-origin'), ['*'])
    const refused = await ask(url, 'POST', path, ['Content-Length: 0'])
    t.equal(refused.status, 405, path)
    t.same(refused.headers.get('allow'), ['GET, HEAD, OPTIONS'])
    const head = await ask(url, 'HEAD', path)
    t.same([head.status, head.body.length], [200, 0])
  }
})

void t.test('the metadata is outside the rate limits', async (t) => {
  const { url } = await start(t, [mcp], { rateLimit: { login: '1/1m', session: '1/1m', requests: '1/1m' } })
  for (let i = 0; i < 3; i += 1) t.equal((await get(`${url}${WELL_KNOWN}/mcp`)).status, 200)
})

void t.test('the provider’s document is that of the resource’s origin too', async (t) => {
  const { url, idp } = await start(t, [mcp])
  const own = (await get(`${idp.issuer}/.well-known/openid-configuration`)).json()
  for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']) {
    const answer = await get(url + path)
    t.same(answer.json(), own, path)
    t.match(answer.headers['cache-control'], /^public, max-age=[1-9]/)
  }
})

void t.test(
  'while the provider is unavailable, the metadata names the configured issuer, and the provider’s document yields a 503',
  async (t) => {
    const port = await freePort()
    const issuer = `http://127.0.0.1:${port}/realms/orders`
    const { url } = await start(t, [mcp], { provider: { issuer } })
    t.match((await get(`${url}${WELL_KNOWN}/mcp`)).json(), { authorization_servers: [issuer] })
    for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']) {
      const away = await get(url + path)
      t.match(away.json(), { status: 503, code: 'provider_unavailable' })
      t.ok(away.headers['retry-after'])
      t.equal(away.headers['access-control-allow-origin'], '*')
    }
  },
)

void t.test('other addresses below /.well-known/ belong to the application', async (t) => {
  const routes = [{ path: '/**', access: 'public' }, mcp]
  const { url, upstream } = await start(t, routes)
  for (const path of [WELL_KNOWN, `${WELL_KNOWN}/orders`, '/.well-known/security.txt', `${WELL_KNOWN}/mcp/tools`]) {
    await get(url + path)
    t.equal(upstream.requests.at(-1)?.url, path)
  }
  const without = await start(t, [
    { path: '/**', access: 'public' },
    { path: '/mcp/**', bearer: { audience: 'x' } },
  ])
  for (const path of [`${WELL_KNOWN}/mcp`, '/.well-known/openid-configuration']) {
    await get(without.url + path)
    t.equal(without.upstream.requests.at(-1)?.url, path, 'without metadata')
  }
  const own = { path: '/.well-known/openid-configuration', access: 'public' }
  const issuing = await start(t, [own, mcp])
  await get(issuing.url + own.path)
  t.equal(issuing.upstream.requests.at(-1)?.url, own.path, 'an application that is a provider keeps its document')
})

void t.test('an address that a server could read as that of the metadata is refused', async (t) => {
  const { url, upstream } = await start(t, [{ path: '/**', access: 'public' }, mcp])
  for (const path of [
    `/.well-known/oauth%2dprotected-resource/mcp`,
    `/x/..${WELL_KNOWN}/mcp`,
    `/${WELL_KNOWN}/mcp`,
    `${WELL_KNOWN.toUpperCase()}/mcp`,
    `${WELL_KNOWN};x/mcp`,
  ]) {
    const answer = await ask(url, 'GET', path)
    t.equal(answer.status, 400, path)
    t.same(answer.headers.get('gatehouse'), ['ambiguous_path'])
  }
  t.same(upstream.requests, [])
})

void t.test('a resource has the origin of the request, and a route with a host only that host', async (t) => {
  const publicUrl = ['https://a.example.com', 'https://b.example.com:8443', 'https://c.example.com']
  const routes = [
    { path: '/**', access: 'public' },
    { path: '/mcp/**', host: 'a.example.com', bearer: { metadata: true, scopes: ['a'] } },
    { path: '/mcp/**', host: 'b.example.com', bearer: { metadata: true, scopes: ['b'] } },
  ]
  const { url, upstream } = await startGateway(t, { config: { publicUrl, routes } })
  const at = async (host: string): Promise<Record<string, unknown>> => {
    const answer = await ask(url, 'GET', `${WELL_KNOWN}/mcp`, [`Host: ${host}`])
    t.equal(answer.status, 200)
    return JSON.parse(answer.body.toString())
  }
  t.match(await at('a.example.com'), { resource: 'https://a.example.com/mcp', scopes_supported: ['a'] })
  t.match(await at('b.example.com:8443'), { resource: 'https://b.example.com:8443/mcp', scopes_supported: ['b'] })
  await ask(url, 'GET', `${WELL_KNOWN}/mcp`, ['Host: c.example.com'])
  t.equal(upstream.requests.length, 1, 'the address of a third host belongs to its application')
})

void t.test(
  'at a host with a route of its own, a route for all hosts does not decide, whatever the order',
  async (t) => {
    const anywhere = { path: '/mcp/**', provider: 'staff', bearer: { metadata: true } }
    const routes = [anywhere, { ...anywhere, path: '/tools/**', host: 'b.example.com', provider: 'partners' }]
    const { url, staff, partners } = await startTwo(t, {
      config: { publicUrl: ['https://a.example.com', 'https://b.example.com'], routes },
    })
    const at = async (host: string, path: string): Promise<Record<string, unknown>> =>
      JSON.parse((await ask(url, 'GET', path, [`Host: ${host}`])).body.toString())
    for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']) {
      t.match(await at('a.example.com', path), { issuer: staff.issuer }, path)
      t.match(await at('b.example.com', path), { issuer: partners.issuer }, path)
    }
  },
)

void t.test('with several providers, the metadata names those that the route allows', async (t) => {
  const routes = [
    { path: '/all/**', bearer: { metadata: true } },
    { path: '/one/**', provider: 'partners', bearer: { metadata: true } },
  ]
  const { url, staff, partners } = await startTwo(t, { config: { routes } })
  const issuers = async (path: string): Promise<unknown> =>
    (await get(`${url}${WELL_KNOWN}${path}`)).json()['authorization_servers']
  t.same(await issuers('/all'), [staff.issuer, partners.issuer])
  t.same(await issuers('/one'), [partners.issuer])
})

void t.test(
  'the provider is named letter by letter as it names itself, by an address that clients can use',
  async (t) => {
    const named = async ({ issuer, document }: ScriptedProvider, settings: object = {}): Promise<unknown> => {
      const { url } = await start(t, [mcp], { provider: { issuer, ...settings } })
      // The provider's document is the response only after the discovery.
      const own = await get(`${url}/.well-known/openid-configuration`)
      t.same(own.json(), document, 'the document with all its members')
      return (await get(`${url}${WELL_KNOWN}/mcp`)).json()['authorization_servers']
    }
    const slash = await startScriptedProvider(t)
    Object.assign(slash.document, { issuer: `${slash.issuer}/`, claims_supported: null })
    t.same(await named(slash), [`${slash.issuer}/`])
    const provider = await startScriptedProvider(t, '/tenant/v2.0')
    const { document, origin, issuer } = provider
    document['issuer'] = `${origin}/{tenantid}/v2.0`
    t.same(await named(provider), [issuer], 'a template is no address')
    document['issuer'] = issuer
    const browserIssuerUrl = 'https://login.example.com'
    t.same(
      await named(provider, { browserIssuerUrl }),
      [`${browserIssuerUrl}/tenant/v2.0`],
      'the provider has an inner address',
    )
  },
)

void t.test('pages of another origin read the 401 of a route with cors', async (t) => {
  const origin = 'https://inspector.example'
  const { url } = await start(t, [
    { ...mcp, cors: { origins: [origin] }, bearer: { metadata: true, dpop: 'accepted' } },
  ])
  const preflight = await ask(url, 'OPTIONS', '/mcp', [
    `Origin: ${origin}`,
    'Access-Control-Request-Method: POST',
    'Access-Control-Request-Headers: authorization,dpop,mcp-protocol-version,mcp-session-id',
  ])
  t.equal(preflight.status, 204)
  t.same(preflight.headers.get('access-control-allow-headers'), [
    'authorization,dpop,mcp-protocol-version,mcp-session-id',
  ])
  const denied = await get(`${url}/mcp`, { origin, authorization: 'DPoP wrong' })
  t.match(denied.headers, {
    'access-control-allow-origin': origin,
    'access-control-expose-headers': 'WWW-Authenticate, Mcp-Session-Id, DPoP-Nonce',
  })
  t.match(denied.headers['www-authenticate'], /^Bearer realm=.* error="invalid_dpop_proof"$/)
  t.ok(denied.headers['dpop-nonce'])
})
