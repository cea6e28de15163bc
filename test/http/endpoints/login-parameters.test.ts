import t from 'tap'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { authorizationUrlOf, beginLogin, plainPage } from '../../support/sign-in.ts'
import { startScriptedProvider } from '../../oidc/scripted-provider.ts'

void t.test('ui_locales, kc_idp_hint and organization go to the provider, and other parameters do not', async (t) => {
  const { url } = await startGateway(t)
  const asked = { ui_locales: 'de en', kc_idp_hint: 'partners', organization: 'org_1' }
  const { searchParams } = await beginLogin(createBrowser(), url, { ...asked, screen_hint: 'signup', display: 'popup' })
  t.match(Object.fromEntries(searchParams), asked)
  t.notOk(searchParams.has('screen_hint') || searchParams.has('display'))
})

void t.test('loginParameters replaces the list; the first of several values counts, and no empty one', async (t) => {
  const { url } = await startGateway(t, { config: { provider: { loginParameters: ['screen_hint', 'connection'] } } })
  const answer = await createBrowser().get(
    `${url}/oauth2/login?screen_hint=signup&screen_hint=login&ui_locales=de&connection=`,
  )
  const { searchParams } = authorizationUrlOf(answer)
  t.same(searchParams.getAll('screen_hint'), ['signup'])
  t.notOk(searchParams.has('ui_locales') || searchParams.has('connection'))
})

void t.test('authorizationParameters take precedence over a link', async (t) => {
  const { url } = await startGateway(t, {
    config: { provider: { authorizationParameters: { organization: 'org_1' } } },
  })
  const { searchParams } = await beginLogin(createBrowser(), url, { organization: 'org_2', ui_locales: 'de' })
  t.same(searchParams.getAll('organization'), ['org_1'])
  t.equal(searchParams.get('ui_locales'), 'de')
})

void t.test(
  'the parameters survive the fragment page, a login that starts again, and a script’s login_url',
  async (t) => {
    const provider = await startScriptedProvider(t)
    const { url } = await startGateway(t, { config: { provider: { issuer: provider.issuer } } })
    const browser = createBrowser()
    const query = 'kc_idp_hint=partners&ui_locales=de%20en'
    const page = await browser.get(`${url}/oauth2/login?redirect=/orders&${query}`)
    t.match(page.body, /"\/oauth2\/login\?kc_idp_hint=partners\\u0026ui_locales=de\+en\\u0026fragment=kept/)

    const { searchParams } = authorizationUrlOf(page)
    const callback = new URL(`${url}/oauth2/callback`)
    const state = searchParams.get('state') ?? ''
    callback.search = new URLSearchParams({ error: 'temporarily_unavailable', state }).toString()
    const refused = await browser.get(callback.href)
    t.match(refused.headers.location, /\/oauth2\/login\?.*ui_locales=de\+en&kc_idp_hint=partners/)
    const again = await browser.get(refused.headers.location ?? '', plainPage)
    t.match(Object.fromEntries(authorizationUrlOf(again).searchParams), {
      kc_idp_hint: 'partners',
      ui_locales: 'de en',
    })

    const problem = await browser.get(`${url}/oauth2/login?redirect=/orders&${query}`, { kind: 'script' })
    t.equal(problem.status, 401)
    t.match(Object.fromEntries(new URL(String(problem.json()['login_url'])).searchParams), {
      redirect: '/orders',
      kc_idp_hint: 'partners',
      ui_locales: 'de en',
    })
  },
)

void t.test('a parameter that the provider refuses in a pushed request is a 400', async (t) => {
  const { url, idp } = await startGateway(t, { idp: { pushedAuthorization: true } })
  idp.fail('par', { status: 400, body: { error: 'invalid_request', error_description: 'unknown organization' } })
  const refused = await createBrowser().get(`${url}/oauth2/login?organization=org_x`)
  t.match([refused.status, refused.headers.gatehouse], [400, 'login_failed'])
  t.match(refused.body, 'did not accept what this sign-in asks for')
})

void t.test('a login with kc_idp_hint is not pushed to Keycloak, which would ignore the parameter', async (t) => {
  const keycloak = await startScriptedProvider(t, '/realms/orders')
  keycloak.document['token_endpoint'] = `${keycloak.issuer}/protocol/openid-connect/token`
  keycloak.document['pushed_authorization_request_endpoint'] = `${keycloak.origin}/par`
  keycloak.paths.set('/par', { request_uri: 'urn:example:pushed', expires_in: 60 })
  const { url } = await startGateway(t, { config: { provider: { issuer: keycloak.issuer } } })
  t.equal((await beginLogin(createBrowser(), url)).searchParams.get('request_uri'), 'urn:example:pushed')
  const hinted = await beginLogin(createBrowser(), url, { kc_idp_hint: 'partners' })
  t.equal(hinted.searchParams.get('kc_idp_hint'), 'partners')
})
