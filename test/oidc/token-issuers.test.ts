import { generateKeyPair, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { callWith, receivedHeaders } from '../support/api-client.ts'
import { createBrowser } from '../support/browser.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { startScriptedProvider } from './scripted-provider.ts'

const shared = { idp: await startIdp(), upstream: await startUpstream() }
t.teardown(async () => Promise.all([shared.idp.close(), shared.upstream.close()]))

const AUDIENCE = 'api://orders'
const seconds = (): number => Math.floor(Date.now() / 1000)

const start = async (t: Test, issuers: readonly object[], config: object = {}): Promise<Running> =>
  startGateway(t, {
    ...shared,
    config: {
      routes: [
        {
          path: '/**',
          bearer: { audience: AUDIENCE, issuers },
          headers: { set: { 'X-User': '{claims.sub}', 'X-Provider': '{provider}' } },
        },
      ],
      ...config,
    },
  })

/** What the tokens of build services, clusters and access proxies contain. Their `typ` is the one of any JWT, or missing. */
const TOKENS: readonly { name: string; header: { typ?: string }; claims: Record<string, unknown> }[] = [
  {
    name: 'GitHub Actions',
    header: { typ: 'JWT' },
    claims: {
      jti: 'd1f8b8c2-6d0b-4d7e-8a2b-3f7f2f1f7c11',
      sub: 'repo:octo-org/octo-repo:environment:prod',
      environment: 'prod',
      ref: 'refs/heads/main',
      sha: '8f0f5d5b8b6f4c2d9d3a7e1f6a5b4c3d2e1f0a9b',
      repository: 'octo-org/octo-repo',
      repository_owner: 'octo-org',
      actor_id: '12',
      repository_visibility: 'private',
      repository_id: '74',
      repository_owner_id: '65',
      run_id: '4711',
      run_number: '10',
      run_attempt: '2',
      runner_environment: 'github-hosted',
      actor: 'octocat',
      workflow: 'deploy',
      head_ref: '',
      base_ref: '',
      event_name: 'workflow_dispatch',
      ref_type: 'branch',
      job_workflow_ref: 'octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main',
    },
  },
  {
    name: 'a service account of Kubernetes',
    header: {},
    claims: {
      'sub': 'system:serviceaccount:shop:orders',
      'jti': '0b2c1d6e-6a0a-4cf5-9fd0-5d2d7a5f0c11',
      'kubernetes.io': {
        namespace: 'shop',
        pod: { name: 'orders-7d9', uid: 'aa1' },
        serviceaccount: { name: 'orders', uid: 'bb2' },
        warnafter: 1_900_000_000,
      },
    },
  },
  {
    name: 'GitLab CI',
    header: { typ: 'JWT' },
    claims: {
      jti: 'c82eeb0c-5c6f-4a33-abf5-4c474b92b558',
      sub: 'project_path:shop/orders:ref_type:branch:ref:main',
      namespace_id: '1',
      namespace_path: 'shop',
      project_id: '22',
      project_path: 'shop/orders',
      user_id: '42',
      user_login: 'alice',
      user_email: 'alice@example.com',
      pipeline_id: '1212',
      pipeline_source: 'web',
      job_id: '3434',
      ref: 'main',
      ref_type: 'branch',
      ref_protected: 'true',
      runner_environment: 'gitlab-hosted',
    },
  },
  {
    name: 'Cloudflare Access',
    header: { typ: 'JWT' },
    claims: {
      email: 'alice@example.com',
      type: 'app',
      identity_nonce: '6ei69kawdKzMIAPF',
      sub: '7335d417-61da-459d-899c-0a01c76a2f94',
      country: 'DE',
    },
  },
  {
    name: 'a service account of Google',
    header: { typ: 'JWT' },
    claims: {
      azp: '104029292853099978239',
      email: 'ci@shop.iam.gserviceaccount.com',
      email_verified: true,
      sub: '104029292853099978239',
    },
  },
]

void t.test('tokens of build services and clusters admit them, which are not users of the provider', async (t) => {
  const issuer = await startScriptedProvider(t)
  // The gateway has this client ID at its own provider, and another issuer knows nothing of that.
  const audience = 'orders'
  const gateway = await start(t, [{ issuer: issuer.issuer, audience }], {
    provider: null,
    providers: Object.fromEntries(
      ['one', 'two'].map((name) => [name, { issuer: shared.idp.issuer, clientId: audience, clientSecret: 'x' }]),
    ),
  })
  for (const { name, header, claims } of TOKENS) {
    const times = { iat: seconds(), nbf: seconds() - 5, exp: seconds() + 300 }
    const token = await issuer.sign({ iss: issuer.issuer, aud: [audience], ...times, ...claims }, header)
    const answer = await callWith(gateway, token)
    t.equal(answer.status, 200, name)
    t.match(receivedHeaders(answer), { 'x-user': claims['sub'], 'authorization': `Bearer ${token}` })
    t.notOk('x-provider' in receivedHeaders(answer), name)
  }
  t.equal(issuer.asked('/keys'), 1, 'the keys are read once')
  t.equal(issuer.asked('/.well-known/openid-configuration'), 1)
})

void t.test('a token of another issuer must be an access token for the right audience, and unchanged', async (t) => {
  const [issuer, other] = [await startScriptedProvider(t), await startScriptedProvider(t)]
  const gateway = await start(t, [
    { issuer: issuer.issuer, audience: ['orders', 'stock'] },
    { issuer: other.issuer, audience: 'other' },
  ])
  const good = { iss: issuer.issuer, aud: 'orders', sub: 'ci', iat: seconds(), exp: seconds() + 300 }
  const { privateKey } = await generateKeyPair('RS256')
  const ofIdp = { ...good, iss: shared.idp.issuer, client_id: 'robot' }
  const rows: [number, string, string][] = [
    [200, 'an audience', await issuer.sign(good)],
    [200, 'another audience of the issuer', await issuer.sign({ ...good, aud: 'stock' })],
    [200, 'a token of the provider', await shared.idp.sign({ ...ofIdp, aud: AUDIENCE }, { typ: 'at+jwt' })],
    [401, 'the audience of the provider’s tokens', await issuer.sign({ ...good, aud: AUDIENCE })],
    [401, 'the audience of the other issuer', await issuer.sign({ ...good, aud: 'other' })],
    [401, 'the audience of the issuer, from the provider', await shared.idp.sign(ofIdp, { typ: 'at+jwt' })],
    [401, 'the key of the other issuer', await other.sign(good)],
    [401, 'an unknown key', await new SignJWT(good).setProtectedHeader({ alg: 'RS256' }).sign(privateKey)],
    [401, 'the issuer with a slash', await issuer.sign({ ...good, iss: `${issuer.issuer}/` })],
    [401, 'the issuer in capitals', await issuer.sign({ ...good, iss: issuer.issuer.toUpperCase() })],
    [401, 'no issuer', await issuer.sign({ ...good, iss: undefined as unknown as string })],
    [401, 'an issuer that is not listed', await issuer.sign({ ...good, iss: 'https://evil.example' })],
    [401, 'expired', await issuer.sign({ ...good, exp: seconds() - 300 })],
    [401, 'without exp', await issuer.sign({ ...good, exp: undefined as unknown as number })],
    [401, 'without sub', await issuer.sign({ ...good, sub: undefined as unknown as string })],
    [401, 'an ID token', await issuer.sign({ ...good, nonce: 'x' }, { typ: 'JWT' })],
    [401, 'an ID token of a client', await issuer.sign({ ...good, azp: 'orders' }, { typ: 'JWT' })],
    [401, 'a logout token', await issuer.sign(good, { typ: 'logout+jwt' })],
    [401, 'bound to a key', await issuer.sign({ ...good, cnf: { jkt: 'x' } })],
  ]
  for (const [status, name, token] of rows) t.equal((await callWith(gateway, token)).status, status, name)
})

void t.test('an issuer without an audience of its own has those of the route, and its clients', async (t) => {
  const issuer = await startScriptedProvider(t)
  const bearer = { audience: AUDIENCE, clientIds: ['ci'], issuers: [{ issuer: issuer.issuer }] }
  const gateway = await start(t, [], { routes: [{ path: '/**', bearer }] })
  const claims = { iss: issuer.issuer, sub: 'ci', iat: seconds(), exp: seconds() + 300 }
  t.equal((await callWith(gateway, await issuer.sign({ ...claims, aud: AUDIENCE }))).status, 200)
  t.equal((await callWith(gateway, await issuer.sign({ ...claims, client_id: 'ci' }))).status, 200)
  t.equal((await callWith(gateway, await issuer.sign({ ...claims, client_id: 'cd' }))).status, 401)
})

void t.test('keys are found by OpenID Connect metadata, by OAuth metadata, or at jwksUri', async (t) => {
  const oauth = await startScriptedProvider(t, '/realms/ci')
  oauth.paths.set('/.well-known/oauth-authorization-server/realms/ci', {
    issuer: oauth.issuer,
    jwks_uri: `${oauth.origin}/keys`,
  })
  oauth.paths.delete('/realms/ci/.well-known/openid-configuration')
  const cluster = await startScriptedProvider(t)
  cluster.paths.delete('/.well-known/openid-configuration')
  const inCluster = 'https://kubernetes.default.svc.cluster.local'
  const gateway = await start(t, [{ issuer: oauth.issuer }, { issuer: inCluster, jwksUri: `${cluster.origin}/keys` }])
  const claims = { aud: AUDIENCE, sub: 'ci', iat: seconds(), exp: seconds() + 300 }
  t.equal((await callWith(gateway, await oauth.sign({ iss: oauth.issuer, ...claims }))).status, 200)
  t.equal((await callWith(gateway, await cluster.sign({ iss: inCluster, ...claims }))).status, 200)
  t.equal(cluster.asked('/.well-known/openid-configuration'), 0)
})

void t.test('routes share the keys of an issuer, and a new key is found at once', async (t) => {
  const issuer = await startScriptedProvider(t)
  const bearer = { audience: AUDIENCE, issuers: [{ issuer: issuer.issuer }] }
  const gateway = await start(t, [], {
    routes: ['/**', '/api/echo/other'].map((path) => ({ path, bearer })),
  })
  const claims = { iss: issuer.issuer, aud: AUDIENCE, sub: 'ci', iat: seconds(), exp: seconds() + 300 }
  for (const path of ['/api/echo', '/api/echo/other', '/api/echo'])
    t.equal((await callWith(gateway, await issuer.sign({ ...claims, jti: path }), path)).status, 200)
  t.equal(issuer.asked('/keys'), 1)
  await issuer.rotate()
  t.equal((await callWith(gateway, await issuer.sign(claims))).status, 200)
  t.equal(issuer.asked('/keys'), 2)
  for (let i = 0; i < 3; i += 1) {
    await issuer.rotate()
    t.equal((await callWith(gateway, await issuer.sign({ ...claims, jti: String(i) }))).status, 401)
  }
  t.equal(issuer.asked('/keys'), 2, 'a search at most every 10 s')
})

void t.test(
  'an issuer that is unavailable delays neither start nor readiness, and fails its own tokens only',
  async (t) => {
    const port = await freePort()
    const away = `http://127.0.0.1:${port}`
    const issuer = await startScriptedProvider(t)
    const gateway = await start(t, [{ issuer: away }, { issuer: issuer.issuer }], {
      admin: { listen: `127.0.0.1:${await freePort()}` },
    })
    const { admin } = gateway.config
    const adminUrl = admin === null || !('port' in admin.listen) ? '' : `http://127.0.0.1:${admin.listen.port}`
    await eventually(async () => (await createBrowser().get(`${adminUrl}/readyz`, { kind: 'none' })).status === 200)
    const claims = { aud: AUDIENCE, sub: 'ci', iat: seconds(), exp: seconds() + 300 }
    const answer = await callWith(gateway, await issuer.sign({ iss: away, ...claims }))
    t.match(answer.json(), { status: 503, code: 'provider_unavailable' })
    t.ok(answer.headers['retry-after'])
    t.equal((await callWith(gateway, await issuer.sign({ iss: issuer.issuer, ...claims }))).status, 200)
    const own = { ...claims, iss: shared.idp.issuer, client_id: 'robot' }
    t.equal((await callWith(gateway, await shared.idp.sign(own, { typ: 'at+jwt' }))).status, 200)
    t.equal((await createBrowser().get(`${adminUrl}/readyz`, { kind: 'none' })).status, 200)
  },
)

void t.test('an issuer whose keys cannot be trusted or read yields a 503 until they can', async (t) => {
  const issuer = await startScriptedProvider(t)
  const gateway = await start(t, [{ issuer: issuer.issuer }])
  const claims = { iss: issuer.issuer, aud: AUDIENCE, sub: 'ci', iat: seconds(), exp: seconds() + 300 }
  const call = async (): Promise<number> => (await callWith(gateway, await issuer.sign(claims))).status
  const causes: [object, RegExp][] = [
    [{ issuer: 'https://evil.example' }, /has the issuer "https:\/\/evil\.example", and the route names/],
    [{ jwks_uri: 'http://keys.example/keys' }, /not https: "http:\/\/keys\.example\/keys"/],
    [{ jwks_uri: undefined }, /jwks_uri .* is not a URL, but missing: set jwksUri/],
    [{ jwks_uri: `${issuer.origin}/nothing` }, /\/nothing answers 404/],
  ]
  for (const [change, cause] of causes) {
    issuer.paths.set('/.well-known/openid-configuration', { ...issuer.document, ...change })
    t.equal(await call(), 503)
    t.match(gateway.events('provider_unavailable').at(-1), { cause })
  }
  issuer.paths.set('/.well-known/openid-configuration', issuer.document)
  await eventually(async () => (await call()) === 200)
})

void t.test(
  'the issuer of the provider may be listed with another audience, and its ID tokens stay refused',
  async (t) => {
    const { issuer } = shared.idp
    const gateway = await start(t, [{ issuer, audience: ['stock', 'orders'] }], { provider: { clientId: 'orders' } })
    const claims = { iss: issuer, sub: 'alice', iat: seconds(), exp: seconds() + 300 }
    const call = async (more: object): Promise<number> =>
      (await callWith(gateway, await shared.idp.sign({ ...claims, ...more }, { typ: 'JWT' }))).status
    t.equal(await call({ aud: AUDIENCE }), 200)
    t.equal(await call({ aud: 'stock' }), 200)
    t.equal(await call({ aud: 'orders' }), 401, 'an ID token of the gateway’s own client')
    t.equal(await call({ aud: 'orders', scope: 'orders.read' }), 200)
  },
)
