import t, { type Test } from 'tap'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin } from '../support/sign-in.ts'
import { startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'

type Started = Running & { readonly provider: ScriptedProvider }

/** A gateway whose provider answers pushed requests like this. */
const start = async (
  t: Test,
  status: number,
  body: object | string,
  { metadata = {}, config = {} }: { metadata?: object; config?: object } = {},
): Promise<Started> => {
  const provider = await startScriptedProvider(t)
  Object.assign(provider.document, { pushed_authorization_request_endpoint: `${provider.origin}/par`, ...metadata })
  const isJson = typeof body === 'object'
  provider.paths.set('/par', (_request, response) => {
    response
      .writeHead(status, { 'content-type': isJson ? 'application/json' : 'text/html' })
      .end(isJson ? JSON.stringify(body) : body)
  })
  return { provider, ...(await startGateway(t, { config: { provider: { issuer: provider.issuer, ...config } } })) }
}

const refusals: [number, object | string][] = [
  [400, { error: 'unauthorized_client' }],
  [401, { error: 'invalid_client' }],
  [403, { error: 'access_denied' }],
  [403, '<p>Forbidden'],
  [404, '<p>Not found'],
  [405, ''],
]

void t.test('a provider that refuses pushed requests to this client gets the parameters in the URL', async (t) => {
  for (const [status, body] of refusals) {
    const { url, provider, events } = await start(t, status, body)
    for (let times = 0; times < 2; times += 1) {
      const { searchParams, pathname } = await beginLogin(createBrowser(), url, { redirect: '/orders' })
      t.equal(pathname, '/authorize')
      t.match(searchParams.get('redirect_uri'), `${url}/oauth2/callback`, `${status} ${JSON.stringify(body)}`)
    }
    t.equal(provider.asked('/par'), 1, 'the refusal is remembered')
    t.match(events('push_refused'), [{ level: 'warn', cause: String(status) }])
    t.equal(events('push_refused').length, 1)
    t.equal((await provider.login(url)).answer.headers.location, '/orders')
  }
})

void t.test('pushed requests are tried again after ten minutes', async (t) => {
  const { url, provider, events } = await start(t, 401, { error: 'invalid_client' })
  await beginLogin(createBrowser(), url)
  provider.paths.set('/par', { request_uri: 'urn:example:pushed', expires_in: 60 })
  t.notOk((await beginLogin(createBrowser(), url)).searchParams.has('request_uri'))
  moveClock(t, 601_000)
  t.equal((await beginLogin(createBrowser(), url)).searchParams.get('request_uri'), 'urn:example:pushed')
  t.equal(events('push_refused').length, 1)
})

void t.test('a refused pushed request fails the login if pushed requests are configured or required', async (t) => {
  const required = { metadata: { require_pushed_authorization_requests: true } }
  for (const options of [{ config: { pushedAuthorization: 'on' } }, required]) {
    const { url, events } = await start(t, 401, { error: 'invalid_client' }, options)
    const answer = await createBrowser().get(`${url}/oauth2/login`)
    t.match([answer.status, answer.headers.gatehouse], [502, 'login_failed'])
    t.match(events('login_failed'), [{ cause: /invalid_client/ }])
  }
})

void t.test('no link can turn pushed requests off', async (t) => {
  for (const [status, body] of refusals.slice(2)) {
    const { url, provider } = await start(t, status, body)
    const answer = await createBrowser().get(`${url}/oauth2/login?ui_locales=x`)
    t.ok([400, 502].includes(answer.status), `${status}: ${answer.status}`)
    provider.paths.set('/par', { request_uri: 'urn:example:pushed', expires_in: 60 })
    t.equal((await beginLogin(createBrowser(), url)).searchParams.get('request_uri'), 'urn:example:pushed')
  }
  const { url } = await start(t, 400, { error: 'unauthorized_client' })
  t.equal((await beginLogin(createBrowser(), url, { ui_locales: 'de' })).searchParams.get('ui_locales'), 'de')
})

void t.test('a login that must be pushed is pushed although the provider ignores a parameter there', async (t) => {
  const { url } = await start(
    t,
    201,
    { request_uri: 'urn:example:pushed', expires_in: 60 },
    { metadata: { require_pushed_authorization_requests: true }, config: { preset: 'keycloak' } },
  )
  const { searchParams } = await beginLogin(createBrowser(), url, { kc_idp_hint: 'partners' })
  t.equal(searchParams.get('request_uri'), 'urn:example:pushed')
})
