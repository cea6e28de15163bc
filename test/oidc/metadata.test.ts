import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPair, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { openProvider } from '../../src/oidc/provider.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { openLog } from '../../src/telemetry/log.ts'
import { loadConfig } from '../../src/config/load.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'
import { startApplication } from '../support/application.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import { moveClock, setWallClock } from '../support/clock.ts'
import { asFile, startGateway, type Running } from '../support/gateway.ts'
import { beginLogin } from '../support/sign-in.ts'
import { eventually } from '../support/eventually.ts'

const METADATA = '/.well-known/openid-configuration'

/** Gateways with a scripted provider do not use this provider. */
const shared = { idp: await startIdp(), upstream: await startUpstream() }
t.teardown(async () => Promise.all([shared.idp.close(), shared.upstream.close()]))

/** A gateway in front of a bent provider. */
const gatewayFor = async (
  t: Test,
  provider: ScriptedProvider,
  config: Record<string, unknown> = {},
): Promise<Running> => {
  const { provider: keys, ...others } = config
  return startGateway(t, { ...shared, config: { ...others, provider: { issuer: provider.issuer, ...Object(keys) } } })
}

const start = async (
  t: Test,
  config: Record<string, unknown> = {},
): Promise<Running & { provider: ScriptedProvider }> => {
  const provider = await startScriptedProvider(t)
  return { provider, ...(await gatewayFor(t, provider, config)) }
}

const scopesOf = async (running: Running): Promise<string | null> =>
  (await beginLogin(createBrowser(), running.url)).searchParams.get('scope')

const causeOf = async ({ url, events }: Running): Promise<string> => {
  t.equal((await createBrowser().get(`${url}/oauth2/login`)).status, 503)
  return String(events('provider_unavailable').at(-1)?.['cause'])
}

void t.test('offline_access is requested if the provider announces it, and never from Keycloak', async (t) => {
  const provider = await startScriptedProvider(t)
  t.equal(await scopesOf(await gatewayFor(t, provider)), 'openid profile email', 'the provider announces no scopes')
  provider.document['scopes_supported'] = ['openid', 'profile', 'email']
  t.equal(await scopesOf(await gatewayFor(t, provider)), 'openid profile email')
  provider.document['scopes_supported'] = ['openid', 'offline_access']
  t.equal(await scopesOf(await gatewayFor(t, provider)), 'openid profile email offline_access')

  const keycloak = await startScriptedProvider(t, '/realms/orders')
  keycloak.document['scopes_supported'] = ['openid', 'offline_access']
  keycloak.document['token_endpoint'] = `${keycloak.issuer}/protocol/openid-connect/token`
  t.equal(await scopesOf(await gatewayFor(t, keycloak)), 'openid profile email')
})

void t.test('configured scopes are requested unchanged', async (t) => {
  const keycloak = await startScriptedProvider(t, '/realms/orders')
  keycloak.document['token_endpoint'] = `${keycloak.issuer}/protocol/openid-connect/token`
  const scopes = ['openid', 'profile', 'email', 'offline_access']
  t.equal(await scopesOf(await gatewayFor(t, keycloak, { provider: { scopes } })), scopes.join(' '))
})

void t.test('a claim that is only in the access token is missing, and the log says where it is', async (t) => {
  const require = { claims: { 'realm_access.roles': ['admin'] } }
  const { provider, url, events } = await start(t, { routes: [{ path: '/**' }, { path: '/api/echo/x', require }] })
  const roles = { realm_access: { roles: ['admin'] } }
  const members = { access_token: await provider.sign({ ...roles, sub: 'alice' }) }
  const { browser } = await provider.login(url, {}, members)
  t.equal((await browser.get(`${url}/api/echo/x`, { kind: 'script' })).status, 403)
  t.match(events('forbidden'), [{ why: /realm_access\.roles is missing; the access token has it/ }])
  const mapped = await provider.login(url, roles, members)
  t.equal((await mapped.browser.get(`${url}/api/echo/x`, { kind: 'script' })).status, 200)
})

void t.test('a login with acr_values is not pushed to Keycloak, which would drop them', async (t) => {
  const keycloak = await startScriptedProvider(t, '/realms/orders')
  keycloak.document['token_endpoint'] = `${keycloak.issuer}/protocol/openid-connect/token`
  keycloak.document['pushed_authorization_request_endpoint'] = `${keycloak.origin}/par`
  keycloak.paths.set('/par', (_request, response) => {
    response.writeHead(201, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ request_uri: 'urn:one', expires_in: 60 }))
  })
  for (const [mode, isPushed] of [
    ['auto', false],
    ['on', true],
  ] as const) {
    const { url } = await gatewayFor(t, keycloak, { provider: { pushedAuthorization: mode } })
    const plain = await beginLogin(createBrowser(), url)
    t.ok(plain.searchParams.has('request_uri'))
    const strong = await beginLogin(createBrowser(), url, { acr_values: 'gold' })
    t.equal(strong.searchParams.has('request_uri'), isPushed, mode)
    if (!isPushed) t.equal(strong.searchParams.get('acr_values'), 'gold')
  }
})

void t.test('an offline token from Keycloak causes one warning', async (t) => {
  for (const members of [
    { refresh_token: 'opaque', refresh_expires_in: 0 },
    { refresh_token: `e30.${Buffer.from('{"typ":"Offline"}').toString('base64url')}.x` },
  ]) {
    const { provider, url, events } = await start(t)
    t.equal((await provider.login(url, {}, { refresh_token: 'r', refresh_expires_in: 1800 })).answer.status, 302)
    t.equal(events('offline_token').length, 0)
    for (const login of [1, 2]) t.equal((await provider.login(url, {}, members)).answer.status, 302, `login ${login}`)
    t.match(events('offline_token'), [{ level: 'warn', msg: /offline_access/ }])
    t.equal(events('offline_token').length, 1)
  }
})

void t.test('an issuer template is filled from the token’s own tid in every comparison of issuers', async (t) => {
  for (const path of ['/common/v2.0', '/organizations/v2.0']) {
    const provider = await startScriptedProvider(t, path)
    provider.document['issuer'] = `${provider.origin}/{tenantid}/v2.0`
    const running = await gatewayFor(t, provider, {
      admin: { listen: '127.0.0.1:0', sessions: 'loopback' },
      routes: [{ path: '/**' }, { path: '/api/echo/bearer', bearer: { audience: 'api://orders' } }],
    })
    const { url } = running
    const iss = `${provider.origin}/t1/v2.0`
    const { answer, browser } = await provider.login(url, { iss, tid: 't1', sid: 's1' })
    t.equal(answer.headers.location, '/orders')
    const listed = await running.gateway.admin?.inject({ method: 'GET', url: '/sessions?sub=alice' })
    t.equal(listed?.json<{ sessions: unknown[] }>().sessions.length, 1, 'administration finds it without the tenant')
    const status = async (): Promise<number> => (await browser.get(`${url}/api/orders`, { kind: 'script' })).status
    t.equal(await status(), 200)

    const wrong = [{ iss, tid: 't2' }, { iss }, { iss: `${provider.origin}/{tenantid}/v2.0` }, { iss: provider.issuer }]
    for (const claims of wrong) t.equal((await provider.login(url, claims)).answer.status, 502, JSON.stringify(claims))

    const now = Math.floor(Date.now() / 1000)
    const bearer = async (claims: object): Promise<number> => {
      const token = await provider.sign({
        iss,
        aud: 'api://orders',
        sub: 'alice',
        scp: 'x',
        iat: now,
        exp: now + 300,
        ...claims,
      })
      const headers = { authorization: `Bearer ${token}` }
      return (await createBrowser().get(`${url}/api/echo/bearer`, { kind: 'none', headers })).status
    }
    t.equal(await bearer({ tid: 't1' }), 200)
    for (const claims of [{ tid: 't2' }, {}, { tid: 't1', iss: provider.issuer }]) t.equal(await bearer(claims), 401)

    const logout = async (claims: object): Promise<number> => {
      const token = await provider.sign({
        iss,
        aud: `client-${new URL(url).port}`,
        jti: JSON.stringify(claims),
        events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
        iat: now,
        exp: now + 120,
        ...claims,
      })
      const body = new URLSearchParams({ logout_token: token })
      return (await createBrowser().post(`${url}/oauth2/logout/backchannel`, body, { kind: 'none' })).status
    }
    t.equal(await logout({ sub: 'alice', tid: 't2' }), 400)
    const t2 = { iss: `${provider.origin}/t2/v2.0`, tid: 't2' }
    t.equal(await logout({ sub: 'alice', ...t2 }), 200)
    t.equal(await logout({ sid: 's1', ...t2 }), 200)
    t.equal(await status(), 200, 'another tenant’s user of the same name is another user')
    t.equal(await logout({ sub: 'alice', tid: 't1' }), 200)
    t.equal(await status(), 401)

    const again = await provider.login(url, { iss, tid: 't1', sid: 's2' })
    const front = async (from: string): Promise<number> => {
      const query = new URLSearchParams({ iss: from, sid: 's2' }).toString()
      return (await createBrowser().get(`${url}/oauth2/logout/frontchannel?${query}`)).status
    }
    t.equal(await front('https://evil.example/t1/v2.0'), 400)
    t.equal(await front(t2.iss), 200)
    t.equal((await again.browser.get(`${url}/api/orders`, { kind: 'script' })).status, 200)
    t.equal(await front(iss), 200)
    t.equal((await again.browser.get(`${url}/api/orders`, { kind: 'script' })).status, 401)
  }
})

void t.test('maxPerUser counts the users of each tenant by themselves', async (t) => {
  const provider = await startScriptedProvider(t, '/common/v2.0')
  provider.document['issuer'] = `${provider.origin}/{tenantid}/v2.0`
  const { url } = await gatewayFor(t, provider, { session: { maxPerUser: 1 } })
  const login = async (tid: string): Promise<Browser> =>
    (await provider.login(url, { iss: `${provider.origin}/${tid}/v2.0`, tid })).browser
  const [first, other, second] = [await login('t1'), await login('t2'), await login('t1')]
  const statuses = [first, other, second].map(
    async (browser) => (await browser.get(`${url}/api/orders`, { kind: 'script' })).status,
  )
  t.same(await Promise.all(statuses), [401, 200, 200])
})

void t.test('a session from an issuer template is refreshed, and stays with its tenant', async (t) => {
  const provider = await startScriptedProvider(t, '/common/v2.0')
  provider.document['issuer'] = `${provider.origin}/{tenantid}/v2.0`
  const { url } = await gatewayFor(t, provider)
  const claims = { iss: `${provider.origin}/t1/v2.0`, tid: 't1' }
  const { browser } = await provider.login(url, claims, { refresh_token: 'r1', expires_in: 100 })
  moveClock(t, 101_000)
  const now = Math.floor(Date.now() / 1000)
  const body = { access_token: 'a2', token_type: 'Bearer', refresh_token: 'r2', expires_in: 100 }
  const aud = `client-${new URL(url).port}`
  provider.paths.set('/token', {
    ...body,
    id_token: await provider.sign({ ...claims, aud, sub: 'alice', iat: now, exp: now + 300 }),
  })
  t.equal((await browser.get(`${url}/api/orders`, { kind: 'script' })).status, 200)
})

void t.test('a failed discovery logs the URL, the response and both issuers', async (t) => {
  const provider = await startScriptedProvider(t, '/application/o/orders')
  const at = `${provider.issuer}${METADATA}`
  const path = new URL(at).pathname
  provider.paths.delete(path)
  const running = await gatewayFor(t, provider)
  const cause = await causeOf(running)
  t.ok(cause.includes(`${at} answers 404 (text/html) instead of a discovery document; check provider.issuer`), cause)

  provider.paths.set(path, { ...provider.document, issuer: `${provider.issuer}/` })
  const both = await causeOf(running)
  t.ok(both.includes(`provider.issuer is ${provider.issuer}, `), both)
  t.ok(both.includes(`write issuer: ${provider.issuer}/`), both)

  provider.paths.set(path, (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<p>Sign in')
  })
  t.match(await causeOf(running), /answers 200 \(text\/html; charset=utf-8\), which is not the JSON/)

  const to = (location: string): void => {
    provider.paths.set(path, (_request, response) => {
      response.writeHead(302, { location }).end()
    })
  }
  to('https://elsewhere.example/config')
  t.match(await causeOf(running), /answers 302 to another origin: https:\/\/elsewhere\.example/)
  to(at)
  t.match(await causeOf(running), /redirects more than 5 times/)
  to('/moved')
  provider.paths.set('/moved', provider.document)
  t.equal((await provider.login(running.url)).answer.headers.location, '/orders', 'on the same origin it is followed')
})

void t.test('a wrong realm of Keycloak is named with what Keycloak says about it', async (t) => {
  for (const [path, advice] of [
    ['/realms/Orders', 'Keycloak before version 17 serves /auth/realms'],
    ['/auth/realms/Orders', 'Keycloak since version 17 serves /realms'],
  ] as const) {
    const keycloak = await startScriptedProvider(t, path)
    keycloak.paths.set(`${path}${METADATA}`, (_request, response) => {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"Realm does not exist"}')
    })
    const cause = await causeOf(await gatewayFor(t, keycloak))
    t.match(cause, '404 (application/json: "Realm does not exist") instead of a discovery document')
    t.match(
      cause,
      `check the realm "Orders" in provider.issuer, including its case, and the path: ${advice} by default`,
    )
  }
})

void t.test('a member of the wrong kind is named with its value and the expected kind; null means none', async (t) => {
  const provider = await startScriptedProvider(t)
  const running = await gatewayFor(t, provider)
  const wrong: [member: string, value: unknown, message: string][] = [
    ['issuer', undefined, 'is not a URL, but nothing'],
    ['issuer', 7, 'is not a URL, but 7'],
    ['token_endpoint', 'token', 'is not a URL, but "token"'],
    ['jwks_uri', ['https://login.example.com/keys'], 'is not a URL, but ["https://login.example.com/keys"]'],
    ['introspection_endpoint', {}, 'is not a URL, but {}'],
    ['scopes_supported', 'openid profile', 'is not a list of strings, but "openid profile"'],
    ['id_token_signing_alg_values_supported', ['RS256', 5], 'is not a list of strings, but ["RS256",5]'],
    ['token_endpoint_auth_methods_supported', true, 'is not a list of strings, but true'],
    ['authorization_response_iss_parameter_supported', 'yes', 'is not true or false, but "yes"'],
    ['mtls_endpoint_aliases', { token_endpoint: 5 }, 'is not an object of URLs, but {"token_endpoint":5}'],
    ['mtls_endpoint_aliases', [], 'is not an object of URLs, but []'],
  ]
  for (const [member, value, message] of wrong) {
    provider.paths.set(METADATA, { ...provider.document, [member]: value })
    t.match(
      await causeOf(running),
      `the ${member} in the provider’s metadata ${message} (${provider.issuer}${METADATA})`,
    )
  }
  provider.paths.set(METADATA, { ...provider.document, end_session_endpoint: null, scopes_supported: null, unknown: 7 })
  t.ok(await beginLogin(createBrowser(), running.url))
})

void t.test('a changed jwks_uri is found without a restart, with one more request for the metadata', async (t) => {
  const { provider, url, events } = await start(t)
  const move = async (to: string): Promise<void> => {
    await provider.rotate()
    provider.paths.set(to, provider.paths.get('/keys') ?? {})
    provider.paths.delete('/keys')
    provider.document['jwks_uri'] = `${provider.origin}${to}`
  }
  t.equal((await provider.login(url)).answer.headers.location, '/orders')
  await move('/v2/keys')
  const ends = await Promise.all(Array.from({ length: 5 }, async () => (await provider.login(url)).answer.status))
  t.same(ends, [302, 302, 302, 302, 302])
  t.equal(provider.asked(METADATA), 2)
  t.match(events('provider_changed'), [{ changed: ['jwks_uri'] }])
})

void t.test('a changed token endpoint is found by the next login', async (t) => {
  const { provider, url } = await start(t)
  await eventually(() => provider.asked(METADATA) === 1, { what: 'the provider is discovered' })
  const { document, paths } = provider
  const gone = document['token_endpoint']
  await beginLogin(createBrowser(), url)
  document['token_endpoint'] = `${provider.origin}/v2/token`
  t.equal((await provider.login(url)).answer.status, 502)
  t.notOk(paths.has(new URL(String(gone)).pathname))
  t.equal((await provider.login(url)).answer.headers.location, '/orders')
  t.equal(provider.asked(METADATA), 2)
})

void t.test('failing calls make the gateway read the metadata at most every ten seconds', async (t) => {
  const { provider, url } = await start(t)
  await beginLogin(createBrowser(), url)
  provider.document['token_endpoint'] = `${provider.origin}/elsewhere`
  provider.paths.set(METADATA, (_request, response) => {
    response.writeHead(500).end()
  })
  for (const login of [1, 2, 3]) t.equal((await provider.login(url)).answer.status, 502, `login ${login}`)
  t.equal(provider.asked(METADATA), 2)
  moveClock(t, 10_100)
  await provider.login(url)
  await provider.login(url)
  t.equal(provider.asked(METADATA), 3)
})

void t.test('the metadata is read again when it is old and at a reload, and then applies', async (t) => {
  const provider = await startScriptedProvider(t)
  const { opened } = openFor(t, provider.issuer, 300)
  const end = (): string | undefined => opened.peek()?.configuration.serverMetadata().end_session_endpoint
  await opened.discovered()
  t.equal(end(), undefined)
  provider.document['end_session_endpoint'] = `${provider.origin}/logout`
  await eventually(() => end() === `${provider.origin}/logout`, { what: 'the new end_session_endpoint is used' })

  provider.paths.set(METADATA, (_request, response) => {
    response.writeHead(503).end()
  })
  await sleep(500)
  t.equal(end(), `${provider.origin}/logout`, 'a failure changes nothing')
})

void t.test('a reload reads the metadata again', async (t) => {
  const provider = await startScriptedProvider(t)
  const { opened } = openFor(t, provider.issuer)
  await opened.discovered()
  opened.configure(structuredClone(opened.settings))
  await eventually(() => provider.asked(METADATA) === 2, { what: 'the metadata is read again' })
})

void t.test('signed userinfo is verified with the provider’s keys, whether it is announced or not', async (t) => {
  const { privateKey } = await generateKeyPair('RS256')
  const encoded = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  for (const announced of [null, ['RS256', 'none']]) {
    const provider = await startScriptedProvider(t)
    if (announced !== null) provider.document['userinfo_signing_alg_values_supported'] = announced
    const { url } = await gatewayFor(t, provider, { provider: { userinfo: true } })
    const aud = `client-${new URL(url).port}`
    const claims = { sub: 'alice', department: 'sales' }
    const department = async (jwt: string): Promise<unknown> => {
      provider.paths.set('/userinfo', (_request, response) => {
        response.writeHead(200, { 'content-type': 'application/jwt' }).end(jwt)
      })
      const { browser, answer } = await provider.login(url)
      if (answer.status !== 302) return answer.status
      return (await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()['department']
    }
    t.equal(await department(await provider.sign(claims)), 'sales')
    t.equal(await department(await provider.sign({ ...claims, iss: provider.issuer, aud })), 'sales')
    const foreign = await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: '0' }).sign(privateKey)
    t.equal(await department(foreign), 502, 'a signature of another key')
    t.equal(await department(`${encoded({ alg: 'none' })}.${encoded(claims)}.`), 502, 'alg none')
    for (const wrong of [{ sub: 'mallory' }, { iss: 'https://evil.example' }, { aud: 'another' }])
      t.equal(await department(await provider.sign({ ...claims, ...wrong })), 502, JSON.stringify(wrong))
  }
})

void t.test('ID tokens may be two minutes off, and a clock that is a minute off causes one warning', async (t) => {
  const { provider, url, events } = await start(t)
  const ahead = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds
  const login = async (claims: () => object): Promise<number> =>
    (await provider.login(url, { ...claims() })).answer.status
  t.equal(await login(() => ({ nbf: ahead(30), iat: ahead(30) })), 302)
  t.equal(events('clock_skew').length, 0)
  t.equal(await login(() => ({ nbf: ahead(100), iat: ahead(100) })), 302)
  t.equal(await login(() => ({ nbf: ahead(180) })), 502)
  t.equal(await login(() => ({ iat: ahead(180) })), 502)
  t.equal(await login(() => ({ iat: ahead(-400), exp: ahead(-100) })), 302)
  t.equal(await login(() => ({ iat: ahead(-480), exp: ahead(-180) })), 502)
  t.match(events('clock_skew'), [{ level: 'warn', msg: /NTP/ }])
  t.ok(Math.abs(Number(events('clock_skew')[0]?.['seconds']) - 99) <= 2)
  t.equal(events('clock_skew').length, 1)
})

void t.test('a clock that differs from the provider’s Date causes a warning', async (t) => {
  const { provider, url, events } = await start(t)
  setWallClock(t, -100_000)
  await provider.login(url)
  t.ok(Math.abs(Number(events('clock_skew')[0]?.['seconds']) - 100) <= 2)
})

void t.test('a replaced provider client stops reading the metadata', async (t) => {
  let reads = 0
  const provider = await startApplication(t, ({ headers }, res) => {
    reads += 1
    const issuer = `http://${headers.host}`
    const endpoints = { authorization_endpoint: `${issuer}/a`, token_endpoint: `${issuer}/t`, jwks_uri: `${issuer}/k` }
    res.setHeader('content-type', 'application/json').end(JSON.stringify({ issuer, ...endpoints }))
  })
  const { opened } = openFor(t, provider.url, 100)
  await opened.discovered()
  for (const timeout of [5_001, 5_002, 5_003]) {
    opened.configure({ ...opened.settings, metadataAge: 100, timeout })
    await eventually(() => opened.settings.timeout === timeout)
  }
  reads = 0
  await sleep(1_000)
  t.ok(reads > 2 && reads <= 11, `${reads} reads in ten intervals, of one client`)
})

/** Opens a provider without a gateway. The configuration would not accept a `metadataAge` below a second. */
function openFor(t: Test, issuer: string, metadataAge = 60_000) {
  const { config } = loadConfig({
    env: {},
    file: asFile(t, {
      publicUrl: 'http://127.0.0.1:1',
      upstream: 'http://127.0.0.1:2',
      provider: { issuer, clientId: 'orders', clientSecret: 'x' },
    }),
  })
  const { log } = openLog('fatal', { stream: { write: () => {} } })
  const { provider: settings } = config
  if (settings === null) throw new Error('there is no provider')
  const opened = openProvider({ ...settings, metadataAge }, log, createMetrics(), null)
  t.teardown(async () => opened.close())
  return { opened }
}
