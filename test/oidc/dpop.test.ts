import { text } from 'node:stream/consumers'
import t from 'tap'
import { createProof, deriveDpopKey, thumbprintOf } from '../../src/oidc/dpop.ts'
import { createBrowser } from '../support/browser.ts'
import { createProofCheck, NonceError, type Proof } from '../support/dpop.ts'
import { eventually } from '../support/eventually.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn } from '../support/logged-in.ts'
import { isReadableFailure } from './failed-login.ts'
import { startScriptedProvider } from './scripted-provider.ts'

const script = { kind: 'script' } as const
const dpop = { provider: { dpop: 'on' } } as const

/** Checks the proof that the application received with the latest request. */
const proofAt = async ({ upstream, url }: Pick<Running, 'upstream' | 'url'>): Promise<Proof> => {
  const request = upstream.requests.at(-1)
  return createProofCheck()(request ?? { headers: {} }, { htu: `${url}${request?.url ?? ''}` })
}

void t.test('a secret always has the same key, and each secret another one', async (t) => {
  t.same(deriveDpopKey('a'), deriveDpopKey('a'))
  const keys = Array.from({ length: 200 }, (_, i) => deriveDpopKey(String(i)))
  t.equal(new Set(keys.map(({ d }) => d)).size, keys.length)
  const check = createProofCheck()
  for (const key of keys) {
    const dpop = createProof(key, { method: 'GET', url: 'https://a.example/', accessToken: null, nonce: undefined })
    const { jkt } = await check({ method: 'GET', headers: { dpop } }, { htu: 'https://a.example/' })
    t.equal(jkt, await thumbprintOf(key))
  }
})

void t.test('a proof takes less than a millisecond of CPU time', async (t) => {
  const key = deriveDpopKey('secret')
  const proof = { method: 'GET', url: 'https://a.example/', accessToken: 'x'.repeat(1_200), nonce: 'n' }
  createProof(key, proof)
  const begun = process.cpuUsage()
  for (let i = 0; i < 200; i += 1) createProof(key, proof)
  const { user, system } = process.cpuUsage(begun)
  t.ok((user + system) / 200 < 1_000, `${(user + system) / 200} µs`)
})

void t.test('login, userinfo and refresh follow the nonces of a provider that requires proofs', async (t) => {
  const running = await loggedIn(t, {
    config: { provider: { dpop: 'on', userinfo: true } },
    client: { dpopBound: true },
    idp: { dpop: 'nonce' },
  })
  const { idp, browser, url, call } = running
  t.same(idp.serverErrors, [])
  t.same(idp.refusedGrants, { authorization_code: 1, refresh_token: 0 }, 'only the first request had no nonce')
  await call()
  const before = await proofAt(running)
  t.equal(idp.lastAuthorizationRequest?.['dpop_jkt'], before.jkt, 'the code is bound to the key of the session')
  t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200)
  t.same(idp.grants, { authorization_code: 1, refresh_token: 1 })
  await call()
  const after = await proofAt(running)
  t.equal(after.jkt, before.jkt)
  t.not(after.token, before.token)
  const bob = createBrowser()
  await bob.login(`${url}/`, 'bob')
  t.not((await proofAt(running)).jkt, before.jkt, 'each session has its own key')
  t.same(idp.refusedGrants, { authorization_code: 1, refresh_token: 0 }, 'the nonce is known')
})

void t.test('the refresh token of a public client stays bound to the key of the session', async (t) => {
  const running = await loggedIn(t, {
    config: { provider: { dpop: 'on', clientAuthentication: 'none', clientSecret: null } },
    client: { clientAuthentication: 'none', clientSecret: undefined, dpopBound: true },
    idp: { dpop: 'nonce', lifetimes: { accessToken: 100 } },
  })
  await running.call()
  const before = await proofAt(running)
  for (let i = 1; i <= 2; i += 1) {
    await running.browser.post(`${running.url}/oauth2/session/refresh`, '', script)
    await running.call()
  }
  t.equal(running.idp.grants['refresh_token'], 1, 'the cooldown holds back the second refresh')
  t.equal((await proofAt(running)).jkt, before.jkt)
})

void t.test('a silent login that replaces the tokens of a session replaces their key, too', async (t) => {
  const running = await loggedIn(t, {
    config: { provider: { dpop: 'on', scopes: ['openid', 'profile'] } },
    idp: { dpop: 'on', lifetimes: { accessToken: 100 } },
  })
  const { browser, url, call, status } = running
  await call()
  const before = await proofAt(running)
  t.equal((await status()).tokens['refreshable'], false)
  const frame = { kind: 'frame', from: `${url}/` } as const
  await browser.follow(await browser.get(`${url}/oauth2/silent?keep`, frame))
  await call()
  const after = await proofAt(running)
  t.not(after.token, before.token)
  t.not(after.jkt, before.jkt)
})

void t.test('a bearer token in place of a bound one goes upstream as such, with one warning', async (t) => {
  const running = await startGateway(t, { config: dpop })
  for (const user of ['alice', 'bob']) await createBrowser().login(`${running.url}/`, user)
  const request = running.upstream.requests.at(-1)
  t.match(request?.headers.authorization, /^Bearer /)
  t.notOk(request?.headers['dpop'])
  t.equal(running.events('token_not_bound').length, 1)
})

void t.test('a token_type is compared without regard to case', async (t) => {
  const running = await startGateway(t, { config: dpop, idp: { dpop: 'on' } })
  running.idp.settings.reshapeTokenResponse = (body) => ({ ...body, token_type: 'dPoP' })
  await createBrowser().login(`${running.url}/`, 'alice')
  t.type((await proofAt(running)).token, 'string')
})

void t.test('without dpop, a bound token fails the login, and the log says what to configure', async (t) => {
  const running = await startGateway(t)
  running.idp.settings.reshapeTokenResponse = (body) => ({ ...body, token_type: 'DPoP' })
  const { answer } = await createBrowser().login(`${running.url}/`, 'alice')
  isReadableFailure(t, running, answer, 502, 'DPoP')
  t.match(JSON.stringify(running.events('login_failed')), /set provider\.dpop: on/)
})

void t.test('the key appears in no response and in no log line', async (t) => {
  const running = await loggedIn(t, { config: dpop, idp: { dpop: 'nonce' } })
  const { browser, url, gateway, config, log } = running
  const pages = [
    await browser.get(`${url}/oauth2/session`, script),
    await browser.get(`${url}/oauth2/userinfo`, script),
    await browser.post(`${url}/oauth2/session/refresh`, '', script),
  ]
  t.notMatch(pages.map(({ body }) => body).join(), /dpop|"d"|"x"/i)
  await gateway.reload(config)
  t.notMatch(log.join(''), /dpopKey|"d":"/)
  t.notMatch(log.join(''), /eyJ0eXAiOiJkcG9w/, 'no proof either')
})

void t.test('after a reload that turns dpop off, sessions keep their key and new logins have none', async (t) => {
  const running = await loggedIn(t, { config: dpop, idp: { dpop: 'on', lifetimes: { accessToken: 100 } } })
  const { gateway, config, browser, url, call } = running
  await gateway.reload({ ...config, provider: { ...config.provider, dpop: 'off' } })
  await eventually(() => running.events('provider_discovered').length === 2)
  t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200)
  await call()
  t.type((await proofAt(running)).token, 'string')
  await createBrowser().login(`${url}/`, 'bob')
  t.match(running.upstream.requests.at(-1)?.headers.authorization, /^Bearer /)
})

void t.test('a logout revokes the refresh token with a proof of its key', async (t) => {
  const provider = await startScriptedProvider(t)
  provider.document['revocation_endpoint'] = `${provider.origin}/revoke`
  const check = createProofCheck()
  const outcomes: string[] = []
  provider.paths.set('/revoke', (request, response) => {
    void text(request).then(async (form) => {
      const { jkt } = await check(request, { htu: `${provider.origin}/revoke`, nonce: 'n1' }).catch(
        (error: unknown) => {
          outcomes.push(error instanceof NonceError ? 'no nonce' : String(error))
          return { jkt: null }
        },
      )
      if (jkt === null) {
        response.writeHead(400, { 'content-type': 'application/json', 'dpop-nonce': 'n1' })
        response.end(JSON.stringify({ error: 'use_dpop_nonce' }))
      } else {
        outcomes.push(`${new URLSearchParams(form).get('token') ?? ''} ${jkt}`)
        response.end()
      }
    })
  })
  const running = await startGateway(t, { config: { provider: { dpop: 'on', issuer: provider.issuer } } })
  const { browser, answer, authorization } = await provider.login(
    running.url,
    {},
    { token_type: 'DPoP', refresh_token: 'a-refresh-token' },
  )
  t.equal(answer.status, 302)
  await browser.get(`${running.url}/oauth2/logout`)
  await eventually(() => outcomes.length === 2)
  t.same(outcomes, ['no nonce', `a-refresh-token ${authorization.searchParams.get('dpop_jkt') ?? ''}`])
  t.same(running.events('revocation_failed'), [])
})
