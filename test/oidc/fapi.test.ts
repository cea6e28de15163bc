import { generateKeyPair, exportJWK, exportPKCS8 } from 'jose'
import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { startApplication } from '../support/application.ts'
import { createProofCheck, NonceError } from '../support/dpop.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { CLIENT_ID, documentedProvider, startFapiProvider, type Bend, type FapiProvider } from './fapi-provider.ts'

const script = { kind: 'script' } as const

/** Starts a gateway for a FAPI 2.0 provider, in front of an application that requires proofs with its own nonces. */
const withFapi = async (t: Test): Promise<Running & { provider: FapiProvider; refusals: string[] }> => {
  const provider = await startFapiProvider(t)
  const check = createProofCheck()
  const refusals: string[] = []
  const application = await startApplication(t, (req, res) => {
    check(req, { htu: `http://${req.headers.host ?? ''}${req.url ?? ''}`, nonce: 'application-nonce' }).then(
      ({ token, jkt }) => {
        const isBound = provider.bindings.get(token ?? '') === jkt
        if (!isBound) refusals.push('the token is bound to another key')
        res.writeHead(isBound ? 200 : 401).end('accounts')
      },
      (error: unknown) => {
        if (!(error instanceof NonceError)) refusals.push(String(error))
        res.writeHead(401, {
          'www-authenticate': 'DPoP error="use_dpop_nonce", algs="ES256"',
          'dpop-nonce': 'application-nonce',
        })
        res.end()
      },
    )
  })
  const running = await startGateway(t, {
    config: { provider: provider.client, routes: [{ path: '/**', upstream: application.url }] },
  })
  return { ...running, provider, refusals }
}

/** The conformance suite's modules for clients: the response that each bends, and where the gateway must end up. */
const MODULES: readonly [name: string, end: 'session' | 'refused', bend: Bend][] = [
  ['happy-path', 'session', {}],
  ['valid-aud-as-array', 'session', { idToken: { aud: [CLIENT_ID] } }],
  ['no-expires-in', 'session', { tokens: { expires_in: undefined } }],
  ['token-type-case-insensitivity', 'session', { tokens: { token_type: 'dPoP' } }],
  ['invalid-iss', 'refused', { idToken: { iss: 'https://attacker.example' } }],
  ['invalid-aud', 'refused', { idToken: { aud: 'another-client' } }],
  ['invalid-secondary-aud', 'refused', { idToken: { aud: [CLIENT_ID, 'another-client'] } }],
  ['invalid-null-alg', 'refused', { algorithm: 'none' }],
  ['invalid-alternate-alg', 'refused', { algorithm: 'PS256' }],
  ['invalid-expired-exp', 'refused', { idToken: { exp: Math.floor(Date.now() / 1000) - 600 } }],
  ['invalid-missing-exp', 'refused', { idToken: { exp: undefined } }],
  ['invalid-missing-aud', 'refused', { idToken: { aud: undefined } }],
  ['invalid-missing-iss', 'refused', { idToken: { iss: undefined } }],
  ['invalid-nonce', 'refused', { idToken: { nonce: 'another' } }],
  ['invalid-missing-nonce', 'refused', { idToken: { nonce: undefined } }],
  ['invalid-authorization-response-iss', 'refused', { callback: { iss: 'https://attacker.example' } }],
  ['remove-authorization-response-iss', 'refused', { callback: { iss: undefined } }],
  ['invalid-state', 'refused', { callback: { state: 'another' } }],
  ['missing-state', 'refused', { callback: { state: undefined } }],
]

void t.test('a FAPI 2.0 provider and an application behind the gateway find no fault', async (t) => {
  const { url, provider, refusals } = await withFapi(t)
  for (const [name, end, bend] of MODULES) {
    const { browser, answer } = await provider.login(url, bend)
    const isLoggedIn = answer.headers['set-cookie']?.some((line) => /^gatehouse=./.test(line)) ?? false
    t.equal(isLoggedIn ? 'session' : 'refused', end, name)
    if (end === 'refused') {
      t.ok(answer.status >= 400, `${name}: ${answer.status}`)
      continue
    }
    t.equal((await browser.get(`${url}/api/accounts`, script)).body, 'accounts', name)
    t.match((await browser.get(`${url}/oauth2/userinfo`, script)).json(), { department: 'ops' }, name)
    t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200, name)
    t.equal((await browser.get(`${url}/api/accounts`, script)).body, 'accounts', `${name}, after a refresh`)
  }
  t.same(provider.problems, [])
  t.same(refusals, [])
  t.equal(provider.withoutNonce(), 2, 'only the first requests for tokens and for userinfo')
})

void t.test('discovery-issuer-mismatch', async (t) => {
  const provider = await startFapiProvider(t)
  provider.document['issuer'] = `${provider.origin}/another`
  const { url } = await startGateway(t, { config: { provider: provider.client } })
  t.equal((await createBrowser().get(`${url}/oauth2/login`)).status, 503)
})

void t.test('oidc-provider accepts the gateway under its FAPI 2.0 profile', async (t) => {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  const { issuer: _issuer, clientId: _clientId, ...documented }: Record<string, unknown> = { ...documentedProvider() }
  const { url, idp, upstream } = await startGateway(t, {
    config: {
      provider: {
        ...documented,
        clientSecret: null,
        privateKey: await exportPKCS8(privateKey),
        keyId: 'fapi-key',
        userinfo: true,
      },
    },
    client: {
      clientSecret: undefined,
      jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: 'fapi-key', use: 'sig', alg: 'ES256' }] },
      idTokenSigningAlgorithm: 'ES256',
      dpopBound: true,
    },
    idp: { fapi: true, dpop: 'nonce', pushedAuthorization: 'required', clientAuthentications: ['private_key_jwt'] },
  })
  const browser = createBrowser()
  t.equal((await browser.login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
  t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200)
  t.same(idp.grants, { authorization_code: 1, refresh_token: 1 })
  t.equal(idp.parRequests, 1)
  t.match(upstream.requests.at(-1)?.headers.authorization, /^DPoP /)
  t.same(idp.serverErrors, [])
})
