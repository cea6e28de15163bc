import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK } from 'jose'
import t from 'tap'
import { stringify } from 'yaml'
import { questionsFor } from '../../src/cli/online/questions.ts'
import { report } from '../../src/cli/online/report.ts'
import { boundPort } from '../../src/demo/bound-port.ts'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { key, loadText } from '../config/configuration.ts'
import { startScriptedProvider, type ScriptedProvider } from '../oidc/scripted-provider.ts'
import { createAuthority } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { startHttp2Application } from '../support/http2-application.ts'
import { builtProgram, runProgram } from '../support/program.ts'
import { PERMISSIONS, startRedis } from '../support/redis.ts'

const SECRET = 'the-secret-of-the-client'
const REDIRECT_URI = 'https://orders.example.com/oauth2/callback'

const { ca, issue } = createAuthority()
const server = issue(['127.0.0.1'])
const own = issue(['gateway.example.com'])
const folder = t.testdir({
  'ca.pem': ca,
  'own.pem': own.cert,
  'own-key.pem': own.key,
  'empty.jwt': '',
})

const idp = await startIdp({
  tls: server,
  clientAuthorities: ca,
  pushedAuthorization: true,
  clientAuthentications: [
    'client_secret_basic',
    'client_secret_post',
    'client_secret_jwt',
    'private_key_jwt',
    'tls_client_auth',
    'self_signed_tls_client_auth',
    'none',
  ],
})
const upstream = await startUpstream()
const redis = await startRedis(t)
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))
await idp.registerClient({ clientId: 'orders', clientSecret: SECRET, redirectUris: [REDIRECT_URI] })

type Settings = { readonly [key: string]: unknown }

const atIdp = { issuer: idp.issuer, clientId: 'orders', clientSecret: SECRET, caFile: join(folder, 'ca.pem') }

const configuration = ({ session = {}, ...settings }: { readonly session?: object; readonly [key: string]: unknown }) =>
  stringify({
    publicUrl: 'https://orders.example.com',
    upstream: upstream.url,
    provider: atIdp,
    session: { keys: [key], store: 'memory', ...session },
    ...settings,
  })

/** Asks the systems of a configuration in this process. Returns the lines. */
const ask = async (settings: Parameters<typeof configuration>[0]): Promise<string[]> => {
  const { config } = loadText(folder, configuration(settings))
  let output = ''
  const write = (text: string): unknown => (output += text)
  const succeeded = await report(questionsFor(config), { write }, null)
  const lines = output.trimEnd().split('\n')
  t.equal(succeeded, !lines.some((line) => line.startsWith('FAIL')), output)
  t.notMatch(output, SECRET)
  return lines
}

/** Returns the lines about the subject in question, without the subject. */
const about = (subject: string, lines: readonly string[]): string[] =>
  lines.flatMap((line) => {
    const [, level = '', text = ''] = /^(ok|warn|FAIL) +(.+)$/.exec(line) ?? []
    return text.startsWith(`${subject}: `) ? [`${level} ${text.slice(subject.length + 2)}`] : []
  })

const sendJson =
  (status: number, body: object, headers = {}) =>
  (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  }

/** Asks a scripted provider. Returns the lines about it. */
const askScripted = async (provider: ScriptedProvider, settings: Settings = {}): Promise<string[]> =>
  about(
    'provider',
    await ask({ provider: { issuer: provider.issuer, clientId: 'orders', clientSecret: SECRET, ...settings } }),
  )

void t.test('with everything up, check --online prints a line for each answer and exits with status 0', async (t) => {
  const file = join(t.testdir({ 'gatehouse.yaml': configuration({ session: { store: redis.url } }) }), 'gatehouse.yaml')
  const startedAt = performance.now()
  const { status, stdout, stderr } = await runProgram(t, ['check', '--online', '--config', file])
  const seconds = (performance.now() - startedAt) / 1000
  t.comment(`${seconds.toFixed(2)} s`)
  t.ok(seconds < 5, `${seconds} s`)
  t.same([status, stderr], [0, ''])
  const lines = stdout.trimEnd().split('\n')
  for (const [index, pattern] of [
    /^ok {4}provider: document https:\/\/127\.0\.0\.1:\d+\/\.well-known\/openid-configuration answers 200, issuer https:/,
    /^ok {4}provider: keys https:\S+: 2 keys, 2 for signatures \(RS256, ES256\)$/,
    /^ok {4}provider: clock: /,
    /^ok {4}provider: client orders may authenticate \(a code that does not exist: invalid_grant/,
    /^ok {4}provider: redirect URI https:\/\/orders\.example\.com\/oauth2\/callback is registered$/,
    /^ok {4}store: redis:\/\/127\.0\.0\.1:\d+ \(Redis \d+\.\d+\.\d+\): wrote, read and deleted a key$/,
    /^ok {4}upstream: http:\/\/127\.0\.0\.1:\d+ answers 200, route \/\*\*$/,
  ].entries())
    t.match(lines[index], pattern)
  t.equal(lines.length, 7)
  t.notMatch(stdout + stderr, SECRET)
  t.same(await redis.keys(), [], 'nothing is left in the store')
})

void t.test(
  'a wrong secret and an unregistered redirect URI are failures with status 1, each with what to do',
  async (t) => {
    const wrong = configuration({ provider: { ...atIdp, clientSecret: 'another-secret-of-the-client' } })
    const file = join(t.testdir({ 'gatehouse.yaml': wrong }), 'gatehouse.yaml')
    const { status, stdout } = await runProgram(t, ['check', '--online', '--config', file])
    t.equal(status, 1)
    t.match(
      stdout,
      /^FAIL {2}provider: client orders: invalid_client: .+: write the client ID .* provider\.clientId and its secret in provider\.clientSecret/m,
    )
    t.notMatch(stdout, 'another-secret')

    const publicUrl = ['https://orders.example.com', 'https://other.example.com']
    const lines = about('provider', await ask({ publicUrl }))
    t.match(lines[4], `ok redirect URI ${REDIRECT_URI} is registered`)
    t.match(
      lines[5],
      /^FAIL redirect URI https:\/\/other\.example\.com\/oauth2\/callback: invalid_request: .*: register it at the provider$/,
    )
  },
)

void t.test('provider.caFile adds to the certificates in NODE_EXTRA_CA_CERTS', async (t) => {
  const provider = { ...atIdp, caFile: join(folder, 'own.pem') }
  const file = join(t.testdir({ 'gatehouse.yaml': configuration({ provider }) }), 'gatehouse.yaml')
  const args = ['check', '--online', '--config', file]
  const [alone, together] = await Promise.all([
    runProgram(t, args),
    runProgram(t, args, { NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') }),
  ])
  t.match(alone.stdout, /^FAIL {2}provider: document: .*certificate/m)
  t.same([together.status, together.stderr], [0, ''], together.stdout)
})

void t.test('the client authenticates in the way that is configured', async (t) => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = (one: typeof pair): string => one.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const certificate = new X509Certificate(own.cert)
  const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), use: 'sig' }] }
  const certificates = {
    keys: [{ ...(await exportJWK(certificate.publicKey)), x5c: [certificate.raw.toString('base64')] }],
  }
  const clientCertificate = { certFile: join(folder, 'own.pem'), keyFile: join(folder, 'own-key.pem') }
  for (const [name, client, settings] of [
    ['client_secret_basic', { clientSecret: SECRET }, {}],
    ['client_secret_jwt', { clientSecret: SECRET }, {}],
    ['private_key_jwt', { jwks }, { clientSecret: null, privateKey: pem(pair) }],
    ['tls_client_auth', { certificateName: 'gateway.example.com' }, { clientSecret: null, clientCertificate }],
    ['self_signed_tls_client_auth', { jwks: certificates }, { clientSecret: null, clientCertificate }],
    ['none', {}, { clientSecret: null }],
  ] as const) {
    await idp.registerClient({ clientId: name, redirectUris: [REDIRECT_URI], clientAuthentication: name, ...client })
    const provider = { ...atIdp, clientId: name, clientAuthentication: name, ...settings }
    const [, , , line, pushed] = about('provider', await ask({ provider }))
    t.match(line, new RegExp(`^ok client ${name} may authenticate`))
    t.match(pushed, /^ok redirect URI/)
  }
  for (const [client, settings, advice] of [
    [
      'private_key_jwt',
      { clientSecret: null, privateKey: pem(other) },
      /register the public key of provider\.privateKey/,
    ],
    [
      'tls_client_auth',
      { clientSecret: null, clientCertificate: null, clientAuthentication: 'none' },
      /set provider\.clientSecret/,
    ],
    ['unknown', { clientSecret: null, clientCertificate }, /register the certificate of provider\.clientCertificate/],
  ] as const) {
    const [, , , line] = about('provider', await ask({ provider: { ...atIdp, clientId: client, ...settings } }))
    t.match(line, /^FAIL client \w+: invalid_client: /)
    t.match(line, advice)
  }
})

void t.test('the answers of real providers to a code that does not exist', async (t) => {
  const provider = await startScriptedProvider(t)
  const aadsts = (error: string, number: number, text: string) => ({
    error,
    error_description: `AADSTS${number}: ${text}\r\nTrace ID: f86ee3a2-1c21-48b0-97fb-ab08841b2100\r\nTimestamp: 2026-12-01 13:34:18Z`,
    error_codes: [number],
  })
  const described = (error: string, description: string) => ({ error, error_description: description })
  for (const [name, status, body, expected, settings = {}] of [
    ['Entra', 400, aadsts('invalid_grant', 9_002_313, 'Invalid request. Request is malformed or invalid.'), /^ok/],
    [
      'Entra, wrong secret',
      401,
      aadsts('invalid_client', 7_000_215, 'Invalid client secret provided.'),
      /^FAIL .*AADSTS7000215.*provider\.clientSecret/,
    ],
    [
      'Entra, unknown client',
      400,
      aadsts('unauthorized_client', 700_016, "Application 'orders' was not found."),
      /^FAIL .*provider\.clientId/,
    ],
    [
      'Entra, redirect URI',
      400,
      aadsts('invalid_client', 500_112, 'The reply address does not match the reply address of the request.'),
      /^FAIL .*register the redirect URI https:\/\/orders/,
    ],
    ['Google', 400, described('invalid_grant', 'Malformed auth code.'), /^ok/],
    ['Google, unknown client', 401, described('invalid_client', 'The OAuth client was not found.'), /^FAIL/],
    [
      'Google, redirect URI',
      400,
      described('redirect_uri_mismatch', 'Bad Request'),
      /^FAIL .*register the redirect URI https:\/\/orders/,
    ],
    ['Okta', 400, described('invalid_grant', 'The authorization code is invalid or has expired.'), /^ok/],
    [
      'Okta, wrong secret',
      401,
      described('invalid_client', 'The client secret supplied for a confidential client is invalid.'),
      /^FAIL/,
    ],
    ['Keycloak', 400, described('invalid_grant', 'Code not valid'), /^ok/],
    [
      'Keycloak, wrong secret',
      401,
      described('unauthorized_client', 'Invalid client or Invalid client credentials'),
      /^FAIL/,
    ],
    ['Auth0', 403, described('invalid_grant', 'Invalid authorization code'), /^ok/, { preset: 'auth0' }],
    [
      'Auth0, wrong secret',
      401,
      described('access_denied', 'Unauthorized'),
      /^FAIL .*provider\.clientSecret/,
      { preset: 'auth0' },
    ],
    [
      'LinkedIn',
      400,
      described(
        'invalid_request',
        'Unable to retrieve access token: appid/redirect uri/code verifier does not match authorization code. Or authorization code expired.',
      ),
      /^ok/,
      { preset: 'linkedin' },
    ],
    ['Slack', 200, { ok: false, error: 'invalid_code' }, /^ok/, { preset: 'slack' }],
    [
      'Slack, wrong secret',
      200,
      { ok: false, error: 'bad_client_secret' },
      /^FAIL .*provider\.clientSecret/,
      { preset: 'slack' },
    ],
    [
      'Slack, redirect URI',
      200,
      { ok: false, error: 'bad_redirect_uri' },
      /^FAIL .*register the redirect URI/,
      { preset: 'slack' },
    ],
    [
      'Salesforce, unknown client',
      400,
      described('invalid_client_id', 'client identifier invalid'),
      /^FAIL .*provider\.clientId/,
      { preset: 'salesforce' },
    ],
    [
      'an unclear answer',
      400,
      described('invalid_request', 'Missing parameter'),
      /^warn .*does not say whether the client may authenticate/,
    ],
    ['a broken provider', 500, described('server_error', 'out of order'), /^FAIL/],
    ['a firewall', 403, {}, /^FAIL .*403/],
    ['a challenge without an OAuth error', 401, {}, /^FAIL .*401.*provider\.clientSecret/],
    [
      'a provider that repeats the secret',
      401,
      described('invalid_client', `${SECRET} is wrong`),
      /^FAIL .*… is wrong/,
    ],
    [
      'a provider that repeats the credentials of Basic',
      401,
      described('invalid_client', `${Buffer.from('orders:p+s1').toString('base64')} and p%2Bs1 are wrong, ok`),
      /^FAIL .*: invalid_client: … and … are wrong/,
      { clientSecret: 'p+s1' },
    ],
  ] as const) {
    provider.paths.set('/token', sendJson(status, body, status === 401 ? { 'www-authenticate': 'Basic' } : {}))
    const lines = await askScripted(provider, settings)
    t.match(
      lines.find((line) => line.includes('client orders')),
      expected,
      name,
    )
  }
})

void t.test('GitHub has no document, no keys and errors of its own', async (t) => {
  const provider = await startScriptedProvider(t)
  const at = (path: string): string => `${provider.origin}${path}`
  const settings = {
    preset: 'github',
    endpoints: { authorization: at('/authorize'), token: at('/token'), userinfo: at('/user') },
  }
  provider.paths.set('/token', {
    error: 'bad_verification_code',
    error_description: 'The code is incorrect or expired.',
  })
  const lines = await askScripted(provider, settings)
  t.match(lines[0], /^ok document: none is needed/)
  t.match(lines.at(-1), /^ok client orders may authenticate/)
  t.notMatch(lines.join('\n'), 'keys')
  for (const [error, expected] of [
    ['incorrect_client_credentials', /^FAIL .*provider\.clientSecret/],
    ['redirect_uri_mismatch', /^FAIL .*register the redirect URI https:\/\/orders/],
  ] as const) {
    provider.paths.set('/token', { error })
    t.match((await askScripted(provider, settings)).at(-1), expected)
  }
})

void t.test('the issuer of all tenants is a template, and Basic credentials may need another form', async (t) => {
  const entra = await startScriptedProvider(t, '/common/v2.0')
  entra.document['issuer'] = `${entra.origin}/{tenantid}/v2.0`
  entra.paths.set('/token', sendJson(400, { error: 'invalid_grant' }))
  t.match(await askScripted(entra), [/issuer \S+\/\{tenantid\}\/v2\.0$/, /^ok keys/, /^ok clock/, /^ok client orders/])

  const basic = await startScriptedProvider(t)
  basic.paths.set('/token', sendJson(401, { error: 'invalid_client' }))
  const lines = await askScripted(basic, { clientSecret: 'a+secret%of+the/client' })
  t.match(lines.at(-2), /^FAIL client orders: invalid_client: /)
  t.match(lines.at(-1), /^warn client orders: .*set provider\.tolerate: \[basic-unencoded\]$/)
})

void t.test(
  'failures of the document and the keys, scopes that are not announced, and a clock that differs',
  async (t) => {
    const provider = await startScriptedProvider(t)
    const path = '/.well-known/openid-configuration'
    provider.paths.set(
      '/token',
      sendJson(400, { error: 'invalid_grant' }, { date: new Date(Date.now() - 600_000).toUTCString() }),
    )
    provider.document['scopes_supported'] = ['openid', 'email']
    const lines = await askScripted(provider, { scopes: ['openid', 'orders:read'] })
    t.match(
      lines[2],
      /^FAIL clock: (?:599|600|601) s ahead of the provider, more than clockTolerance \(120 s\): synchronize/,
    )
    t.match(lines[4], /^warn scopes: the document does not announce orders:read in scopes_supported$/)

    provider.paths.set('/keys', {
      keys: [
        { kty: 'RSA', use: 'enc', n: 'AQAB', e: 'AQAB' },
        { kty: 'oct', k: 'AQAB' },
      ],
    })
    t.match((await askScripted(provider))[1], /^FAIL keys \S+: none of 2 keys is for a signature .*\(RS256\)$/)
    provider.paths.delete('/keys')
    t.match((await askScripted(provider))[1], /^FAIL keys: \S+\/keys answers 404 \(text\/html\) instead of a key set$/)

    provider.paths.set(path, { ...provider.document, issuer: 'https://login.example.org' })
    t.match(await askScripted(provider), [
      /^FAIL document: provider\.issuer is http:.* has the issuer https:\/\/login\.example\.org: /,
    ])
    provider.paths.delete(path)
    t.match(await askScripted(provider), [/^FAIL document: http:\S+openid-configuration answers 404 \(text\/html\)/])
    const port = await freePort()
    t.match(await askScripted({ ...provider, issuer: `http://127.0.0.1:${port}` }), [/^FAIL document: .*ECONNREFUSED/])
    const proxied = await askScripted(provider, {
      issuer: 'https://login.example.org',
      proxy: `http://127.0.0.1:${port}`,
    })
    t.match(proxied, [/^FAIL document: .*through the proxy http:\/\/127\.0\.0\.1:\d+ .*ECONNREFUSED/])
  },
)

void t.test(
  'several providers, a missing client assertion, issuers of tokens, and the introspection endpoint',
  async (t) => {
    const other = await startScriptedProvider(t)
    other.document['introspection_endpoint'] = `${other.origin}/introspect`
    other.paths.set('/token', sendJson(400, { error: 'invalid_grant' }))
    other.paths.set('/introspect', sendJson(401, { error: 'invalid_client' }))
    const machines = await startScriptedProvider(t)
    const lines = await ask({
      provider: undefined,
      providers: {
        staff: { ...atIdp, clientSecret: null, clientAssertionFile: join(folder, 'empty.jwt') },
        partners: { issuer: other.issuer, clientId: 'orders', clientSecret: SECRET },
      },
      routes: [
        { path: '/**' },
        {
          path: '/api/**',
          provider: 'partners',
          bearer: { audience: 'api', issuers: [{ issuer: machines.issuer }, { issuer: `${machines.origin}/gone` }] },
        },
      ],
    })
    t.match(about('providers.staff', lines)[0], /^FAIL provider\.clientAssertionFile \S+ is empty$/)
    t.match(about('providers.partners', lines).at(-1), /^FAIL introspection: .*invalid_client/)
    t.match(about(`bearer.issuers ${machines.issuer}`, lines), [/^ok keys \S+: 1 key, 1 for signatures \(RS256\)$/])
    t.match(about(`bearer.issuers ${machines.origin}/gone`, lines), [/^FAIL .*answers 404/])
    other.paths.set('/introspect', { active: false })
    const provider = { issuer: other.issuer, clientId: 'orders', clientSecret: SECRET }
    const again = await ask({ provider, routes: [{ path: '/**', bearer: { audience: 'api' } }] })
    t.match(about('provider', again).at(-1), 'ok the introspection endpoint answers')
  },
)

void t.test('the store: a memory store, permissions, an eviction policy, a wrong password and no server', async (t) => {
  const lineOf = async (session: object): Promise<string[]> => about('store', await ask({ session }))
  t.same(await lineOf({}), ['ok memory, nothing to ask'])
  await redis.command('ACL', 'SETUSER', 'gateway', 'on', '>a-password', ...PERMISSIONS)
  const credentials = { username: 'gateway', password: 'a-password' }
  t.match(await lineOf({ store: redis.url, redis: credentials }), [
    /^ok redis:\/\/127\.0\.0\.1:\d+: wrote, read and deleted a key$/,
  ])
  await redis.command('ACL', 'SETUSER', 'gateway', '-publish')
  t.match(await lineOf({ store: redis.url, redis: credentials }), [/^FAIL .*does not allow a command/])
  const [refused = ''] = await lineOf({ store: redis.url.replace('//', '//gateway:not-it@') })
  t.match(
    refused,
    /^FAIL redis:\/\/127\.0\.0\.1:\d+: .*WRONGPASS.*set session\.redis\.username and session\.redis\.password/,
  )
  t.notMatch(refused, 'not-it')
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
  t.match((await lineOf({ store: redis.url }))[1], /^warn maxmemory-policy is allkeys-lru/)
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
  t.match(await lineOf({ store: `redis://127.0.0.1:${await freePort()}` }), [/^FAIL redis:\S+: .*ECONNREFUSED/])
})

void t.test('each upstream is asked once, in the protocol and with the certificates of its route', async (t) => {
  // The path of a socket is limited to 107 bytes.
  const socketFolder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  const socketPath = join(socketFolder, 'application.sock')
  const [overSocket, overTls] = await Promise.all([startUpstream({ socketPath }), startUpstream({ tls: server })])
  t.teardown(async () => {
    await Promise.all([overSocket.close(), overTls.close()])
    rmSync(socketFolder, { recursive: true })
  })
  const h2c = await startHttp2Application(t, ({ stream }) => {
    stream.respond({ ':status': 503 }, { endStream: true })
  })
  const mute = createTcpServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  t.teardown(() => mute.close())
  const requests = upstream.requests.length
  const lines = about(
    'upstream',
    await ask({
      routes: [
        { path: '/**' },
        ...['/a/**', '/b/**', '/c/**'].map((path) => ({ path })),
        { path: '/socket/**', upstream: overSocket.url },
        { path: '/tls/**', upstream: overTls.url, upstreamTls: { caFile: join(folder, 'ca.pem') } },
        { path: '/untrusted/**', upstream: overTls.url },
        { path: '/h2c/**', upstream: h2c.url, upstreamProtocol: 'h2c' },
        { path: '/refused/**', upstream: `http://127.0.0.1:${await freePort()}` },
        { path: '/mute/**', upstream: `http://127.0.0.1:${boundPort(mute)}` },
      ],
    }),
  )
  t.match(lines, [
    /^ok http:\S+ answers 200, routes \/\*\*, \/a\/\*\*, \/b\/\*\*, … \(4\)$/,
    /^ok unix:\S+\.sock answers 200, route \/socket\/\*\*$/,
    /^ok https:\S+ answers 200, route \/tls\/\*\*$/,
    /^FAIL https:\S+: .*certificate.*, route \/untrusted\/\*\*$/,
    /^ok http:\S+ \(h2c\) answers 503, route \/h2c\/\*\*$/,
    /^FAIL http:\S+: ECONNREFUSED: .*, route \/refused\/\*\*$/,
    /^FAIL http:\S+: .*does not answer HEAD \/ within 3\.5 s, route \/mute\/\*\*$/,
  ])
  t.same(
    upstream.requests.slice(requests).map(({ method, url, headers }) => [method, url, headers.host]),
    [['HEAD', '/', 'orders.example.com']],
  )
})

void t.test('with forward-auth, an upstream that does not answer is a warning', async (t) => {
  const upstream = `http://127.0.0.1:${await freePort()}`
  const lines = await ask({ upstream, forwardAuth: { listen: '127.0.0.1:0' } })
  t.match(about('upstream', lines), [/^warn http:\S+: ECONNREFUSED: .*: only requests to the public listener need it$/])
})

void t.test('systems that accept connections and never answer are named within the time limit', async (t) => {
  const mute = createServer(() => {}).listen(0, '127.0.0.1')
  await once(mute, 'listening')
  t.teardown(() => {
    mute.close()
    mute.closeAllConnections()
  })
  const address = `127.0.0.1:${boundPort(mute)}`
  const text = configuration({
    upstream: `http://${address}`,
    provider: { issuer: `http://${address}`, clientId: 'orders', clientSecret: SECRET },
    session: { store: `redis+sentinel://${address},${address},${address}/main` },
  })
  const startedAt = performance.now()
  const file = join(t.testdir({ 'gatehouse.yaml': text }), 'gatehouse.yaml')
  const { status, stdout } = await runProgram(t, ['check', '--online', '--config', file])
  t.ok(performance.now() - startedAt < 5_000)
  t.equal(status, 1)
  const failures = stdout
    .trimEnd()
    .split('\n')
    .map((line) => /^FAIL {2}(\w+): /.exec(line)?.[1])
  t.same(failures, ['provider', 'store', 'upstream'])
})

void t.test('an endpoint that never answers fails alone, and a reader may close the pipe', async (t) => {
  const provider = await startScriptedProvider(t)
  const port = await freePort()
  provider.paths.set('/token', () => {})
  const text = configuration({
    upstream: `http://127.0.0.1:${port}`,
    provider: { issuer: provider.issuer, clientId: 'orders', clientSecret: SECRET },
  })
  const file = join(t.testdir({ 'gatehouse.yaml': text }), 'gatehouse.yaml')
  const child = spawn(process.execPath, [builtProgram, 'check', '--online', '--config', file])
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
  child.stdout.destroy()
  const [lines] = await Promise.all([askScripted(provider), once(child, 'close')])
  t.match(lines, [
    /^ok document/,
    /^ok keys/,
    /^warn clock: not compared, because the token endpoint has sent no Date$/,
    /^FAIL client orders: .*no answer in time$/,
  ])
  t.same([child.exitCode, stderr], [1, ''])
})

void t.test('on a terminal, a line names the systems that have not answered yet', async (t) => {
  let answer = (): void => {}
  const answered = new Promise<void>((resolve) => {
    answer = resolve
  })
  const [output, progress]: [string[], string[]] = [[], []]
  const questions = [
    { subject: 'first', ask: async () => answered.then(() => [{ level: 'ok' as const, text: 'late' }]) },
    { subject: 'second', ask: async () => Promise.reject(new Error('broken')) },
  ]
  const done = report(questions, { write: (text) => output.push(text) }, { write: (text) => progress.push(text) })
  await new Promise((resolve) => setTimeout(resolve, 600))
  t.match(progress.at(-1), /^\r\S+waiting for first \(\d+ s\)$/)
  t.same(output, [], 'the lines keep the order of the questions')
  answer()
  t.equal(await done, false)
  t.same(output, ['ok    first: late\n', 'FAIL  second: broken\n'])
  t.match(progress.at(-1), /^\r[^a-z]+K$/, 'the line is cleared')
})
