import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPair, exportJWK, createRemoteJWKSet, jwtVerify } from 'jose'
import * as oidc from 'openid-client'
import type { Test } from 'tap'
import t from 'tap'
import { startIdp, type IdpOptions } from '../../src/demo/idp.ts'
import { acrs } from '../../src/demo/idp/acr.ts'
import type { IdpClient } from '../../src/demo/idp/clients.ts'
import { createBrowser } from '../support/browser.ts'
import { createAuthority } from '../support/certificates.ts'
import { exchange } from '../support/exchange.ts'
import { startRelyingParty } from './relying-party.ts'

const setUp = async (test: Test, options: IdpOptions = {}, client: Partial<IdpClient> = {}) => {
  const idp = await startIdp(options)
  test.teardown(async () => {
    await idp.close()
    if (idp.serverErrors.length > 0) throw new AggregateError(idp.serverErrors, 'the provider made mistakes of its own')
  })
  const app = await startRelyingParty(idp, { client })
  test.teardown(app.close)
  return { idp, app, browser: createBrowser() }
}

const refreshToken = (tokens: oidc.TokenEndpointResponse): string => {
  if (tokens.refresh_token === undefined) throw new Error('there is no refresh token')
  return tokens.refresh_token
}

const invalidGrant = { name: 'ResponseBodyError', error: 'invalid_grant' }

void t.test('a login puts the user’s claims into the ID token', async (t) => {
  const { idp, app, browser } = await setUp(t)
  const before = Math.floor(Date.now() / 1000)
  const { answer, hops } = await browser.login(await app.loginUrl(), 'alice')

  t.equal(answer.body, 'signed in')
  t.ok(hops.length >= 4, 'over the login page and back')
  const tokens = app.tokens()
  t.match(tokens.claims(), {
    sub: 'alice',
    name: 'Alice Archer',
    email: 'alice@example.com',
    groups: ['staff', 'admin'],
    preferred_username: 'alice',
    acr: acrs.password,
    sid: String,
    iss: idp.issuer,
  })
  t.ok(Number(tokens.claims()?.auth_time) >= before, 'auth_time is there unasked')
  t.match(tokens, { expires_in: 300, token_type: 'bearer', scope: /offline_access/ })
  t.type(tokens.refresh_token, 'string')

  t.match(await oidc.fetchUserInfo(app.configuration, tokens.access_token, 'alice'), { email: 'alice@example.com' })
  for (const secret of [tokens.access_token, refreshToken(tokens), tokens.id_token]) {
    t.ok(idp.secretsIssued.includes(String(secret)))
  }
  t.equal(idp.secretsIssued.length, 4, 'with the code')
  t.match(idp, { grants: { authorization_code: 1 }, tokenRequests: 1, parRequests: 0, revocations: 0 })
  t.match(idp.lastAuthorizationRequest, { client_id: 'relying-party', scope: /openid/, code_challenge: String })
})

void t.test('the login page lists all users, the hinted one first', async (t) => {
  const { app, browser } = await setUp(t)
  const { answer } = await browser.follow(await browser.get(await app.loginUrl({ login_hint: 'bob@example.com' })))

  const names = [...answer.body.matchAll(/Sign in as (\w+) \(([^)]*)\)/g)].map(([, name, groups]) => [name, groups])
  t.same(names, [
    ['bob', 'staff'],
    ['alice', 'staff, admin'],
    ['carol', 'no groups'],
    ['zoe', 'staff'],
  ])

  await browser.press(answer, 'zoe')
  t.equal(app.tokens().claims()?.name, 'Zoë')
})

void t.test('canceling at the login page returns access_denied', async (t) => {
  const { app, browser } = await setUp(t)
  const { answer } = await browser.follow(await browser.get(await app.loginUrl()))
  await browser.press(answer, 'Cancel')
  t.same(app.outcome(), { error: 'access_denied' })
})

void t.test('an expired login page, or one from another browser, shows a page instead of an error', async (t) => {
  const { app, browser } = await setUp(t)
  const { answer } = await browser.follow(await browser.get(await app.loginUrl()))
  const stranger = await createBrowser().get(answer.url)
  t.match(stranger, { status: 400, body: /Start again/ })
})

void t.test('prompt=none succeeds only with a session', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.follow(await browser.get(await app.loginUrl({ prompt: 'none' })))
  t.same(app.outcome(), { error: 'login_required' })

  await browser.login(await app.loginUrl(), 'alice')
  const { hops } = await browser.follow(await browser.get(await app.loginUrl({ prompt: 'none' })))
  t.equal(app.tokens().claims()?.sub, 'alice')
  t.equal(hops.length, 2, 'there and back')
})

void t.test('prompt=login asks for the user again, and another user can sign in', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  await browser.login(await app.loginUrl({ prompt: 'login' }), 'bob')
  t.equal(app.tokens().claims()?.sub, 'bob')
})

void t.test('prompt=select_account and prompt=consent complete', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  await browser.login(await app.loginUrl({ prompt: 'select_account' }), 'alice')
  t.equal(app.tokens().claims()?.sub, 'alice')
  await browser.login(await app.loginUrl({ prompt: 'consent' }), 'alice')
  t.equal(app.tokens().claims()?.sub, 'alice')
})

void t.test('max_age asks for the user again if the login is older', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  const first = Number(app.tokens().claims()?.auth_time)
  const shown = await browser.follow(await browser.get(await app.loginUrl({ max_age: '3600' })))
  t.equal(shown.answer.body, 'signed in', 'young enough')

  const again = await browser.follow(await browser.get(await app.loginUrl({ max_age: '0' })))
  t.match(again.answer.body, /Sign in as alice/)
  await browser.press(again.answer, 'alice')
  t.ok(Number(app.tokens().claims()?.auth_time) >= first)
})

void t.test('acr_values asks for a second factor once', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  t.equal(app.tokens().claims()?.acr, acrs.password)

  await browser.follow(await browser.get(await app.loginUrl({ acr_values: acrs.mfa, prompt: 'none' })))
  t.same(app.outcome(), { error: 'interaction_required' })

  const { answer } = await browser.follow(await browser.get(await app.loginUrl({ acr_values: acrs.mfa })))
  t.match(answer.body, /Confirm second factor/)
  t.notMatch(answer.body, /Sign in as/, 'the user is known')
  await browser.press(answer, 'Confirm second factor')
  t.equal(app.tokens().claims()?.acr, acrs.mfa)

  await browser.follow(await browser.get(await app.loginUrl({ acr_values: acrs.mfa, prompt: 'none' })))
  t.equal(app.tokens().claims()?.acr, acrs.mfa)
})

void t.test('without a session the provider asks for the user first, then for the second factor', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.login(await app.loginUrl({ acr_values: `${acrs.mfa} urn:unknown` }), 'carol')
  t.match(app.tokens().claims(), { sub: 'carol', acr: acrs.mfa, groups: [] })

  const claims = JSON.stringify({ id_token: { acr: { essential: true, value: acrs.mfa } } })
  const other = createBrowser()
  await other.login(await app.loginUrl({ claims }), 'bob')
  t.match(app.tokens().claims(), { sub: 'bob', acr: acrs.mfa, sid: String })
})

void t.test('the redirect carries iss and no unexpected parameters, and PKCE is required', async (t) => {
  const { idp, app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  const back = await browser.get(await app.loginUrl({ prompt: 'none' }))
  const { searchParams } = new URL(back.headers.location ?? '')
  t.same([...searchParams.keys()].toSorted(), ['code', 'iss', 'state'])
  t.equal(searchParams.get('iss'), idp.issuer)

  const withoutPkce = new URL(await app.loginUrl({ prompt: 'none' }))
  withoutPkce.searchParams.delete('code_challenge')
  withoutPkce.searchParams.delete('code_challenge_method')
  const refused = await browser.get(withoutPkce.href)
  t.equal(new URL(refused.headers.location ?? '').searchParams.get('error'), 'invalid_request')
})

void t.test('response_mode=form_post posts the code', async (t) => {
  const { app, browser } = await setUp(t)
  const { hops } = await browser.login(await app.loginUrl({ response_mode: 'form_post' }), 'alice')
  t.match(hops.at(-1), { method: 'POST', url: `${app.url}/callback`, status: 200 })
  t.equal(app.tokens().claims()?.sub, 'alice')
})

void t.test('without offline_access there is no refresh token', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.login(await app.loginUrl({ scope: 'openid' }), 'alice')
  t.equal(app.tokens().refresh_token, undefined)
  t.equal(app.tokens().claims()?.email, undefined, 'and no claim whose scope was not asked for')
})

void t.test('refresh tokens rotate, and reusing one ends the grant', async (t) => {
  const { idp, app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  const first = app.tokens()
  const second = await oidc.refreshTokenGrant(app.configuration, refreshToken(first))
  t.not(second.refresh_token, first.refresh_token)
  t.not(second.access_token, first.access_token)
  t.match(second.claims(), { sub: 'alice', groups: ['staff', 'admin'], sid: first.claims()?.sid })

  await t.rejects(oidc.refreshTokenGrant(app.configuration, refreshToken(first)), invalidGrant)
  await t.rejects(oidc.refreshTokenGrant(app.configuration, refreshToken(second)), invalidGrant, 'the whole family')
  t.match(idp, { grants: { refresh_token: 1 }, refusedGrants: { refresh_token: 2 }, tokenRequests: 4 })
})

void t.test('without rotation the refresh token stays the same', async (t) => {
  const { idp, app, browser } = await setUp(t, { rotateRefreshTokens: false })
  await browser.login(await app.loginUrl(), 'alice')
  const token = refreshToken(app.tokens())
  t.equal((await oidc.refreshTokenGrant(app.configuration, token)).refresh_token, token)
  t.equal((await oidc.refreshTokenGrant(app.configuration, token)).refresh_token, token)

  idp.settings.rotateRefreshTokens = true
  t.not((await oidc.refreshTokenGrant(app.configuration, token)).refresh_token, token, 'from now on')
})

void t.test('claims, lifetimes and the shape of the response can change at run time', async (t) => {
  const { idp, app, browser } = await setUp(t, { lifetimes: { accessToken: 60 } })
  await browser.login(await app.loginUrl(), 'bob')
  t.equal(app.tokens().expires_in, 60)

  idp.users.set('bob', { sub: 'bob', name: 'Bob', email: 'bob@example.com', groups: ['retired'] })
  idp.settings.lifetimes.accessToken = 5
  const refreshed = await oidc.refreshTokenGrant(app.configuration, refreshToken(app.tokens()))
  t.same(refreshed.claims()?.groups, ['retired'])
  t.equal(refreshed.expires_in, 5)

  idp.settings.reshapeTokenResponse = ({ expires_in: _left, ...rest }) => rest
  const reshaped = await oidc.refreshTokenGrant(app.configuration, refreshToken(refreshed))
  t.equal(reshaped.expires_in, undefined)
})

void t.test('an access token expires at its exp', async (t) => {
  const { app, browser } = await setUp(t, { lifetimes: { accessToken: 1 } })
  await browser.login(await app.loginUrl(), 'alice')
  const token = app.tokens().access_token
  await sleep(2000)
  await t.rejects(oidc.fetchUserInfo(app.configuration, token, 'alice'), { code: 'OAUTH_WWW_AUTHENTICATE_CHALLENGE' })
})

void t.test('grants and refresh tokens can be revoked', async (t) => {
  const { idp, app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  t.equal(idp.revokeGrantsOf('bob'), 0)
  t.equal(idp.revokeGrantsOf('alice'), 1)
  await t.rejects(oidc.refreshTokenGrant(app.configuration, refreshToken(app.tokens())), invalidGrant)

  await browser.login(await app.loginUrl(), 'alice')
  t.equal(idp.forgetRefreshTokens(), 1)
  await t.rejects(oidc.refreshTokenGrant(app.configuration, refreshToken(app.tokens())), invalidGrant)
  t.match(await oidc.fetchUserInfo(app.configuration, app.tokens().access_token, 'alice'), { sub: 'alice' })
})

void t.test('the revocation endpoint revokes a refresh token', async (t) => {
  const { idp, app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  await oidc.tokenRevocation(app.configuration, refreshToken(app.tokens()))
  await t.rejects(oidc.refreshTokenGrant(app.configuration, refreshToken(app.tokens())), invalidGrant)
  t.equal(idp.revocations, 1)
})

void t.test('end_session with id_token_hint returns with the state without asking', async (t) => {
  const { app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  const logout = oidc.buildEndSessionUrl(app.configuration, {
    id_token_hint: String(app.tokens().id_token),
    post_logout_redirect_uri: `${app.url}/bye`,
    state: 'where-we-were',
  })
  const { answer } = await browser.follow(await browser.get(logout.href))
  t.equal(answer.url, `${app.url}/bye?state=where-we-were`)

  await browser.follow(await browser.get(await app.loginUrl({ prompt: 'none' })))
  t.same(app.outcome(), { error: 'login_required' }, 'the session is over')

  const again = await browser.follow(await browser.get(logout.href))
  t.equal(again.answer.url, `${app.url}/bye?state=where-we-were`, 'also when there is no session')
})

void t.test('end_session without a hint asks for confirmation', async (t) => {
  const { idp, app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  const { answer } = await browser.follow(await browser.get(`${idp.issuer}/logout`))
  t.match(answer.body, /Yes, sign me out/)
  await browser.press(answer, 'No, stay signed in')
  await browser.follow(await browser.get(await app.loginUrl({ prompt: 'none' })))
  t.equal(app.tokens().claims()?.sub, 'alice')

  const bye = await browser.press(await browser.get(`${idp.issuer}/logout`), 'Yes, sign me out')
  t.match(bye.answer.body, /You are signed out/)
})

void t.test('a logout notifies clients over both channels', async (t) => {
  const { idp, app, browser } = await setUp(t)
  const uris = { redirectUris: [`${app.url}/callback`], postLogoutRedirectUris: [`${app.url}/bye`] }
  await idp.registerClient({
    clientId: 'relying-party',
    clientSecret: 'a-secret-of-the-relying-party',
    ...uris,
    backchannelLogoutUri: `${app.url}/backchannel`,
    frontchannelLogoutUri: `${app.url}/frontchannel?kept=1`,
  })
  await browser.login(await app.loginUrl(), 'alice')
  const sid = app.tokens().claims()?.sid
  await browser.follow(
    await browser.get(
      oidc.buildEndSessionUrl(app.configuration, {
        id_token_hint: String(app.tokens().id_token),
      }).href,
    ),
  )
  t.same(app.frontchannelLogouts, [{ kept: '1', iss: idp.issuer, sid }])

  const keys = createRemoteJWKSet(new URL(`${idp.issuer}/jwks`))
  const { payload, protectedHeader } = await jwtVerify(app.logoutTokens[0] ?? '', keys)
  t.match(payload, { iss: idp.issuer, aud: 'relying-party', sub: 'alice', sid, jti: String })
  t.equal(protectedHeader.typ, 'logout+jwt')

  await browser.login(await app.loginUrl(), 'alice')
  t.match(await idp.endSessionsOf('alice'), { sessions: 1, notified: ['relying-party'], failed: [] })
  t.equal(app.logoutTokens.length, 2)
  await browser.follow(await browser.get(await app.loginUrl({ prompt: 'none' })))
  t.same(app.outcome(), { error: 'login_required' })
})

void t.test('rotating the signing keys keeps sessions and tokens and, on request, the old keys', async (t) => {
  const { idp, app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  const jwks = async () => (await browser.get(`${idp.issuer}/jwks`, { kind: 'none' })).json().keys
  const before = await jwks()
  await idp.rotateSigningKeys()
  t.match(await jwks(), { length: 4 })

  const refreshed = await oidc.refreshTokenGrant(app.configuration, refreshToken(app.tokens()))
  t.equal(refreshed.claims()?.sub, 'alice')
  const keys = createRemoteJWKSet(new URL(`${idp.issuer}/jwks`))
  const { protectedHeader } = await jwtVerify(String(refreshed.id_token), keys)
  t.notMatch(JSON.stringify(before), String(protectedHeader.kid))

  await idp.rotateSigningKeys({ keepOld: false })
  t.match(await jwks(), { length: 2 })
  const own = await idp.sign({ sub: 'alice', events: {} }, { typ: 'logout+jwt' })
  t.match(await jwtVerify(own, createRemoteJWKSet(new URL(`${idp.issuer}/jwks`))), {
    payload: { sub: 'alice', events: {} },
    protectedHeader: { typ: 'logout+jwt', alg: 'RS256' },
  })
  await browser.follow(await browser.get(await app.loginUrl({ prompt: 'none' })))
  t.equal(app.tokens().claims()?.sub, 'alice', 'the session at the provider goes on')
})

void t.test('fail() makes an endpoint fail until the failure is removed', async (t) => {
  const { idp, app, browser } = await setUp(t)
  await browser.login(await app.loginUrl(), 'alice')
  const token = `${idp.issuer}/token`
  const post = async (timeout = 5000) =>
    exchange({
      method: 'POST',
      url: new URL(token),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'grant_type=refresh_token&refresh_token=x',
      timeout,
    })

  idp.fail('token', { times: 2 })
  t.match(await post(), { status: 500, headers: { 'content-type': /text\/html/ } })
  t.equal((await post()).status, 500)
  t.not((await post()).status, 500, 'twice means twice')

  idp.fail('token', { status: 429, body: { error: 'slow_down' }, headers: { 'retry-after': '7' } })
  t.match(await post(), { status: 429, headers: { 'retry-after': '7', 'content-type': 'application/json' } })
  t.equal((await post()).status, 429, 'until it is taken back')
  idp.fail('token', null)
  t.not((await post()).status, 429)

  idp.fail('token', { status: 200, body: '<p>maintenance</p>' })
  t.match(await post(), { status: 200, body: '<p>maintenance</p>' })
  idp.fail('token', { status: 200, body: Buffer.alloc(10_000_000, 'x') })
  t.equal((await post()).bytes.length, 10_000_000)

  idp.fail('token', { destroy: true })
  await t.rejects(post(), { code: 'ECONNRESET' })
  idp.fail('token', { hang: true })
  await t.rejects(post(200), { name: 'AbortError' })
  idp.fail('token', { delay: 150 })
  const started = Date.now()
  t.equal((await post()).status, 400, 'the usual answer for a client that proves nothing, later')
  t.ok(Date.now() - started >= 145)
  idp.fail('token', null)

  const refused = idp.refusedGrants.refresh_token
  idp.fail('token', { destroy: true, processed: true, times: 1 })
  await t.rejects(oidc.refreshTokenGrant(app.configuration, refreshToken(app.tokens())))
  t.equal(idp.grants.refresh_token, 1, 'it was granted, and the answer was lost')
  t.equal(idp.refusedGrants.refresh_token, refused)

  for (const endpoint of ['discovery', 'jwks', 'userinfo', 'revocation', 'par', 'end_session'] as const) {
    idp.fail(endpoint, { status: 503 })
  }
  const paths = ['/.well-known/openid-configuration', '/jwks', '/userinfo', '/revoke', '/par', '/logout?x=1']
  for (const path of paths) t.equal((await browser.get(idp.issuer + path)).status, 503, path)
})

void t.test('pushed authorization requests are announced only when asked for', async (t) => {
  const { idp, app, browser } = await setUp(t, { pushedAuthorization: true })
  const url = await app.loginUrl({ login_hint: 'alice', audience: 'api://orders' }, { par: true })
  t.same([...new URL(url).searchParams.keys()].toSorted(), ['client_id', 'request_uri'])
  await browser.login(url, 'alice')
  t.match(app.tokens(), { refresh_token: String, scope: /offline_access/ })
  t.equal(idp.parRequests, 1)
  t.match(idp.lastAuthorizationRequest, { login_hint: 'alice', audience: 'api://orders', scope: /offline_access/ })

  const { app: other } = await setUp(t)
  t.equal(other.configuration.serverMetadata().pushed_authorization_request_endpoint, undefined)
})

void t.test('a client authenticates only by its registered method', async (t) => {
  const idp = await startIdp()
  t.teardown(idp.close)
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const kid = 'client-key'
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256' }] }
  const methods: [string, Partial<IdpClient>, oidc.ClientAuth][] = [
    ['private_key_jwt', { jwks }, oidc.PrivateKeyJwt({ key: privateKey, kid })],
    [
      'client_secret_basic',
      { clientAuthentication: 'client_secret_basic' },
      oidc.ClientSecretBasic('a-secret-of-the-relying-party'),
    ],
    ['none', { clientAuthentication: 'none' }, oidc.None()],
  ]
  for (const [name, client, authentication] of methods) {
    const app = await startRelyingParty(idp, { client, authentication })
    await createBrowser().login(await app.loginUrl(), 'alice')
    t.equal(app.tokens().claims()?.sub, 'alice', name)
    await app.close()
  }
  const wrong = await startRelyingParty(idp, { client: { jwks } })
  const { answer } = await createBrowser().login(await wrong.loginUrl(), 'alice')
  t.equal(answer.status, 500)
  t.equal(idp.refusedGrants.authorization_code, 1)
  await wrong.close()
})

void t.test('the provider issues ES256 ID tokens, and JWT access tokens for a resource', async (t) => {
  const { idp, app, browser } = await setUp(t, {}, { idTokenSigningAlgorithm: 'ES256' })
  const scope = 'openid offline_access orders.read'
  await browser.login(await app.loginUrl({ scope, resource: 'api://orders' }), 'alice')
  const keys = createRemoteJWKSet(new URL(`${idp.issuer}/jwks`))
  t.equal((await jwtVerify(String(app.tokens().id_token), keys)).protectedHeader.alg, 'ES256')
  const { payload, protectedHeader } = await jwtVerify(app.tokens().access_token, keys)
  t.match(payload, { aud: 'api://orders', scope: 'orders.read', sub: 'alice', groups: ['staff', 'admin'] })
  t.match(protectedHeader, { typ: 'at+jwt', alg: 'RS256' })

  const refreshed = await oidc.refreshTokenGrant(app.configuration, refreshToken(app.tokens()))
  t.match(await jwtVerify(refreshed.access_token, keys), { payload: { aud: 'api://orders' } })
})

void t.test('the provider speaks TLS with a self-signed certificate', async (t) => {
  const authority = createAuthority()
  const idp = await startIdp({ tls: authority.issue(['127.0.0.1']) })
  t.teardown(idp.close)
  const discovery = `${idp.issuer}/.well-known/openid-configuration`
  t.match(idp.issuer, /^https:/)
  await t.rejects(createBrowser().get(discovery), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' })
  const answer = await createBrowser({ ca: authority.ca }).get(discovery)
  t.match(answer.json(), { issuer: idp.issuer, authorization_endpoint: `${idp.issuer}/authorize` })
})

void t.test('the discovery document is complete', async (t) => {
  const { idp, browser } = await setUp(t, { clientAuthentications: ['client_secret_basic', 'client_secret_post'] })
  const metadata = (await browser.get(`${idp.issuer}/.well-known/openid-configuration`)).json()
  t.match(metadata, {
    issuer: idp.issuer,
    end_session_endpoint: `${idp.issuer}/logout`,
    revocation_endpoint: `${idp.issuer}/revoke`,
    userinfo_endpoint: `${idp.issuer}/userinfo`,
    authorization_response_iss_parameter_supported: true,
    backchannel_logout_supported: true,
    backchannel_logout_session_supported: true,
    frontchannel_logout_supported: true,
    frontchannel_logout_session_supported: true,
    acr_values_supported: Object.values(acrs),
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  })
})

void t.test('an invalid client is refused at once', async (t) => {
  const { idp } = await setUp(t)
  const wrong = idp.registerClient({ clientId: 'wrong', redirectUris: ['not a url'] })
  await t.rejects(wrong, { message: 'invalid_redirect_uri' })
})
