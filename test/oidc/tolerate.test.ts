import type { IncomingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import type { JWTPayload } from 'jose'
import t, { type Test } from 'tap'
import { createBrowser, type Browser } from '../support/browser.ts'
import type { Answer } from '../support/exchange.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin } from '../support/sign-in.ts'
import { claimsFor, startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'

type Started = Running & { readonly provider: ScriptedProvider }

const start = async (t: Test, provider: ScriptedProvider, tolerate: string[] = [], more = {}): Promise<Started> => ({
  provider,
  ...(await startGateway(t, {
    config: {
      provider: { issuer: provider.issuer, tolerate, ...more },
    },
  })),
})

const causeOf = ({ events }: Running): string => String(events('login_failed').at(-1)?.['cause'])

type Asked = { readonly headers: IncomingHttpHeaders; readonly form: URLSearchParams }

/** Logs in with a response of the token endpoint that the test makes from the request. */
const loginWith = async (
  { url, provider }: Started,
  reply: (asked: Asked, right: JWTPayload) => Promise<{ status?: number; body: object }>,
): Promise<{ browser: Browser; answer: Answer; authorization: URL; asked: Asked[] }> => {
  const browser = createBrowser()
  const authorization = await beginLogin(browser, url, { redirect: '/orders' })
  const { searchParams } = authorization
  const right = claimsFor(provider.issuer, searchParams)
  const asked: Asked[] = []
  provider.paths.set('/token', (request, response) => {
    void text(request).then(async (form) => {
      const one = { headers: request.headers, form: new URLSearchParams(form) }
      asked.push(one)
      const { status = 200, body } = await reply(one, right)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  const callback = new URL(searchParams.get('redirect_uri') ?? '')
  callback.search = new URLSearchParams({ code: 'a-code', state: searchParams.get('state') ?? '' }).toString()
  return { browser, answer: await browser.get(callback.href), authorization, asked }
}

const tokens = { access_token: 'an-access-token', token_type: 'Bearer', expires_in: 300 }

void t.test('an ID token without a nonce is accepted only with missing-nonce, and a wrong nonce never', async (t) => {
  const provider = await startScriptedProvider(t)
  const strict = await start(t, provider)
  t.equal((await provider.login(strict.url, { nonce: undefined })).answer.status, 502)
  t.match(causeOf(strict), /the ID token has no nonce, expected .* set provider\.tolerate: \[missing-nonce\]/)

  const tolerant = await start(t, provider, ['missing-nonce'])
  const { answer, authorization } = await provider.login(tolerant.url, { nonce: undefined })
  t.equal(answer.headers.location, '/orders')
  t.equal(authorization.searchParams.get('code_challenge_method'), 'S256', 'PKCE protects the code')
  for (const nonce of ['another', '']) {
    t.equal((await provider.login(tolerant.url, { nonce })).answer.status, 502, nonce)
    t.match(causeOf(tolerant), /another nonce than the login request/)
  }
})

void t.test('no-pkce sends neither a challenge nor a verifier', async (t) => {
  const provider = await startScriptedProvider(t)
  const strict = await start(t, provider)
  const pkce = 'PKCE is not supported for this client'
  const refuse = async (asked: Asked, right: JWTPayload): Promise<{ status?: number; body: object }> =>
    asked.form.has('code_verifier')
      ? { status: 400, body: { error: 'invalid_request', error_description: pkce } }
      : { body: { ...tokens, id_token: await provider.sign(right) } }
  const refused = await loginWith(strict, refuse)
  t.equal(refused.answer.status, 502)
  t.equal(refused.asked[0]?.form.get('code_verifier')?.length, 43)
  t.match(causeOf(strict), /set provider\.tolerate: \[no-pkce\]/)
  const authorization = await beginLogin(refused.browser, strict.url)
  const callback = new URL(authorization.searchParams.get('redirect_uri') ?? '')
  const state = authorization.searchParams.get('state') ?? ''
  callback.search = new URLSearchParams({ error: 'invalid_request', error_description: pkce, state }).toString()
  t.equal((await refused.browser.get(callback.href)).status, 400)
  t.match(causeOf(strict), /authorization response is an error; .* set provider\.tolerate: \[no-pkce\]/)

  const accepted = await loginWith(await start(t, provider, ['no-pkce']), refuse)
  t.equal(accepted.answer.headers.location, '/orders')
  t.notMatch(accepted.authorization.search, /code_challenge/)
  t.equal((await loginWith(await start(t, provider, ['no-pkce', 'missing-nonce']), refuse)).answer.status, 302)
})

void t.test('several audiences without azp are accepted only with no-azp, and another azp never', async (t) => {
  const provider = await startScriptedProvider(t)
  const strict = await start(t, provider)
  const tolerant = await start(t, provider, ['no-azp'])
  const login = async (running: Started, azp?: string): Promise<Answer> =>
    (await provider.login(running.url, { aud: [running.config.provider.clientId, 'other'], azp })).answer
  t.equal((await login(strict)).status, 502)
  const expected = /the ID token has no azp, expected (client-\d+), because aud is \["\1","other"\]: .*\[no-azp\]/
  t.match(causeOf(strict), expected)
  t.equal((await login(strict, strict.config.provider.clientId)).headers.location, '/orders')
  t.equal((await login(tolerant)).headers.location, '/orders')
  for (const running of [strict, tolerant]) {
    t.equal((await login(running, 'other')).status, 502)
    t.match(causeOf(running), /the ID token has azp "other", expected client-/)
  }
})

void t.test('no-azp applies to the ID token of a refresh, too', async (t) => {
  const provider = await startScriptedProvider(t)
  for (const tolerate of [[], ['no-azp']]) {
    const running = await start(t, provider, tolerate)
    const { clientId } = running.config.provider
    const { browser, answer } = await provider.login(running.url, {}, { refresh_token: 'first' })
    t.equal(answer.headers.location, '/orders')
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: provider.issuer, sub: 'alice', aud: [clientId, 'other'], iat: now, exp: now + 900 }
    const idToken = await provider.sign({ ...claims, email: 'new@example.com' })
    provider.paths.set('/token', { ...tokens, id_token: idToken, refresh_token: 'second' })
    const refreshed = await browser.post(`${running.url}/oauth2/session/refresh`, '', { kind: 'script' })
    t.equal(refreshed.status, 200)
    const { email } = (await browser.get(`${running.url}/oauth2/userinfo`, { kind: 'script' })).json()
    t.equal(email, tolerate.length === 0 ? undefined : 'new@example.com')
    const problems = running.events('claims_not_renewed').map(({ cause }) => String(cause))
    t.match(problems, tolerate.length === 0 ? [/has no azp, expected client-/] : [])
    t.equal(problems.length, tolerate.length === 0 ? 1 : 0)
  }
})

void t.test('a scope list is joined, with and without scope-list', async (t) => {
  const provider = await startScriptedProvider(t)
  for (const tolerate of [[], ['scope-list']]) {
    const { url } = await start(t, provider, tolerate)
    const members = { scope: ['openid', 'email'], refresh_token: 'first' }
    const { browser, answer } = await provider.login(url, {}, members)
    t.equal(answer.headers.location, '/orders')
    provider.paths.set('/token', { ...tokens, ...members, expires_in: 500 })
    const session = await browser.post(`${url}/oauth2/session/refresh`, '', { kind: 'script' })
    t.match(session.json(), { tokens: { last_refresh_error: null } })
  }
})

void t.test('Basic credentials are form-encoded, except with basic-unencoded', async (t) => {
  const provider = await startScriptedProvider(t)
  const basic = { clientId: 'a-b:c', clientSecret: 's e+c%ä', clientAuthentication: 'client_secret_basic' }
  const plain = `Basic ${Buffer.from('a-b:c:s e+c%ä').toString('base64')}`
  const judge = async ({ headers }: Asked, right: JWTPayload): Promise<{ status?: number; body: object }> =>
    headers.authorization === plain
      ? { body: { ...tokens, id_token: await provider.sign(right) } }
      : { status: 401, body: { error: 'invalid_client' } }
  const strict = await start(t, provider, [], basic)
  for (let times = 0; times < 2; times += 1) {
    const { answer, asked } = await loginWith(strict, judge)
    t.equal(answer.status, 502)
    const sent = Buffer.from(asked[0]?.headers.authorization?.slice(6) ?? '', 'base64').toString()
    t.equal(sent, 'a%2Db%3Ac:s+e%2Bc%25%C3%A4')
  }
  t.match(strict.events('basic_refused'), [{ level: 'warn', msg: /tolerate: \[basic-unencoded\]/ }])
  t.equal(strict.events('basic_refused').length, 1, 'the advice is logged once')
  t.notMatch(strict.log.join(''), /s e\+c|c%25/)
  const { answer } = await loginWith(await start(t, provider, ['basic-unencoded'], basic), judge)
  t.equal(answer.headers.location, '/orders')
})

void t.test('auth_time may be a number in text; other text is refused with its value', async (t) => {
  const provider = await startScriptedProvider(t)
  const running = await start(t, provider)
  const now = Math.floor(Date.now() / 1000)
  const { answer, browser } = await provider.login(running.url, { auth_time: String(now) })
  t.equal(answer.headers.location, '/orders')
  const claims = (await browser.get(`${running.url}/oauth2/userinfo`, { kind: 'script' })).json()
  t.equal(claims['auth_time'], now)
  t.equal((await provider.login(running.url, { auth_time: 'noon' })).answer.status, 502)
  t.match(causeOf(running), /the ID token has auth_time "noon", expected a number/)
})

void t.test('an ID token of another issuer or client is refused with both names', async (t) => {
  const provider = await startScriptedProvider(t)
  const running = await start(t, provider)
  t.equal((await provider.login(running.url, { iss: 'https://evil.example' })).answer.status, 502)
  t.match(causeOf(running), `the ID token has iss "https://evil.example", expected ${provider.issuer}`)
  t.equal((await provider.login(running.url, { aud: 'other' })).answer.status, 502)
  t.match(causeOf(running), `the ID token has aud "other", expected ${running.config.provider.clientId}`)
})
