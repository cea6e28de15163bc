import t, { type Test } from 'tap'
import { startIdp, type Idp } from '../../src/demo/idp.ts'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { isReadableFailure } from './failed-login.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin, callbackFor } from '../support/sign-in.ts'

type Failure = NonNullable<Parameters<Idp['fail']>[1]>

const html: Failure = { status: 200, body: '<!doctype html><title>Proxy</title><p>Maintenance' }
const silence: Failure = { hang: true }
const cut: Failure = { destroy: true }
const tooMuch: Failure = { status: 200, body: Buffer.alloc(10_000_000, ' '), contentType: 'application/json' }
const noJson: Failure = { status: 200, body: '{"access_token":"abc', contentType: 'application/json' }
const challenge = { 'www-authenticate': 'Basic realm="token endpoint"' }
const json = (body: object, status = 200): Failure => ({ status, body: { ...body } })

// As a float of seconds it is not a whole number of milliseconds.
const timeout = { provider: { timeout: '1001ms' } }

const idpFor = async (t: Test): Promise<Idp> => {
  const idp = await startIdp()
  t.teardown(() => idp.close())
  return idp
}

/** Faults that any endpoint of a provider may have, with the status of the failed login. */
const COMMON_FAULTS: readonly [string, Failure, number][] = [
  ['html', html, 502],
  ['silence', silence, 503],
  ['cut', cut, 503],
  ['tooMuch', tooMuch, 502],
  ['noJson', noJson, 502],
  ['an error', { status: 500 }, 503],
]

void t.test('a provider that can’t be discovered yields a 503, and the next login tries again', async (t) => {
  const idp = await idpFor(t)
  const metadata = (await createBrowser().get(`${idp.issuer}/.well-known/openid-configuration`)).json()
  idp.fail('discovery', { status: 500 })
  const running = await startGateway(t, { idp, config: timeout })
  const faults: Record<string, Failure> = {
    html,
    silence,
    cut,
    tooMuch,
    noJson,
    'an error': { status: 500 },
    'another issuer': json({ ...metadata, issuer: 'https://evil.example' }),
    'a list': { status: 200, body: '[]', contentType: 'application/json' },
    'no jwks_uri': json({ ...metadata, jwks_uri: undefined }),
    'no token_endpoint': json({ ...metadata, token_endpoint: undefined }),
    'a number as authorization_endpoint': json({ ...metadata, authorization_endpoint: 5 }),
    'a script as authorization_endpoint': json({ ...metadata, authorization_endpoint: 'javascript:alert(1)' }),
    'a list as jwks_uri': json({ ...metadata, jwks_uri: [] }),
    'words as end_session_endpoint': json({ ...metadata, end_session_endpoint: 'not a URL' }),
  }
  for (const [name, failure] of Object.entries(faults)) {
    idp.fail('discovery', failure)
    const answer = await createBrowser().get(`${running.url}/oauth2/login`)
    t.equal(answer.status, 503, name)
    t.equal(answer.headers.gatehouse, 'provider_unavailable')
    t.notOk(answer.headers['set-cookie'])
    t.match(running.events('provider_unavailable').at(-1), { cause: /.{5}/ })
  }
  t.match(running.log.join(''), /the end_session_endpoint in the provider’s metadata is not a URL/, 'by name')
  idp.fail('discovery', null)
  t.equal((await createBrowser().login(`${running.url}/orders`, 'alice')).answer.url, `${running.url}/orders`)
})

void t.test('keys that can’t be fetched or used fail the login', async (t) => {
  const idp = await idpFor(t)
  const faults: [string, Failure, number][] = [
    ...COMMON_FAULTS,
    ['busy', { status: 429 }, 503],
    ['gone', { status: 404 }, 502],
    ['wrong types', json({ keys: 5 }), 502],
    ['no keys', json({ keys: [] }), 502],
  ]
  for (const [name, failure, status] of faults) {
    const running = await startGateway(t, { idp, config: timeout })
    idp.fail('jwks', failure)
    const browser = createBrowser()
    isReadableFailure(t, running, (await browser.login(`${running.url}/orders`, 'alice')).answer, status, name)
    t.notOk(browser.cookies.get(running.url, 'gatehouse'))
    idp.fail('jwks', null)
    moveClock(t, 10_100)
    t.equal(
      (await browser.login(`${running.url}/orders`, 'alice')).answer.url,
      `${running.url}/orders`,
      `${name}, and then again`,
    )
  }
})

void t.test('a failing token endpoint fails the login', async (t) => {
  const running = await startGateway(t, { config: timeout })
  const faults: [string, Failure, number][] = [
    ...COMMON_FAULTS,
    ['a page of a proxy', { status: 502, body: '<p>Bad gateway' }, 503],
    ['busy', json({ error: 'slow_down' }, 429), 503],
    ['a redirect', { status: 302, headers: { location: 'https://evil.example/' } }, 502],
    ['its answer lost', { processed: true, destroy: true }, 503],
    ['nothing in it', json({}), 502],
    ['wrong types', json({ access_token: 5, token_type: 'bearer', id_token: [] }), 502],
    ['no ID token', json({ access_token: 'abc', token_type: 'bearer' }), 502],
    ['an invalid ID token', json({ access_token: 'abc', token_type: 'bearer', id_token: 'x.y.z' }), 502],
    ['the wrong client', json({ error: 'invalid_client' }, 401), 502],
    ['the wrong client, challenged', { ...json({ error: 'invalid_client' }, 401), headers: challenge }, 502],
    ['a spent code', json({ error: 'invalid_grant' }, 400), 400],
    ['a spent code, challenged', { ...json({ error: 'invalid_grant' }, 400), headers: challenge }, 400],
    ['a spent code with 200', json({ error: 'invalid_grant' }), 400],
    ['a spent code with 500', json({ error: 'invalid_grant' }, 500), 400],
    ['a challenge and no more', { status: 401, body: '', headers: challenge }, 502],
    ['a challenge while it is down', { status: 503, body: '', headers: challenge }, 503],
  ]
  await failLogins(t, running, 'token', faults)
})

void t.test('a failing userinfo endpoint, or one with another sub, fails the login', async (t) => {
  const running = await startGateway(t, { config: { provider: { timeout: '1s', userinfo: true } } })
  const faults: [string, Failure, number][] = [
    ...COMMON_FAULTS,
    ['refused', { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } }, 502],
    ['another user', json({ sub: 'mallory', groups: ['admin'] }), 502],
    ['no user', json({ groups: ['admin'] }), 502],
    ['deeply nested claims', json({ sub: 'alice', name: JSON.parse(`${'['.repeat(50)}${']'.repeat(50)}`) }), 502],
    ['wrong types', json({ sub: 5 }), 502],
  ]
  await failLogins(t, running, 'userinfo', faults)
})

void t.test('userinfo adds claims to those of the ID token, which take precedence', async (t) => {
  const { url, idp } = await startGateway(t, { config: { provider: { userinfo: true } } })
  const browser = createBrowser()
  idp.fail('userinfo', json({ sub: 'alice', groups: ['root'], nickname: 'Al' }))
  await browser.login(`${url}/`, 'alice')
  t.match((await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json(), {
    nickname: 'Al',
    groups: ['staff', 'admin'],
  })
})

void t.test('a failing pushed authorization request fails the login', async (t) => {
  const running = await startGateway(t, { idp: { pushedAuthorization: true }, config: timeout })
  const { url, idp } = running
  const faults: [string, Failure, number][] = [
    ['html', html, 502],
    ['silence', silence, 503],
    ['cut', cut, 503],
    ['an error', { status: 500 }, 503],
    ['refused', json({ error: 'invalid_request' }, 400), 502],
    ['refused, with 200', json({ error: 'invalid_scope' }), 502],
  ]
  for (const [name, failure, status] of faults) {
    idp.fail('par', failure)
    const answer = await createBrowser().get(`${url}/oauth2/login`)
    isReadableFailure(t, running, answer, status, name)
  }
  t.match(running.log.join(''), /invalid_request/)
  t.match(running.log.join(''), /invalid_scope/)
  const askedFor: [string, Failure, number][] = [
    ['refused', json({ error: 'invalid_request' }, 400), 400],
    ['a scope that it does not have', json({ error: 'invalid_scope' }, 400), 400],
    ['a firewall', { status: 403, body: '<p>Blocked' }, 400],
    ['too long', { status: 413 }, 400],
    ['an error', { status: 500 }, 503],
  ]
  for (const [name, failure, status] of askedFor) {
    for (const query of ['prompt=bogus', 'login_hint=x', 'scope=x', 'claims=x', 'acr_values=x', 'max_age=1']) {
      idp.fail('par', failure)
      const answer = await createBrowser().get(`${url}/oauth2/login?${query}`)
      isReadableFailure(t, running, answer, status, `${name}: ${query}`)
    }
  }
})

void t.test('an accepted pushed request is used, regardless of its expires_in', async (t) => {
  const { url, idp } = await startGateway(t, { idp: { pushedAuthorization: true } })
  for (const [status, lifetime] of [
    [200, 60],
    [201, null],
    [201, 'soon'],
    [201, '60'],
  ] as const) {
    idp.fail('par', json({ request_uri: 'urn:example:pushed', expires_in: lifetime }, status))
    const authorization = await beginLogin(createBrowser(), url)
    t.equal(authorization.searchParams.get('request_uri'), 'urn:example:pushed', `${status} ${lifetime}`)
  }
})

void t.test('a refused revocation is logged with the provider’s words', async (t) => {
  const { url, idp, events } = await startGateway(t)
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  idp.fail('revocation', {
    ...json({ error: 'invalid_client', error_description: 'Bad client credentials' }, 401),
    headers: challenge,
  })
  await browser.get(`${url}/oauth2/logout`)
  await eventually(() => events('revocation_failed').length === 1)
  t.match(events('revocation_failed'), [{ cause: /invalid_client: Bad client credentials\) ← 401 from http/ }])
})

void t.test('a script gets a problem from a failing login', async (t) => {
  const { url, idp } = await startGateway(t)
  const browser = createBrowser()
  const callback = await callbackFor(browser, url)
  idp.fail('token', { status: 500 })
  const answer = await browser.get(callback.href, { kind: 'script' })
  t.equal(answer.status, 503)
  t.match(answer.json(), { status: 503, code: 'provider_unavailable' })
})

/** Logs in once for each fault of an endpoint, and checks that the login fails readably. */
async function failLogins(
  t: Test,
  running: Running,
  endpoint: 'token' | 'userinfo',
  faults: readonly (readonly [string, Failure, number])[],
): Promise<void> {
  for (const [name, failure, status] of faults) {
    const browser = createBrowser()
    const callback = await callbackFor(browser, running.url)
    running.idp.fail(endpoint, failure)
    const answer = await browser.get(callback.href)
    running.idp.fail(endpoint, null)
    isReadableFailure(t, running, answer, status, name)
  }
}
