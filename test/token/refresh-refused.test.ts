import type { JWTPayload } from 'jose'
import t from 'tap'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { loggedIn, type LoggedIn } from '../support/logged-in.ts'

const script = { kind: 'script' } as const

void t.test('invalid_grant ends the session at once, although the token is still valid', async (t) => {
  const { call, idp, events } = await loggedIn(t)
  idp.forgetRefreshTokens()
  moveClock(t, 51_000)
  t.equal((await call()).status, 200, 'the request that noticed does not wait')
  await eventually(() => events('session_ended').length === 1)
  t.match(events('session_ended'), [{ reason: 'refused' }])
  const answer = await call()
  t.equal(answer.status, 401)
  t.equal(answer.json()['code'], 'session_expired')
  t.match(answer.headers['set-cookie'], [/^gatehouse=;.*Max-Age=0/])
})

void t.test('invalid_grant for an expired token is reported to the waiting request', async (t) => {
  const { call, idp, browser, url } = await loggedIn(t)
  idp.revokeGrantsOf('alice')
  moveClock(t, 101_000)
  const answer = await call()
  t.equal(answer.json()['code'], 'session_expired')
  t.notOk(browser.cookies.get(url, 'gatehouse'))
})

void t.test('invalid_grant in another kind of response ends no session', async (t) => {
  const { call, idp, events } = await loggedIn(t)
  for (const failure of [
    { status: 500, body: 'invalid_grant' },
    { status: 400, body: '<p>invalid_grant</p>' },
    { status: 403, body: { message: 'invalid_grant' } },
  ]) {
    idp.fail('token', failure)
    moveClock(t, 101_000)
    const answer = await call()
    t.equal(answer.status, 503, JSON.stringify(failure))
    t.equal(answer.json()['code'], 'token_unavailable')
  }
  t.equal(events('session_ended').length, 0)
})

const challenge = { 'www-authenticate': 'Bearer realm="Doorkeeper", error="invalid_grant"' }
const invalidGrant = { error: 'invalid_grant', error_description: 'The provided grant is expired' }

for (const [name, failure] of [
  ['beside a challenge', { status: 400, body: invalidGrant, headers: challenge }],
  ['with 401 and a challenge', { status: 401, body: invalidGrant, headers: challenge }],
  ['with 200', { status: 200, body: invalidGrant }],
  ['with 403', { status: 403, body: invalidGrant }],
  ['with 429', { status: 429, body: invalidGrant }],
  ['with 500', { status: 500, body: invalidGrant }],
  ['as text/html', { status: 400, body: JSON.stringify(invalidGrant), contentType: 'text/html' }],
] as const) {
  void t.test(`invalid_grant ${name} ends the session at once`, async (t) => {
    const { call, idp, events, log } = await loggedIn(t)
    idp.fail('token', failure)
    moveClock(t, 51_000)
    await call()
    await eventually(() => events('session_ended').length === 1)
    t.equal((await call()).json()['code'], 'session_expired')
    const [{ cause } = {}] = events('refresh_failed')
    t.match(cause, /invalid_grant: The provided grant is expired/)
    t.match(cause, `${failure.status} from ${idp.issuer}/token`)
    t.notMatch(log.join(''), /refresh_token=|"access_token"/)
  })
}

for (const [name, failure] of [
  ['401 invalid_token', { status: 401, body: { error: 'invalid_token' }, headers: challenge }],
  ['401 token_inactive', { status: 401, body: { error: 'token_inactive' } }],
  ['401 unauthorized_client', { status: 401, body: { error: 'unauthorized_client' } }],
  ['403 access_denied', { status: 403, body: { error: 'access_denied' } }],
  ['200 invalid_request', { status: 200, body: { error: 'invalid_request' } }],
  ['500 invalid_scope', { status: 500, body: { error: 'invalid_scope' } }],
  ['400 with an empty body and a challenge', { status: 400, body: '', contentType: 'text/plain', headers: challenge }],
] as const) {
  void t.test(`${name} ends the session once the access token has expired`, async (t) => {
    const { call, idp, events, status } = await loggedIn(t)
    idp.fail('token', failure)
    moveClock(t, 51_000)
    t.equal((await call()).status, 200)
    await eventually(() => events('refresh_failed').length === 1)
    t.match(events('refresh_failed'), [{ refusal: 'rejected', ended: false }])
    t.ok((await status()).tokens['last_refresh_error'])
    moveClock(t, 50_000)
    t.equal((await call()).json()['code'], 'session_expired')
    t.match(events('session_ended'), [{ reason: 'refused' }])
  })
}

void t.test('a wrong client secret is logged as such, with the provider’s message', async (t) => {
  const { call, idp, events, status } = await loggedIn(t)
  idp.fail('token', {
    status: 401,
    body: { error: 'invalid_client', error_description: 'AADSTS7000222: The provided client secret keys are expired.' },
    headers: { 'www-authenticate': 'Basic realm="token endpoint"' },
  })
  moveClock(t, 101_000)
  t.equal((await call()).status, 503)
  const [{ cause } = {}] = events('refresh_failed')
  t.match(cause, 'invalid_client: AADSTS7000222: The provided client secret keys are expired.')
  t.match(cause, `401 from ${idp.issuer}/token`)
  t.equal((await status()).tokens['last_refresh_error'], 'invalid_client')
  t.equal(events('session_ended').length, 0)
})

for (const [name, body] of [
  ['invalid_request', { error: 'invalid_request' }],
  ['nothing', ''],
] as const) {
  void t.test(`another 400, here ${name}, keeps the session until the token expires, and then ends it`, async (t) => {
    const { call, idp, events, status } = await loggedIn(t)
    // The pause that the provider asks for outlasts the token.
    idp.fail('token', {
      status: 400,
      body,
      contentType: typeof body === 'string' ? 'text/plain' : 'application/json',
      headers: { 'retry-after': '20' },
    })
    moveClock(t, 92_000)
    t.equal((await call()).status, 200)
    await eventually(() => events('refresh_failed').length === 1)
    t.match(events('refresh_failed'), [{ refusal: 'rejected', ended: false }])
    t.ok((await status()).tokens['last_refresh_error'])
    moveClock(t, 8_100)
    t.equal((await call()).json()['code'], 'session_expired', 'without waiting for the pause to end')
    t.match(events('session_ended'), [{ reason: 'refused' }])
  })
}

const passing = [
  ['a 500', { status: 500 }],
  ['a 500 with server_error', { status: 500, body: { error: 'server_error' } }],
  ['a 503 with a challenge', { status: 503, headers: { 'www-authenticate': 'Basic realm="proxy"' } }],
  ['a 503 whose JSON knows nothing of OAuth', { status: 503, body: { status: 503, error: 'Service Unavailable' } }],
  ['a 429', { status: 429, body: { error: 'slow_down' } }],
  ['HTML', { status: 200, body: '<!doctype html><p>Maintenance</p>' }],
  ['HTML with 400', { status: 400, body: '<!doctype html><p>Blocked</p>' }],
  ['invalid_client with 401', { status: 401, body: { error: 'invalid_client' } }],
  ['invalid_client with 400', { status: 400, body: { error: 'invalid_client' } }],
  ['a connection that is cut', { destroy: true }],
  ['silence', { hang: true }],
  ['invalid JSON', { status: 200, body: '{"access_token":', contentType: 'application/json' }],
] as const

for (const [name, failure] of passing) {
  void t.test(
    `${name} keeps the session: the old token is used while it is valid, then 503 until recovery`,
    async (t) => {
      const { call, idp, events, status, browser, url } = await loggedIn(t, { config: { provider: { timeout: '1s' } } })
      idp.fail('token', failure)
      moveClock(t, 51_000)
      t.equal((await call()).status, 200)
      await eventually(() => events('refresh_failed').length === 1)
      t.match(events('refresh_failed'), [{ refusal: 'unclear', ended: false, cause: /./ }])
      const asked = idp.tokenRequests
      t.equal((await call()).status, 200)
      t.equal(idp.tokenRequests, asked, 'held back for a while')
      t.ok((await status()).tokens['last_refresh_error'])

      moveClock(t, 60_000)
      const refused = await call()
      t.equal(refused.status, 503)
      t.equal(refused.json()['code'], 'token_unavailable')
      t.match(refused.headers['retry-after'], /^[1-9]\d*$/)
      t.notOk(refused.headers['set-cookie'])
      t.equal((await browser.get(`${url}/public/`, script)).status, 503, 'every route that needs the token says so')

      idp.fail('token', null)
      moveClock(t, 31_000)
      t.equal((await call()).status, 200)
      t.equal((await status()).tokens['last_refresh_error'], null)
      t.equal(events('session_ended').length, 0)
    },
  )
}

void t.test('the pause after failures grows up to five seconds while users wait', async (t) => {
  const { call, idp } = await loggedIn(t)
  idp.fail('token', { status: 500 })
  moveClock(t, 101_000)
  const pauses: number[] = []
  for (const _ of [1, 2, 3, 4, 5, 6, 7]) {
    const pause = Number((await call()).headers['retry-after'])
    pauses.push(pause)
    moveClock(t, pause * 1000 + 10)
  }
  t.same(pauses, [1, 2, 4, 5, 5, 5, 5])
  t.equal(idp.tokenRequests, 8)
})

void t.test('the pause grows up to 30 seconds while the token is valid, and shrinks when it expires', async (t) => {
  const { call, idp, events } = await loggedIn(t, { idp: { lifetimes: { accessToken: 300 } } })
  idp.fail('token', { status: 500 })
  moveClock(t, 151_000)
  for (const [count, pause] of [1, 2, 4, 8, 16, 30].entries()) {
    t.equal((await call()).status, 200)
    await eventually(() => events('refresh_failed').length === count + 1)
    moveClock(t, pause * 1000 - 500)
    t.equal((await call()).status, 200)
    t.equal(events('refresh_failed').length, count + 1, `held back for ${pause} s`)
    moveClock(t, 510)
  }
  t.equal((await call()).status, 200)
  await eventually(() => events('refresh_failed').length === 7)
  moveClock(t, 5_100)
  t.equal((await call()).status, 200)
  t.equal(events('refresh_failed').length, 7)
  moveClock(t, 24_000)
  idp.fail('token', null)
  moveClock(t, 70_000)
  t.equal((await call()).status, 200)
})

void t.test('the provider’s Retry-After is respected', async (t) => {
  const { call, idp } = await loggedIn(t)
  idp.fail('token', { status: 429, headers: { 'retry-after': '17' } })
  moveClock(t, 101_000)
  t.equal((await call()).headers['retry-after'], '17')
})

void t.test('Retry-After can be a date, and long or invalid values are limited', async (t) => {
  for (const [asked, told] of [
    [new Date(Date.now() + 101_000 + 21_500).toUTCString(), /^2[0-2]$/],
    ['999999999999999999999', /^1$/],
    ['86400', /^30$/],
    ['-5', /^1$/],
    ['soon', /^1$/],
    ['Wed, 21 Oct 2015 07:28:00 GMT', /^1$/],
  ] as const) {
    const { call, idp } = await loggedIn(t)
    idp.fail('token', { status: 503, headers: { 'retry-after': asked } })
    const before = Date.now
    Date.now = () => before() + 101_000
    t.match((await call()).headers['retry-after'], told, asked)
    Date.now = before
  }
})

for (const [name, failure] of [
  ['HTML with 200', { status: 200, body: '<p>Sign in' }],
  ['HTML with 404', { status: 404, body: '<p>Not found' }],
  ['a redirect', { status: 302, headers: { location: 'https://idp.example/login' } }],
  ['a 401 with a challenge alone', { status: 401, body: '', headers: { 'www-authenticate': 'Bearer' } }],
  ['invalid_client', { status: 401, body: { error: 'invalid_client' } }],
] as const) {
  void t.test(`${name} for a minute with an expired token allows a new login`, async (t) => {
    const { call, idp, events, browser, url } = await loggedIn(t, {
      config: { routes: [{ path: '/**' }, { path: '/legacy/**', token: { grant: 'none' } }] },
    })
    idp.fail('token', failure)
    moveClock(t, 51_000)
    await call()
    await eventually(() => events('refresh_failed').length === 1)
    moveClock(t, 55_000)
    t.equal((await call()).status, 503, 'the minute begins when the token has expired')
    moveClock(t, 50_000)
    t.equal((await call()).status, 503)
    moveClock(t, 6_000)
    const answer = await call()
    t.equal(answer.status, 401)
    t.equal(answer.json()['code'], 'session_expired')
    t.match(answer.json()['login_url'], /login/)
    t.notOk(answer.headers['set-cookie'], 'the session is kept')
    const page = await browser.get(`${url}/orders`)
    t.equal(page.status, 302)
    t.match(page.headers.location, /\/oauth2\/login\?redirect=%2Forders/)
    t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 401)
    t.equal((await browser.get(`${url}/legacy/`, script)).status, 404, 'a route without a token continues')
    t.equal(events('session_ended').length, 0)
    idp.fail('token', null)
    moveClock(t, 6_000)
    t.equal((await call()).status, 200, 'the other sessions recover with the provider')
  })
}

void t.test('an outage yields a 503 for its whole duration, and does not allow a new login', async (t) => {
  const { call, idp } = await loggedIn(t)
  idp.fail('token', { status: 500 })
  moveClock(t, 101_000)
  for (let i = 0; i < 4; i += 1) {
    t.equal((await call()).status, 503)
    moveClock(t, 40_000)
  }
  idp.fail('token', null)
  t.equal((await call()).status, 200)
})

void t.test('POST session/refresh reports an ended session if the provider refuses', async (t) => {
  const { browser, url, idp } = await loggedIn(t)
  idp.forgetRefreshTokens()
  const answer = await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.equal(answer.status, 401)
  t.equal(answer.json()['code'], 'session_expired')
  t.match(answer.headers['set-cookie'], [/^gatehouse=;.*Max-Age=0/])
})

const ago = (seconds: number): number => Math.floor(Date.now() / 1000) - seconds

/** The claims of a right ID token for the latest login. */
const rightClaims = ({ issuer, lastAuthorizationRequest }: LoggedIn['idp']): JWTPayload => ({
  iss: issuer,
  sub: 'alice',
  aud: lastAuthorizationRequest?.['client_id'] ?? '',
  iat: ago(0),
  exp: ago(-300),
  auth_time: ago(0),
})

for (const [name, change] of [
  ['another sub', { sub: 'mallory' }],
  ['another iss', { iss: 'https://evil.example' }],
  ['another aud', { aud: 'another-client' }],
  ['another aud in a list', { aud: ['another-client', 'a-third'] }],
] satisfies [string, JWTPayload][]) {
  void t.test(`a refreshed ID token with ${name} ends the session, and the log says why`, async (t) => {
    const { call, idp, events, browser, url } = await loggedIn(t)
    const foreign = await idp.sign({ ...rightClaims(idp), ...change })
    idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: foreign })
    const answer = await browser.post(`${url}/oauth2/session/refresh`, '', script)
    t.equal(answer.json()['code'], 'session_expired')
    t.match(events('refresh_failed'), [{ ended: true, cause: /another issuer or sub|another client/ }])
    t.equal((await call()).status, 401)
  })
}

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** What a refresh can bring for an ID token that can't be used; the reason as the log has it. */
const unusable: [string, RegExp, (right: JWTPayload, idp: LoggedIn['idp']) => unknown][] = [
  ['an expired one', /exp/, async (right, idp) => idp.sign({ ...right, iat: ago(900), exp: ago(600) })],
  ['one for two without azp', /azp/, async (right, idp) => idp.sign({ ...right, aud: [String(right.aud), 'other'] })],
  ['one that is not valid yet', /nbf/, async (right, idp) => idp.sign({ ...right, nbf: ago(-600) })],
  ['one without iat', /iat/, async ({ iat: _iat, ...right }, idp) => idp.sign(right)],
  ['one without exp', /exp/, async ({ exp: _exp, ...right }, idp) => idp.sign(right)],
  ['one without sub', /sub/, async ({ sub: _sub, ...right }, idp) => idp.sign(right)],
  ['an unsigned one', /none/, (right) => `${encoded({ alg: 'none' })}.${encoded(right)}.`],
  [
    'one with a wrong signature',
    /signature/,
    async (right, idp) => (await idp.sign(right)).replace(/[^.]+$/, (text) => text.split('').toReversed().join('')),
  ],
  ['no JWT', /JWT/, () => 'x.y.z'],
  ['a list', /not a string/, () => []],
]

for (const [name, reason, make] of unusable) {
  void t.test(`a refresh with ${name} as ID token replaces the tokens and keeps the claims`, async (t) => {
    const { call, idp, events, status, browser, url, upstream } = await loggedIn(t)
    const claims = (await browser.get(`${url}/oauth2/userinfo`, script)).json()
    await call()
    const old = upstream.requests.at(-1)?.headers.authorization
    const user = idp.users.get('alice')
    if (user !== undefined) idp.users.set('alice', { ...user, groups: ['renamed'] })
    moveClock(t, 101_000)
    const idToken = await make(rightClaims(idp), idp)
    idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: idToken })
    t.equal((await call()).status, 200)
    t.not(upstream.requests.at(-1)?.headers.authorization, old)
    t.equal((await status()).tokens['last_refresh_error'], null)
    t.match(events('claims_not_renewed'), [{ cause: reason }])
    t.same((await browser.get(`${url}/oauth2/userinfo`, script)).json(), claims)
    moveClock(t, 101_000)
    t.equal((await call()).status, 200, 'with the new refresh token')
    t.equal(idp.refusedGrants.refresh_token, 0)
    t.equal(events('refresh_failed').length, 0)
  })
}

const odd: [string, Record<string, unknown>][] = [
  ['no ID token but null', { id_token: null }],
  ['no ID token but an empty text', { id_token: '' }],
  ['scope as a list', { scope: ['openid', 'email'] }],
  ['scope null', { scope: null }],
  ['scope as a number', { scope: 5 }],
  ['expires_in null', { expires_in: null }],
  ['expires_in that is no number', { expires_in: 'soon' }],
  ['expires_in below 0', { expires_in: -1 }],
  ['no token_type', { token_type: null }],
]

for (const [name, members] of odd) {
  void t.test(`a refresh and a login with ${name} keep the granted scope`, async (t) => {
    const { call, idp, events, status, browser, url, upstream } = await loggedIn(t)
    idp.settings.reshapeTokenResponse = (body) => ({ ...body, ...members })
    await call()
    const old = upstream.requests.at(-1)?.headers.authorization
    t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200)
    t.equal((await call()).status, 200)
    t.not(upstream.requests.at(-1)?.headers.authorization, old)
    t.equal((await status()).tokens['last_refresh_error'], null)
    moveClock(t, 101_000)
    t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', script)).status, 200)
    t.equal(idp.grants['refresh_token'], 2)
    t.equal(idp.refusedGrants.refresh_token, 0)
    t.equal(events('claims_not_renewed').length, 0)
    // Without an ID token no user is known.
    if (!('id_token' in members))
      t.equal((await createBrowser().login(`${url}/orders`, 'bob')).answer.url, `${url}/orders`)
  })
}

for (const refreshToken of ['', null, 5]) {
  void t.test(`a refresh token ${JSON.stringify(refreshToken)} is ignored, and the previous one stays`, async (t) => {
    const { call, idp, status } = await loggedIn(t, {
      idp: { lifetimes: { accessToken: 100 }, rotateRefreshTokens: false },
    })
    idp.settings.reshapeTokenResponse = (body) => ({ ...body, refresh_token: refreshToken })
    for (const _ of [1, 2]) {
      moveClock(t, 101_000)
      t.equal((await call()).status, 200)
      t.equal((await status()).tokens['refreshable'], true)
    }
  })
}

for (const [name, members] of [
  ['no access token', { access_token: null }],
  ['an access token that is no text', { access_token: 5 }],
  ['an access token of another type', { token_type: 'mac' }],
] as const) {
  void t.test(`a response with ${name} still provides the next refresh token`, async (t) => {
    const running = await loggedIn(t, {
      idp: { lifetimes: { accessToken: 100 }, resources: ['api://stock'] },
      config: { routes: [{ path: '/**' }, { path: '/api/echo/stock', token: { resource: 'api://stock' } }] },
    })
    const { call, idp, events, browser, url, status } = running
    moveClock(t, 101_000)
    idp.settings.reshapeTokenResponse = (body) => ({ ...body, ...members })
    t.equal((await call()).status, 503)
    t.equal((await status()).tokens['last_refresh_error'], 'invalid_response')
    t.equal((await browser.get(`${url}/api/echo/stock`, script)).status, 502)
    idp.settings.reshapeTokenResponse = null
    moveClock(t, 2_100)
    t.equal((await call()).status, 200)
    t.equal((await browser.get(`${url}/api/echo/stock`, script)).status, 200)
    t.equal(idp.refusedGrants.refresh_token, 0)
    t.equal(events('session_ended').length, 0)
  })
}

void t.test(
  'unavailable keys or userinfo during a refresh skip the update of the claims, and the tokens are saved',
  async (t) => {
    const running = await loggedIn(t, { config: { provider: { userinfo: true } } })
    const { call, idp, events } = running
    idp.fail('userinfo', { status: 500 })
    moveClock(t, 101_000)
    t.equal((await call()).status, 200)
    t.match(events('claims_not_renewed'), [{ cause: /./ }])
    idp.fail('userinfo', null)
    await idp.rotateSigningKeys()
    idp.fail('jwks', { status: 503 })
    moveClock(t, 101_000)
    t.equal((await call()).status, 200)
    t.equal(events('claims_not_renewed').length, 2)
    idp.fail('jwks', null)
    moveClock(t, 101_000)
    t.equal((await call()).status, 200)
    t.equal(events('claims_not_renewed').length, 2)
    t.equal(idp.refusedGrants.refresh_token, 0, 'no rotated refresh token was lost')
  },
)
