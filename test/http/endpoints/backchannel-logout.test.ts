import { createHmac, randomUUID } from 'node:crypto'
import { SignJWT, generateKeyPair, type JWTPayload } from 'jose'
import t, { type Test } from 'tap'
import type { Answer } from '../../support/exchange.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { createBrowser } from '../../support/browser.ts'
import { freePort } from '../../support/free-port.ts'
import { startGateway } from '../../support/gateway.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { beginLogin, signIn } from '../../support/sign-in.ts'

const EVENT = 'http://schemas.openid.net/event/backchannel-logout'

type Alice = LoggedIn & {
  readonly sid: string
  /** The claims of a logout token that is right in every point, but for what is given. */
  readonly claims: (over?: JWTPayload) => JWTPayload
  /** What the provider posts. */
  readonly post: (token: string) => Promise<Answer>
}

const logoutAt = async (url: string, token: string): Promise<Answer> =>
  createBrowser().post(`${url}/oauth2/logout/backchannel`, new URLSearchParams({ logout_token: token }), {
    kind: 'none',
  })

const alice = async (t: Test, options: Parameters<typeof startGateway>[1] = {}): Promise<Alice> => {
  const running = await loggedIn(t, options)
  const { sid, aud } = (await running.browser.get(`${running.url}/oauth2/userinfo`, { kind: 'script' })).json()
  const claims = (over: JWTPayload = {}): JWTPayload => {
    const now = Math.floor(Date.now() / 1000)
    return {
      iss: running.idp.issuer,
      aud: String(aud),
      iat: now,
      exp: now + 120,
      jti: randomUUID(),
      sub: 'alice',
      sid: String(sid),
      events: { [EVENT]: {} },
      ...over,
    }
  }
  return { ...running, sid: String(sid), claims, post: async (token) => logoutAt(running.url, token) }
}

const without = (claims: JWTPayload, name: string): JWTPayload =>
  Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name))

void t.test('the gateway’s session ends with the provider’s session', async (t) => {
  const { call, idp, claims, post, events } = await alice(t)
  const answer = await post(await idp.sign(claims(), { typ: 'logout+jwt' }))
  t.equal(answer.status, 200)
  t.equal(answer.headers['cache-control'], 'no-store')
  t.equal(answer.body, '')
  const after = await call()
  t.same([after.status, after.headers.gatehouse], [401, 'session_expired'])
  t.match(events('session_ended'), [{ reason: 'backchannel' }])
})

void t.test('sid alone ends one session, and sub alone ends all sessions of the user', async (t) => {
  const { url, call, idp, claims, post } = await alice(t)
  const [second, third] = [createBrowser(), createBrowser()]
  await second.login(`${url}/`, 'alice')
  await third.login(`${url}/`, 'bob')
  const status = async (browser: typeof second): Promise<number> =>
    (await browser.get(`${url}/api/orders`, { kind: 'script' })).status
  t.equal((await post(await idp.sign(without(claims(), 'sub')))).status, 200)
  t.same([(await call()).status, await status(second), await status(third)], [401, 200, 200])
  t.equal((await post(await idp.sign(without(claims(), 'sid')))).status, 200)
  t.same([await status(second), await status(third)], [401, 200])
})

void t.test('a token with an unknown sid or sub succeeds and ends no session', async (t) => {
  const { call, idp, claims, post } = await alice(t)
  t.equal((await post(await idp.sign(claims({ sid: 'unknown' })))).status, 200)
  t.equal((await post(await idp.sign(without(claims({ sub: 'nobody' }), 'sid')))).status, 200)
  t.equal((await call()).status, 200)
})

void t.test('a logout token counts once', async (t) => {
  const { url, browser, call, idp, claims, post, events } = await alice(t)
  const token = await idp.sign(claims())
  t.equal((await post(token)).status, 200)
  await browser.login(`${url}/`, 'alice')
  const again = await post(token)
  t.same([again.status, again.headers.gatehouse], [400, 'logout_refused'])
  t.equal((await call()).status, 200)
  t.equal(events('replay').length, 1)
  t.equal((await post(await idp.sign(without(claims({ jti: 'another' }), 'sid')))).status, 200)
})

void t.test('a token with a single fault is refused with 400, and ends no session', async (t) => {
  const { call, idp, claims, post, status } = await alice(t)
  const now = Math.floor(Date.now() / 1000)
  const wrong: Readonly<Record<string, Promise<string>>> = {
    'another audience': idp.sign(claims({ aud: 'another' })),
    'another issuer': idp.sign(claims({ iss: 'https://other.example' })),
    'a nonce': idp.sign(claims({ nonce: 'x' })),
    'no events': idp.sign(without(claims(), 'events')),
    'another event': idp.sign(claims({ events: { 'http://schemas.openid.net/event/other': {} } })),
    'an event that is no object': idp.sign(claims({ events: { [EVENT]: 'yes' } })),
    'events as a list': idp.sign(claims({ events: [EVENT] })),
    'no jti': idp.sign(without(claims(), 'jti')),
    'no iat': idp.sign(without(claims(), 'iat')),
    'neither sub nor sid': idp.sign(without(without(claims(), 'sub'), 'sid')),
    'a sid that is no string': idp.sign(without(claims({ sid: 7 as unknown as string }), 'sub')),
    'a sid that is no string beside a sub': idp.sign(claims({ sid: 7 as unknown as string })),
    'an empty sid beside a sub': idp.sign(claims({ sid: '' })),
    'a sub that is no string beside a sid': idp.sign(claims({ sub: {} as unknown as string })),
    'an empty jti': idp.sign(claims({ jti: '' })),
    'a jti of absurd length': idp.sign(claims({ jti: 'x'.repeat(1001) })),
    'no exp, and older than five minutes': idp.sign(without(claims({ iat: now - 310 }), 'exp')),
    'an exp that is no number': idp.sign(claims({ exp: 'soon' as unknown as number })),
    'expired': idp.sign(claims({ iat: now - 200, exp: now - 180 })),
    'too old': idp.sign(claims({ iat: now - 3600, exp: now + 3600 })),
    'older than five minutes': idp.sign(claims({ iat: now - 310, exp: now + 300 })),
    'from the future': idp.sign(claims({ iat: now + 180, exp: now + 700 })),
    'not valid yet': idp.sign(claims({ nbf: now + 180 })),
    'of another type': idp.sign(claims(), { typ: 'at+jwt' }),
  }
  for (const [name, token] of Object.entries(wrong)) {
    const answer = await post(await token)
    t.same(
      [answer.status, answer.headers.gatehouse, answer.headers['cache-control']],
      [400, 'logout_refused', 'no-store'],
      name,
    )
  }
  t.equal((await call()).status, 200)
  t.equal((await status()).session['active'], true)
})

void t.test('a token that the provider did not sign is refused', async (t) => {
  const { call, idp, claims, post } = await alice(t)
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const { privateKey } = await generateKeyPair('RS256')
  const signed = await idp.sign(claims())
  const [head = '', , signature = ''] = signed.split('.')
  const body = `${part({ alg: 'HS256', typ: 'logout+jwt' })}.${part(claims())}`
  const wrong: Readonly<Record<string, string>> = {
    'alg none': `${part({ alg: 'none', typ: 'logout+jwt' })}.${part(claims())}.`,
    'alg none with the signature of another': `${part({ alg: 'none' })}.${part(claims())}.${signature}`,
    'a symmetric key': `${body}.${createHmac('sha256', 'client-secret').update(body).digest('base64url')}`,
    'another issuer’s key': await new SignJWT(claims())
      .setProtectedHeader({ alg: 'RS256', kid: 'mine' })
      .sign(privateKey),
    'claims that were changed': `${head}.${part(claims({ sub: 'bob' }))}.${signature}`,
    'no JWT': 'x.y.z',
    'nothing': '',
  }
  for (const [name, token] of Object.entries(wrong)) {
    const answer = await post(token)
    t.same([answer.status, answer.headers.gatehouse], [400, 'logout_refused'], name)
  }
  t.equal((await call()).status, 200)
})

void t.test('a token without exp is valid while its iat is at most five minutes old', async (t) => {
  const { call, idp, claims, post } = await alice(t)
  const token = await idp.sign(without(claims({ iat: Math.floor(Date.now() / 1000) - 250 }), 'exp'))
  t.equal((await post(token)).status, 200)
  t.equal((await call()).status, 401)
})

void t.test('a request with two logout tokens is refused', async (t) => {
  const { url, call, idp, claims } = await alice(t)
  const body = new URLSearchParams([
    ['logout_token', await idp.sign(claims())],
    ['logout_token', await idp.sign(claims())],
  ])
  const answer = await createBrowser().post(`${url}/oauth2/logout/backchannel`, body, { kind: 'none' })
  t.same([answer.status, answer.headers.gatehouse], [400, 'logout_refused'])
  t.equal((await call()).status, 200)
})

void t.test('only a posted form is accepted', async (t) => {
  const { url, browser, call, idp, claims } = await alice(t)
  const token = await idp.sign(claims())
  t.equal((await browser.get(`${url}/oauth2/logout/backchannel?logout_token=${token}`)).status, 405)
  t.equal(
    (
      await browser.post(`${url}/oauth2/logout/backchannel?logout_token=${token}`, new URLSearchParams(), {
        kind: 'none',
      })
    ).status,
    400,
  )
  t.equal(
    (
      await browser.post(`${url}/oauth2/logout/backchannel`, JSON.stringify({ logout_token: token }), {
        kind: 'none',
        headers: { 'content-type': 'application/json' },
      })
    ).status,
    400,
  )
  t.equal((await call()).status, 200)
})

void t.test('a token signed with a new key of the provider is accepted', async (t) => {
  const { call, idp, claims, post } = await alice(t)
  await idp.rotateSigningKeys({ keepOld: false })
  t.equal((await post(await idp.sign(claims()))).status, 200)
  t.equal((await call()).status, 401)
})

void t.test('unavailable provider keys are a 503, and the same token is accepted later', async (t) => {
  const { call, idp, claims, post } = await alice(t)
  await idp.rotateSigningKeys({ keepOld: false })
  const token = await idp.sign(claims())
  idp.fail('jwks', { status: 500 })
  const answer = await post(token)
  t.same([answer.status, answer.headers.gatehouse], [503, 'provider_unavailable'])
  idp.fail('jwks', null)
  t.equal((await call()).status, 200)
})

for (const by of ['sid', 'sub'] as const) {
  void t.test(
    `a logout by ${by} that arrives before the login’s session is created ends that session, and a new login succeeds`,
    async (t) => {
      const { url, idp, sid, claims, post, events } = await alice(t)
      const late = createBrowser()
      // The same browser at the provider, so the same session there; here it is a new one.
      const first = await beginLogin(late, url)
      const callback = await signIn(late, first, 'alice')
      const own = by === 'sid' ? await sidOf(idp, late, url, sid) : sid
      await post(await idp.sign(without(claims({ sid: own }), by === 'sid' ? 'sub' : 'sid')))
      const answer = await late.get(callback.href)
      t.match(answer.headers.location, `${url}/oauth2/login?`, 'the login restarts')
      t.notOk(answer.headers['set-cookie']?.some((cookie) => /^gatehouse=[^;]/.test(cookie)))
      t.ok(events('session_ended').some(({ reason }) => reason === 'backchannel'))
      const { answer: end } = await late.follow(answer)
      t.equal(end.url, `${url}/`)
      t.equal((await late.get(`${url}/api/orders`, { kind: 'script' })).status, 200)
    },
  )
}

/**
 * Returns the provider's session id of a browser without a session at this gateway, which a silent login
 * reveals.
 */
async function sidOf(
  idp: LoggedIn['idp'],
  browser: ReturnType<typeof createBrowser>,
  url: string,
  otherwise: string,
): Promise<string> {
  const twin = createBrowser()
  for (const { name, value } of browser.cookies.all())
    if (name.startsWith('demo_idp')) twin.cookies.store(new URL(idp.issuer), [`${name}=${value}; Path=/`])
  await twin.follow(await twin.get(`${url}/oauth2/login`))
  const { sid } = (await twin.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()
  return typeof sid === 'string' ? sid : otherwise
}

void t.test('ending a user’s sessions at the provider ends them at the gateway', async (t) => {
  const port = await freePort()
  const { url, idp } = await startGateway(t, {
    port,
    client: { backchannelLogoutUri: `http://127.0.0.1:${port}/oauth2/logout/backchannel` },
  })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const { notified, failed } = await idp.endSessionsOf('alice')
  t.same([notified, failed], [[`client-${port}`], []])
  t.equal((await browser.get(`${url}/api/orders`, { kind: 'script' })).status, 401)
})

void t.test('a token is accepted only in an ID token algorithm, also if the key set has other keys', async (t) => {
  const idp = await startIdp()
  t.teardown(() => idp.close())
  const metadata = (await createBrowser().get(`${idp.issuer}/.well-known/openid-configuration`)).json()
  const rows: [announced: string[] | undefined, statuses: Record<string, number>][] = [
    [['RS256'], { ES256: 400, RS256: 200 }],
    [undefined, { ES256: 400, RS256: 200 }],
    [['RS256', 'ES256'], { ES256: 200 }],
  ]
  for (const [announced, statuses] of rows) {
    idp.fail('discovery', { status: 200, body: { ...metadata, id_token_signing_alg_values_supported: announced } })
    const { call, claims, post } = await alice(t, { idp })
    for (const [alg, status] of Object.entries(statuses)) {
      const answer = await post(await idp.sign(claims(), { alg }))
      t.equal(answer.status, status, `${alg} where ${String(announced)}`)
      t.equal((await call()).status, status === 200 ? 401 : 200)
    }
  }
})

void t.test('a sid from a refresh identifies the session', async (t) => {
  const { call, idp, claims, post, browser, url } = await alice(t, { idp: { lifetimes: { accessToken: 100 } } })
  const idToken = await idp.sign(without(without(claims({ sid: 'new-sid' }), 'events'), 'jti'))
  idp.settings.reshapeTokenResponse = (body) => ({ ...body, id_token: idToken })
  t.equal((await browser.post(`${url}/oauth2/session/refresh`, '', { kind: 'script' })).status, 200)
  t.equal((await post(await idp.sign(claims({ sid: 'new-sid' }), { typ: 'logout+jwt' }))).status, 200)
  t.equal((await call()).status, 401)
})
