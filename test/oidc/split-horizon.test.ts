import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'
import { startApplication } from '../support/application.ts'
import { createBrowser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin, plainPage } from '../support/sign-in.ts'

const METADATA = '/realms/orders/.well-known/openid-configuration'

/** Gateways with a scripted provider do not use this provider. */
const shared = { idp: await startIdp(), upstream: await startUpstream() }
t.teardown(async () => Promise.all([shared.idp.close(), shared.upstream.close()]))

const gatewayFor = async (t: Test, keys: object, config: object = {}): Promise<Running> =>
  startGateway(t, { ...shared, config: { ...config, provider: keys } })

/** A provider with two names: its own, and the one that browsers use. */
const startTwoNames = async (t: Test): Promise<{ provider: ScriptedProvider; outer: string }> => {
  const provider = await startScriptedProvider(t, '/realms/orders')
  const outer = provider.origin.replace('127.0.0.1', 'localhost')
  provider.document['end_session_endpoint'] = `${provider.origin}/logout`
  return { provider, outer }
}

const causeOf = async ({ url, events }: Running): Promise<string> => {
  await createBrowser().get(`${url}/oauth2/login`, plainPage)
  return String(events('provider_unavailable').at(-1)?.['cause'])
}

void t.test('the discovery document may be at another URL, and its issuer must be the configured one', async (t) => {
  const { provider } = await startTwoNames(t)
  provider.paths.delete(METADATA)
  const issuer = 'https://login.example.com/realms/orders'
  provider.document['issuer'] = issuer
  const running = await gatewayFor(t, { issuer, metadataUrl: `${provider.origin}/inside/configuration?realm=orders` })
  t.match(await causeOf(running), new RegExp(`${provider.origin}/inside/configuration.* answers 404 \\(text/html\\)`))
  provider.paths.set('/inside/configuration', (_request, response) => {
    response.writeHead(307, { location: '/moved' }).end()
  })
  provider.paths.set('/moved', { ...provider.document, issuer: 'https://login.example.com/realms/stock' })
  const cause = await causeOf(running)
  t.match(cause, `provider.issuer is ${issuer}, but the document at ${provider.origin}/moved has the issuer `)
  t.match(cause, 'write issuer: https://login.example.com/realms/stock')
  provider.paths.set('/moved', provider.document)
  t.equal((await provider.login(running.url, { iss: issuer })).answer.headers.location, '/orders')
})

void t.test(
  'a document with inner names: browsers are sent to the outer origin, calls go to the inner one',
  async (t) => {
    const { provider, outer } = await startTwoNames(t)
    const running = await gatewayFor(t, { issuer: provider.issuer, browserIssuerUrl: outer })
    const { url } = running
    const outerIssuer = `${outer}/realms/orders`
    for (const iss of [provider.issuer, outerIssuer]) {
      const { authorization, answer } = await provider.login(url, {}, {}, { iss })
      t.equal(authorization.origin + authorization.pathname, `${outer}/authorize`)
      t.equal(answer.headers.location, '/orders', iss)
    }
    const stranger = await provider.login(url, {}, {}, { iss: `${provider.origin}/realms/stock` })
    t.equal(stranger.answer.status, 400)
    t.equal(
      (await provider.login(url, { iss: outerIssuer })).answer.status,
      502,
      'tokens have the issuer of the document',
    )

    const { browser } = await provider.login(url)
    const out = await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
    t.match(out.headers.location, new RegExp(`^${outer}/logout\\?`))
  },
)

void t.test('both names count in requests of browsers', async (t) => {
  const { provider, outer } = await startTwoNames(t)
  const { url } = await gatewayFor(t, { issuer: provider.issuer, browserIssuerUrl: outer })
  const issuers = { [provider.issuer]: true, [`${outer}/realms/orders`]: true, [`${outer}/realms/stock`]: false }
  for (const [iss, isKnown] of Object.entries(issuers)) {
    const { browser } = await provider.login(url, { sid: iss })
    const query = new URLSearchParams({ iss, sid: iss }).toString()
    const front = await createBrowser().get(`${url}/oauth2/logout/frontchannel?${query}`)
    t.equal(front.status, isKnown ? 200 : 400, iss)
    t.equal((await browser.get(`${url}/api/orders`, { kind: 'script' })).status, isKnown ? 401 : 200, iss)
    const initiated = await createBrowser().get(`${url}/oauth2/login?${query}`, plainPage)
    t.equal(initiated.status, isKnown ? 302 : 400, iss)
  }
})

void t.test('an application that redirects a script to either name is answered with a login', async (t) => {
  const { provider, outer } = await startTwoNames(t)
  const application = await startApplication(t, ({ url }, response) => {
    const origins: Record<string, string> = { '/inner': provider.origin, '/outer': outer }
    const location = `${origins[url ?? ''] ?? 'https://elsewhere.example'}/authorize?client_id=application`
    response.writeHead(302, { location }).end()
  })
  const { url } = await gatewayFor(
    t,
    { issuer: provider.issuer, browserIssuerUrl: outer },
    { routes: [{ path: '/**', access: 'public', upstream: application.url }] },
  )
  await beginLogin(createBrowser(), url)
  const status = async (path: string): Promise<number> =>
    (await createBrowser().get(`${url}${path}`, { kind: 'script' })).status
  t.equal(await status('/inner'), 401)
  t.equal(await status('/outer'), 401)
  t.equal(await status('/other'), 302)
})

void t.test('a document with outer names, as Keycloak’s with a hostname, is read at the inner address', async (t) => {
  const { provider, outer } = await startTwoNames(t)
  const issuer = `${outer}/realms/orders`
  Object.assign(provider.document, { issuer, authorization_endpoint: `${outer}/authorize` })
  for (const keys of [{}, { browserIssuerUrl: outer }]) {
    const { url } = await gatewayFor(t, { issuer, metadataUrl: `${provider.origin}${METADATA}`, ...keys })
    const { authorization, answer } = await provider.login(url, { iss: issuer }, {}, { iss: issuer })
    t.equal(authorization.origin, outer)
    t.equal(answer.headers.location, '/orders')
    t.equal((await provider.login(url, { iss: provider.issuer })).answer.status, 502)
  }
})

void t.test('a document with plain http endpoints is refused unless they are local or allowHttp is set', async (t) => {
  const { provider, outer } = await startTwoNames(t)
  provider.document['token_endpoint'] = 'http://login.example.com/token'
  const refused = await causeOf(await gatewayFor(t, { issuer: provider.issuer }))
  t.match(refused, 'the token_endpoint in the provider’s metadata is plain http: http://login.example.com/token')
  t.match(refused, 'allowHttp: true')
  const allowed = await gatewayFor(t, { issuer: provider.issuer, allowHttp: true })
  t.ok(await beginLogin(createBrowser(), allowed.url))

  provider.document['token_endpoint'] = `${provider.origin}/token`
  provider.document['authorization_endpoint'] = 'http://keycloak:8080/authorize'
  const { url } = await gatewayFor(t, { issuer: provider.issuer, browserIssuerUrl: outer })
  const authorization = await beginLogin(createBrowser(), url)
  t.equal(authorization.origin, outer, 'the inner address is replaced, so it does not matter')
})
