import { SignJWT } from 'jose'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { plainPage } from '../support/sign-in.ts'

const METADATA = '/.well-known/openid-configuration'

/** Gateways with a scripted provider do not use this provider. */
const shared = { idp: await startIdp(), upstream: await startUpstream() }
t.teardown(async () => Promise.all([shared.idp.close(), shared.upstream.close()]))

const gatewayFor = async (t: Test, provider: ScriptedProvider, keys: object): Promise<Running> =>
  startGateway(t, {
    ...shared,
    config: { admin: { listen: '127.0.0.1:0' }, provider: { issuer: provider.issuer, ...keys } },
  })

const namedBy = ({ origin }: ScriptedProvider): object => ({
  authorization: `${origin}/authorize`,
  token: `${origin}/token`,
  jwks: `${origin}/keys`,
})

void t.test(
  'a provider without a discovery document is used by its endpoints and is never asked for one',
  async (t) => {
    const provider = await startScriptedProvider(t)
    provider.paths.delete(METADATA)
    provider.paths.set('/userinfo', { sub: 'alice', department: 'sales' })
    provider.paths.set('/revoke', {})
    const endpoints = {
      ...namedBy(provider),
      userinfo: `${provider.origin}/userinfo`,
      endSession: `${provider.origin}/logout`,
      revocation: `${provider.origin}/revoke`,
    }
    const { url, gateway } = await gatewayFor(t, provider, { endpoints, userinfo: true, metadataAge: '1s' })
    t.equal((await gateway.admin?.inject({ method: 'GET', url: '/readyz' }))?.statusCode, 200, 'ready at once')

    const { browser, answer, authorization } = await provider.login(url, {}, { refresh_token: 'r1' })
    t.equal(answer.headers.location, '/orders')
    t.equal(authorization.pathname, '/authorize')
    t.equal(authorization.searchParams.get('scope'), 'openid profile email', 'no scope is announced')
    t.equal((await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()['department'], 'sales')
    const out = await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
    t.match(out.headers.location, `${provider.origin}/logout?`)
    for (const claims of [{ iss: 'https://other.example' }, { aud: 'another' }])
      t.equal((await provider.login(url, claims)).answer.status, 502, JSON.stringify(claims))
    await sleep(1_100)
    t.equal(provider.asked(METADATA), 0)
  },
)

void t.test('without a discovery document, ID tokens may have every asymmetric signature', async (t) => {
  const { idp } = shared
  const [authorization, token, jwks] = [`${idp.issuer}/authorize`, `${idp.issuer}/token`, `${idp.issuer}/jwks`]
  const { url } = await startGateway(t, {
    ...shared,
    client: { idTokenSigningAlgorithm: 'ES256' },
    config: { provider: { endpoints: { authorization, token, jwks } } },
  })
  t.equal((await createBrowser().login(`${url}/orders`, 'alice')).answer.url, `${url}/orders`)
  t.equal(idp.requests.discovery, 0)

  const provider = await startScriptedProvider(t)
  const { url: other, events } = await gatewayFor(t, provider, { clientSecret: 'secret', endpoints: namedBy(provider) })
  const now = Math.floor(Date.now() / 1000)
  const symmetric = await new SignJWT({ iss: provider.issuer, sub: 'alice', iat: now, exp: now + 300 })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(Buffer.from('secret'.padEnd(32, '-')))
  t.equal((await provider.login(other, {}, { id_token: symmetric })).answer.status, 502)
  t.match(events('login_failed').at(-1)?.['cause'], /signed with HS256/)
})

void t.test('single endpoints replace those of the discovery document', async (t) => {
  const provider = await startScriptedProvider(t)
  provider.document['token_endpoint'] = 'https://login.example.com/token'
  provider.document['end_session_endpoint'] = `${provider.origin}/logout`
  const endpoints = { token: `${provider.origin}/token`, endSession: `${provider.origin}/sign-out?client=orders` }
  const { url } = await gatewayFor(t, provider, { endpoints })
  const { browser, answer } = await provider.login(url)
  t.equal(answer.headers.location, '/orders')
  const out = await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  t.match(out.headers.location, `${provider.origin}/sign-out?client=orders&`)
  t.equal(provider.asked(METADATA), 1)
})

void t.test('an endpoint may complete a discovery document that lacks it', async (t) => {
  const provider = await startScriptedProvider(t)
  delete provider.document['jwks_uri']
  const running = await gatewayFor(t, provider, {})
  t.equal((await createBrowser().get(`${running.url}/oauth2/login`, plainPage)).status, 503)
  t.match(
    running.events('provider_unavailable').at(-1)?.['cause'],
    'metadata has no jwks_uri: set it in provider.endpoints',
  )
  const { url } = await gatewayFor(t, provider, { endpoints: { jwks: `${provider.origin}/keys` } })
  t.equal((await provider.login(url)).answer.headers.location, '/orders')
})
