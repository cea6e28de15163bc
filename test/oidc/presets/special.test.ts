import t from 'tap'
import { createBrowser } from '../../support/browser.ts'
import { beginLogin } from '../../support/sign-in.ts'
import { reenact, type Quirks, type Reenacted } from './reenacted-provider.ts'

const USUAL = ['openid', 'profile', 'email']
const plain: Quirks = { scopes: USUAL, issuesRefreshToken: () => true }

void t.test('apple: the response is posted, and only the scopes that Apple has are requested', async (t) => {
  const publicUrl = 'https://orders.example.com'
  const quirks: Quirks = {
    ...plain,
    scopes: ['openid', 'email', 'name'],
    document: {
      scopes_supported: ['openid', 'email', 'name'],
      token_endpoint_auth_methods_supported: ['client_secret_post'],
    },
    clientAuthentication: 'client_secret_post',
    claims: { email: 'alice@privaterelay.appleid.com' },
  }
  const gateway = await reenact(t, quirks, { preset: 'apple' }, { publicUrl })
  t.equal((await gateway.visit('/api/echo')).status, 200)
  const [authorization] = gateway.authorizations
  t.equal(authorization?.get('scope'), 'openid email')
  t.equal(authorization?.get('response_mode'), 'form_post')
  t.equal(await gateway.refresh(), 200)
})

void t.test('google: a prompt that a login asks for is sent together with consent, and none by itself', async (t) => {
  const { url } = await reenact(t, plain, { preset: 'google' })
  const promptOf = async (query: Record<string, string>): Promise<string | null> =>
    (await beginLogin(createBrowser(), url, query)).searchParams.get('prompt')
  t.equal(await promptOf({}), 'consent')
  t.equal(await promptOf({ prompt: 'select_account' }), 'select_account consent')
  const silent = await createBrowser().get(`${url}/oauth2/silent`, { kind: 'frame', from: `${url}/` })
  t.equal(new URL(silent.headers.location ?? '').searchParams.get('prompt'), 'none')
})

void t.test('entra-multitenant: the issuer of tokens follows their tid', async (t) => {
  const tenant = '8d2f4c1b-6a57-4e93-9b0e-51c7d8a2f340'
  const quirks: Quirks = {
    ...plain,
    path: '/organizations/v2.0',
    document: { issuer: '/{tenantid}/v2.0' },
    claims: { tid: tenant },
  }
  for (const [from, status] of [
    [tenant, 200],
    ['another-tenant', 502],
  ] as const) {
    const claims: Record<string, string> = { tid: tenant }
    const gateway = await reenact(t, { ...quirks, claims }, { preset: 'entra-multitenant' })
    claims['iss'] = `${gateway.provider.origin}/${from}/v2.0`
    t.equal((await gateway.visit('/api/echo')).status, status, from)
  }
})

const bearerStatus = async (gateway: Reenacted, claims: Record<string, unknown>): Promise<number> => {
  const now = Math.floor(Date.now() / 1000)
  const token = await gateway.provider.sign({
    iss: gateway.provider.issuer,
    sub: 'robot',
    iat: now,
    exp: now + 300,
    ...claims,
  })
  const headers = { authorization: `Bearer ${token}` }
  return (await createBrowser().get(`${gateway.url}/api/echo`, { kind: 'none', headers })).status
}

const routes = [{ path: '/**', bearer: { audience: ['api://orders', 'app-client'] } }]

void t.test('cognito: an access token without aud is for the client that it names', async (t) => {
  const cognito = await reenact(t, plain, { preset: 'cognito' }, { routes })
  const token = { token_use: 'access', scope: 'openid', client_id: 'app-client' }
  t.equal(await bearerStatus(cognito, token), 200)
  t.equal(await bearerStatus(cognito, { ...token, client_id: 'another-client' }), 401)
  t.equal(await bearerStatus(cognito, { ...token, client_id: undefined }), 401)
  t.equal(await bearerStatus(cognito, { ...token, aud: 'another-client' }), 401, 'aud counts if there is one')
  t.match(
    cognito
      .events('bearer_refused')
      .concat(cognito.events('invalid_token'))
      .map(({ why }) => why),
    [/its client_id is "another-client"/],
  )

  const other = await reenact(t, plain, {}, { routes })
  t.equal(await bearerStatus(other, token), 401, 'at any other provider, a token needs an aud')
})

void t.test('adfs: access tokens name the access_token_issuer of the document', async (t) => {
  const trust = 'http://sts.example.com/adfs/services/trust'
  const adfs = await reenact(t, { ...plain, document: { access_token_issuer: trust } }, { preset: 'adfs' }, { routes })
  t.equal(await bearerStatus(adfs, { iss: trust, aud: 'api://orders', scp: 'openid' }), 200)
  t.equal(await bearerStatus(adfs, { iss: `${trust}/x`, aud: 'api://orders', scp: 'openid' }), 401)
  const plainProvider = await reenact(t, plain, {}, { routes })
  t.equal(await bearerStatus(plainProvider, { iss: trust, aud: 'api://orders', scp: 'openid' }), 401)
})

void t.test('entra: a version 1 access token counts only for the tenant of the issuer', async (t) => {
  const tenant = '8d2f4c1b-6a57-4e93-9b0e-51c7d8a2f340'
  const other = '0b7d90e4-f611-4a0b-8c35-2b3f6c7a529d'
  const iss = (id: string): string => `https://sts.windows.net/${id}/`
  const token = { aud: 'api://orders', scp: 'read', ver: '1.0' }
  const entra = await reenact(t, { ...plain, path: `/${tenant}/v2.0` }, { preset: 'entra' }, { routes })
  t.equal(await bearerStatus(entra, { ...token, iss: iss(tenant), tid: tenant }), 200)
  t.equal(await bearerStatus(entra, { ...token, iss: iss(other), tid: other }), 401)
  t.equal(await bearerStatus(entra, { ...token, iss: iss(other), tid: tenant }), 401)
})

/** An end of session as Cognito and Auth0 have it: with parameters of its own, and only to a registered URL. */
const ownLogout = (name: string): NonNullable<Quirks['replies']> => ({
  [name]: (request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://provider')
    const to = searchParams.get('logout_uri') ?? searchParams.get('returnTo')
    const isKnown = searchParams.has('client_id') && to?.endsWith('/oauth2/logout/callback') === true
    if (isKnown) response.writeHead(302, { location: to ?? '' }).end()
    else response.writeHead(400).end('Required String parameter is not present')
  },
})

void t.test('cognito: the logout has client_id and logout_uri, at the announced endpoint', async (t) => {
  const quirks: Quirks = {
    ...plain,
    document: { end_session_endpoint: '/logout', scopes_supported: ['openid', 'email', 'phone', 'profile'] },
    replies: ownLogout('/logout'),
  }
  const gateway = await reenact(t, quirks, { preset: 'cognito' })
  await gateway.visit('/api/echo')
  const { provider, config, url } = gateway
  const to = await gateway.logout()
  t.equal(to.origin + to.pathname, `${provider.origin}/logout`)
  t.same(Object.fromEntries(to.searchParams), {
    client_id: config.provider.clientId,
    logout_uri: `${url}/oauth2/logout/callback`,
  })
  const { answer } = await gateway.browser.follow(await gateway.browser.get(to.href))
  t.match(answer, { status: 200, url: `${url}/oauth2/logout/callback` })
})

void t.test('auth0: the logout goes to /v2/logout, also without an end_session_endpoint', async (t) => {
  const gateway = await reenact(t, { ...plain, replies: ownLogout('/v2/logout') }, { preset: 'auth0' })
  await gateway.visit('/api/echo')
  const { provider, config, url } = gateway
  const to = await gateway.logout()
  t.equal(to.origin + to.pathname, `${provider.origin}/v2/logout`)
  t.same(Object.fromEntries(to.searchParams), {
    client_id: config.provider.clientId,
    returnTo: `${url}/oauth2/logout/callback`,
  })
  const { answer } = await gateway.browser.follow(await gateway.browser.get(to.href))
  t.match(answer, { status: 200, url: `${url}/oauth2/logout/callback` })
})

void t.test('linkedin: a login without PKCE and nonce succeeds with the preset, and fails without it', async (t) => {
  const quirks: Quirks = {
    ...plain,
    document: { scopes_supported: ['openid', 'profile', 'email'] },
    issuesRefreshToken: () => false,
    refusesPkce: true,
    clientAuthentication: 'client_secret_post',
    claims: { nonce: undefined },
  }
  const gateway = await reenact(t, quirks, { preset: 'linkedin' })
  t.equal((await gateway.visit('/api/echo')).status, 200)
  t.equal(gateway.authorizations[0]?.get('scope'), 'openid profile email')
  const without = await reenact(t, quirks, { clientAuthentication: 'client_secret_post' })
  t.not((await without.visit('/api/echo')).status, 200)
})

void t.test(
  'oracle: an ID token with two audiences and no azp is accepted, and the issuer may be that of all domains',
  async (t) => {
    const claims: Record<string, unknown> = {}
    const gateway = await reenact(t, { ...plain, claims }, { preset: 'oracle' })
    claims['aud'] = [gateway.config.provider.clientId, 'https://idcs-0a1b2c3d.identity.oraclecloud.com']
    t.equal((await gateway.visit('/api/echo')).status, 200)
    const without = await reenact(t, { ...plain, claims }, {})
    claims['aud'] = [without.config.provider.clientId, 'https://idcs-0a1b2c3d.identity.oraclecloud.com']
    t.equal((await without.visit('/api/echo')).status, 502)
  },
)
