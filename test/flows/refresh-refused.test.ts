import t from 'tap'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { loggedIn } from '../support/logged-in.ts'

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

void t.test('invalid_grant for an expired token is told to the request that waited', async (t) => {
  const { call, idp, browser, url } = await loggedIn(t)
  idp.revokeGrantsOf('alice')
  moveClock(t, 101_000)
  const answer = await call()
  t.equal(answer.json()['code'], 'session_expired')
  t.notOk(browser.cookies.get(url, 'gatehouse'))
})

void t.test('invalid_grant as a word in some other answer ends nothing', async (t) => {
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

for (const [name, body] of [
  ['invalid_request', { error: 'invalid_request' }],
  ['nothing', ''],
] as const) {
  void t.test(
    `another 400, here ${name}, keeps the session until the token has expired, and then ends it`,
    async (t) => {
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
    },
  )
}

const passing = [
  ['a 500', { status: 500 }],
  ['a 429', { status: 429, body: { error: 'slow_down' } }],
  ['HTML', { status: 200, body: '<!doctype html><p>Maintenance</p>' }],
  ['HTML with 400', { status: 400, body: '<!doctype html><p>Blocked</p>' }],
  ['invalid_client with 401', { status: 401, body: { error: 'invalid_client' } }],
  ['invalid_client with 400', { status: 400, body: { error: 'invalid_client' } }],
  ['a connection that is cut', { destroy: true }],
  ['silence', { hang: true }],
  ['JSON that is none', { status: 200, body: '{"access_token":', contentType: 'application/json' }],
] as const

for (const [name, failure] of passing) {
  void t.test(
    `${name} keeps the session: the old token is used while it is valid, then 503 until it heals`,
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

void t.test('the pause after failures grows, up to half a minute', async (t) => {
  const { call, idp } = await loggedIn(t)
  idp.fail('token', { status: 500 })
  moveClock(t, 101_000)
  const pauses: number[] = []
  for (const _ of [1, 2, 3, 4, 5, 6, 7]) {
    const pause = Number((await call()).headers['retry-after'])
    pauses.push(pause)
    moveClock(t, pause * 1000 + 10)
  }
  t.same(pauses, [1, 2, 4, 8, 16, 30, 30])
  t.equal(idp.tokenRequests, 8)
})

void t.test('a provider that says how long to wait is believed', async (t) => {
  const { call, idp } = await loggedIn(t)
  idp.fail('token', { status: 429, headers: { 'retry-after': '17' } })
  moveClock(t, 101_000)
  t.equal((await call()).headers['retry-after'], '17')
})

void t.test('POST session/refresh that the provider refuses tells that the session has ended', async (t) => {
  const { browser, url, idp } = await loggedIn(t)
  idp.forgetRefreshTokens()
  const answer = await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.equal(answer.status, 401)
  t.equal(answer.json()['code'], 'session_expired')
  t.match(answer.headers['set-cookie'], [/^gatehouse=;.*Max-Age=0/])
})

void t.test('an ID token of somebody else ends the session, and the log says why', async (t) => {
  const { call, idp, events, browser, url } = await loggedIn(t)
  const { client_id: clientId = '' } = idp.lastAuthorizationRequest ?? {}
  const now = Math.floor(Date.now() / 1000)
  const foreign = await idp.sign({
    iss: idp.issuer,
    sub: 'mallory',
    aud: clientId,
    iat: now,
    exp: now + 300,
    auth_time: now,
  })
  idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: foreign })
  const answer = await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.equal(answer.json()['code'], 'session_expired')
  t.match(events('refresh_failed'), [{ ended: true, cause: /another issuer or sub/ }])
  t.equal((await call()).status, 401)
})

void t.test(
  'keys or userinfo that can’t be had during a refresh cost the claims’ update, not the tokens',
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
