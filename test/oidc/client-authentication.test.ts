import { createHash, generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { decodeJwt, decodeProtectedHeader, exportJWK, jwtVerify, SignJWT, type JWTHeaderParameters } from 'jose'
import t, { type Test } from 'tap'
import type { ClientAuthentication } from '../../src/demo/idp/clients.ts'
import { createBrowser } from '../support/browser.ts'
import { createAuthority } from '../support/certificates.ts'
import { moveClock } from '../support/clock.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin } from '../support/sign-in.ts'
import { startScriptedProvider } from './scripted-provider.ts'

const all: ClientAuthentication[] = [
  'client_secret_basic',
  'client_secret_post',
  'client_secret_jwt',
  'private_key_jwt',
  'none',
]

interface Case {
  provider?: object
  client: object
  announced?: ClientAuthentication[]
}

/** The provider accepts the one way that the client is registered with; a login and a refresh have to get through. */
const logsIn = async (t: Test, { provider = {}, client, announced = all }: Case): Promise<Running> => {
  const running = await startGateway(t, {
    config: { provider },
    client,
    idp: { clientAuthentications: announced },
  })
  const { url, idp } = running
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/orders`, 'alice')
  t.equal(answer.url, `${url}/orders`)
  const refreshed = await browser.post(`${url}/oauth2/session/refresh`, '', { kind: 'script' })
  t.equal(refreshed.status, 200)
  t.same(idp.grants, { authorization_code: 1, refresh_token: 1 })
  return running
}

const assertionOf = ({ idp }: Running): string => idp.lastTokenRequest?.['client_assertion'] ?? ''
const headerOf = (running: Running): Partial<JWTHeaderParameters> => decodeProtectedHeader(assertionOf(running))

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString()

void t.test('client_secret_basic', async (t) =>
  logsIn(t, {
    provider: { clientAuthentication: 'client_secret_basic' },
    client: { clientAuthentication: 'client_secret_basic' },
  }),
)

void t.test('client_secret_basic with a secret that has to be escaped (RFC 6749, section 2.3.1)', async (t) => {
  const clientSecret = 'a:b%c&d=e/+?~'
  await logsIn(t, {
    provider: { clientAuthentication: 'client_secret_basic', clientSecret },
    client: { clientAuthentication: 'client_secret_basic', clientSecret },
  })
})

void t.test('client_secret_post', async (t) =>
  logsIn(t, {
    provider: { clientAuthentication: 'client_secret_post' },
    client: { clientAuthentication: 'client_secret_post' },
  }),
)

void t.test('a public client uses no authentication', async (t) =>
  logsIn(t, {
    provider: { clientAuthentication: 'none', clientSecret: null },
    client: { clientAuthentication: 'none', clientSecret: undefined },
  }),
)

void t.test('auto is client_secret_post if the provider announces it', async (t) =>
  logsIn(t, {
    client: { clientAuthentication: 'client_secret_post' },
  }),
)

void t.test('auto is client_secret_basic if the provider does not announce client_secret_post', async (t) =>
  logsIn(t, {
    client: { clientAuthentication: 'client_secret_basic' },
    announced: ['client_secret_basic', 'none'],
  }),
)

for (const [name, pair] of [
  ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
] as const) {
  void t.test(`auto is private_key_jwt with a key, here ${name}`, async (t) => {
    const jwk = await exportJWK(pair.publicKey)
    await logsIn(t, {
      provider: { privateKey: pem(pair.privateKey), clientSecret: null },
      client: { clientSecret: undefined, jwks: { keys: [{ ...jwk, use: 'sig' }] } },
    })
  })
}

void t.test('an RSA key in PEM uses PS256 for a client that must use it, after one refused request', async (t) => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const running = await logsIn(t, {
    provider: { privateKey: pem(pair.privateKey), clientSecret: null },
    client: {
      clientSecret: undefined,
      jwks: { keys: [{ ...(await exportJWK(pair.publicKey)), use: 'sig' }] },
      metadata: { token_endpoint_auth_signing_alg: 'PS256' },
    },
  })
  t.equal(headerOf(running).alg, 'PS256')
  t.same(running.idp.tokenRequests, 3, 'a refused request, the login and a refresh')
})

void t.test('an unknown RSA key is tried with both algorithms, and the log has the provider’s error', async (t) => {
  const own = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const { url, idp, events } = await startGateway(t, {
    config: { provider: { privateKey: pem(other.privateKey), clientSecret: null } },
    client: { clientSecret: undefined, jwks: { keys: [{ ...(await exportJWK(own.publicKey)), use: 'sig' }] } },
  })
  t.equal((await createBrowser().login(`${url}/orders`, 'alice')).answer.status, 502)
  t.equal(idp.tokenRequests, 2)
  t.match(String(events('login_failed')[0]?.['cause']), /invalid_client/)
})

void t.test('an unknown client key ends in a page that blames the provider’s side, without a session', async (t) => {
  const known = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { url, events } = await startGateway(t, {
    config: { provider: { privateKey: pem(other.privateKey), clientSecret: null } },
    client: { clientSecret: undefined, jwks: { keys: [{ ...(await exportJWK(known.publicKey)), use: 'sig' }] } },
  })
  const browser = createBrowser()
  const { answer } = await browser.login(`${url}/orders`, 'alice')
  t.equal(answer.status, 502)
  t.equal(answer.headers.gatehouse, 'login_failed')
  t.notOk(browser.cookies.get(url, 'gatehouse'))
  t.match(String(events('login_failed')[0]?.['cause']), /invalid_client/)
})

void t.test('a wrong client secret is a 502 with the cause in the log, without the secret', async (t) => {
  const { url, log, events } = await startGateway(t, { config: { provider: { clientSecret: 'a-wrong-secret' } } })
  const { answer } = await createBrowser().login(`${url}/orders`, 'alice')
  t.equal(answer.status, 502)
  t.match(String(events('login_failed')[0]?.['cause']), /invalid_client/)
  t.notMatch(log.join(''), 'a-wrong-secret')
})

void t.test('client_secret_jwt', async (t) => {
  const running = await logsIn(t, {
    provider: { clientAuthentication: 'client_secret_jwt' },
    client: { clientAuthentication: 'client_secret_jwt', metadata: { token_endpoint_auth_signing_alg: 'HS256' } },
  })
  t.same(headerOf(running), { alg: 'HS256' })
})

void t.test('an assertion is for the issuer, short-lived, and has a kid only if one is configured', async (t) => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...(await exportJWK(pair.publicKey)), use: 'sig', kid: 'key-7' }
  const client = { clientSecret: undefined, jwks: { keys: [jwk] } }
  const privateKey = pem(pair.privateKey)

  const plain = await logsIn(t, { provider: { privateKey, clientSecret: null }, client })
  t.same(headerOf(plain), { alg: 'RS256' })
  const { clientId } = plain.config.provider
  const { iat = 0, exp = 0, jti, ...claims } = decodeJwt(assertionOf(plain))
  t.match(claims, { iss: clientId, sub: clientId, aud: plain.idp.issuer })
  t.ok(exp - iat <= 300)
  t.ok(jti)

  const named = await logsIn(t, { provider: { privateKey, clientSecret: null, keyId: 'key-7' }, client })
  t.same(headerOf(named), { alg: 'RS256', kid: 'key-7' })
})

void t.test('a JWK brings its kid and its alg', async (t) => {
  for (const [alg, pair] of [
    ['PS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['EdDSA', generateKeyPairSync('ed25519')],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ] as const) {
    const running = await logsIn(t, {
      provider: {
        privateKey: JSON.stringify({ ...(await exportJWK(pair.privateKey)), kid: 'from-the-jwk', alg }),
        clientSecret: null,
      },
      client: {
        clientSecret: undefined,
        jwks: { keys: [{ ...(await exportJWK(pair.publicKey)), use: 'sig', kid: 'from-the-jwk' }] },
        metadata: { token_endpoint_auth_signing_alg: alg },
      },
    })
    t.same(headerOf(running), { alg, kid: 'from-the-jwk' })
  }
})

void t.test('a certificate is named by both thumbprints', async (t) => {
  const { cert, key } = createAuthority().issue(['gateway.example.com'])
  const running = await logsIn(t, {
    provider: { privateKey: key, certificate: cert, clientSecret: null },
    client: {
      clientSecret: undefined,
      jwks: { keys: [{ ...(await exportJWK(new X509Certificate(cert).publicKey)), use: 'sig' }] },
    },
  })
  const digest = (name: string): string => createHash(name).update(new X509Certificate(cert).raw).digest('base64url')
  t.same(headerOf(running), { 'alg': 'ES256', 'typ': 'JWT', 'x5t': digest('sha1'), 'x5t#S256': digest('sha256') })
})

void t.test('a client assertion file is read for each call', async (t) => {
  const file = join(t.testdir({ token: '' }), 'token')
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const running = await startGateway(t, {
    config: { provider: { clientSecret: null, clientAssertionFile: file } },
    client: { clientSecret: undefined, jwks: { keys: [{ ...(await exportJWK(publicKey)), use: 'sig' }] } },
  })
  const { url, idp, config, events, log } = running
  const rotate = async (jti: string): Promise<string> => {
    const jwt = await new SignJWT({ jti })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer(config.provider.clientId)
      .setSubject(config.provider.clientId)
      .setAudience(idp.issuer)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(privateKey)
    writeFileSync(file, `${jwt}\n`)
    return jwt
  }
  const browser = createBrowser()
  const script = { kind: 'script' } as const

  const empty = (await browser.login(`${url}/orders`, 'alice')).answer
  t.equal(empty.status, 503)
  t.match(String(events('provider_unavailable').at(-1)?.['cause']), `provider.clientAssertionFile ${file} is empty`)
  t.equal(idp.tokenRequests, 0, 'the provider is not asked without an assertion')

  const first = await rotate('first')
  t.equal((await browser.login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
  t.equal(assertionOf(running), first)

  const second = await rotate('second')
  t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200)
  t.equal(assertionOf(running), second)

  rmSync(file)
  moveClock(t, 60_000)
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.match(events('refresh_failed').at(-1), {
    refusal: 'unclear',
    cause: new RegExp(`provider.clientAssertionFile .*token cannot be read ← ENOENT`),
  })
  t.equal((await browser.get(`${url}/oauth2/session`, script)).status, 200, 'the session lives')

  writeFileSync(file, 'hunter2 is not a token')
  moveClock(t, 60_000)
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.match(String(events('refresh_failed').at(-1)?.['cause']), /does not contain a JWT/)
  t.notMatch(log.join(''), 'hunter2')

  await rotate('third')
  moveClock(t, 60_000)
  t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200)
})

void t.test('with preset: apple, the client secret is a JWT made for each call', async (t) => {
  const provider = await startScriptedProvider(t)
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { url } = await startGateway(t, {
    config: {
      provider: {
        issuer: provider.issuer,
        preset: 'apple',
        responseMode: 'query',
        clientId: 'com.example.orders',
        clientSecret: null,
        privateKey: pem(privateKey),
        keyId: 'ABC123DEFG',
        teamId: 'DEF123GHIJ',
      },
    },
  })
  let form = new URLSearchParams()
  provider.paths.set('/token', (request, response) => {
    void text(request).then((body) => {
      form = new URLSearchParams(body)
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
    })
  })
  const browser = createBrowser()
  const authorization = await beginLogin(browser, url)
  const { searchParams } = authorization
  const callback = new URL(searchParams.get('redirect_uri') ?? '')
  callback.search = new URLSearchParams({ code: 'x', state: searchParams.get('state') ?? '' }).toString()
  await browser.get(callback.href)

  const { payload, protectedHeader } = await jwtVerify(form.get('client_secret') ?? '', publicKey)
  t.same(protectedHeader, { alg: 'ES256', kid: 'ABC123DEFG' })
  t.match(payload, { iss: 'DEF123GHIJ', sub: 'com.example.orders', aud: 'https://appleid.apple.com' })
  t.ok(Number(payload.exp) - Number(payload.iat) <= 15_777_000, 'Apple accepts six months at most')
  t.equal(form.get('client_id'), 'com.example.orders')
  t.notOk(form.has('client_assertion'))
})

void t.test('for an issuer template, an assertion is for the token endpoint', async (t) => {
  const provider = await startScriptedProvider(t, '/common/v2.0')
  provider.document['issuer'] = `${provider.origin}/{tenantid}/v2.0`
  provider.paths.set('/{tenantid}/v2.0/.well-known/openid-configuration', provider.document)
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { url } = await startGateway(t, {
    config: {
      provider: { issuer: `${provider.origin}/{tenantid}/v2.0`, clientSecret: null, privateKey: pem(privateKey) },
    },
  })
  let assertion = ''
  provider.paths.set('/token', (request, response) => {
    void text(request).then((body) => {
      assertion = new URLSearchParams(body).get('client_assertion') ?? ''
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}')
    })
  })
  const browser = createBrowser()
  const { searchParams } = await beginLogin(browser, url)
  const callback = new URL(searchParams.get('redirect_uri') ?? '')
  callback.search = new URLSearchParams({ code: 'x', state: searchParams.get('state') ?? '' }).toString()
  await browser.get(callback.href)
  t.equal(decodeJwt(assertion).aud, `${provider.origin}/token`)
})
