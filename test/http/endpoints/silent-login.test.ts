import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createBrowser, type Browser } from '../../support/browser.ts'
import type { Answer } from '../../support/exchange.ts'
import { startGateway } from '../../support/gateway.ts'
import { loggedIn } from '../../support/logged-in.ts'
import { beginLogin } from '../../support/sign-in.ts'
import { startScriptedProvider } from '../../oidc/scripted-provider.ts'

/** Follows the frame through the provider to its end. */
const silent = async (browser: Browser, url: string, query = ''): Promise<Answer> => {
  let answer = await browser.get(`${url}/oauth2/silent${query}`, { kind: 'frame', from: `${url}/` })
  for (let hops = 0; answer.headers.location !== undefined && hops < 8; hops += 1) {
    answer = await browser.get(new URL(answer.headers.location, answer.url).href, { kind: 'frame', from: `${url}/` })
  }
  return answer
}

const outcomeIn = ({ body }: Answer): string | undefined => /outcome:"(\w+)"/.exec(body)?.[1]
const ticketIn = (browser: Browser, url: string): string | null => browser.cookies.get(`${url}/`, 'gatehouse')

void t.test('a silent login uses prompt=none and ends in a page that only the same origin can frame', async (t) => {
  const { url, browser, idp } = await loggedIn(t)
  const begun = await browser.get(`${url}/oauth2/silent`, { kind: 'frame', from: `${url}/` })
  t.equal(begun.status, 302)
  t.equal(new URL(begun.headers.location ?? '').searchParams.get('prompt'), 'none')
  t.equal(new URL(begun.headers.location ?? '').origin, idp.issuer)
  const end = await silent(browser, url)
  t.equal(outcomeIn(end), 'ok')
  t.match(end.headers['content-security-policy'], "frame-ancestors 'self'")
  t.match(end.body, 'location.origin', 'the message goes only to the own origin')
})

void t.test('a silent login continues the session under a new id, with a new lifetime', async (t) => {
  const { url, browser, call, status, events } = await loggedIn(t)
  const [before, ticket] = [await status(), ticketIn(browser, url)]
  await sleep(1_100)
  t.equal(outcomeIn(await silent(browser, url)), 'ok')
  t.not(ticketIn(browser, url), ticket)
  t.ok(String((await status()).session['created_at']) > String(before.session['created_at']))
  t.equal((await call()).status, 200)
  t.match(events('session_ended'), [{ reason: 'renewed' }])
})

void t.test('with keep the session stays the same, and its idle timeout does not restart', async (t) => {
  const { url, browser, status, idp, events } = await loggedIn(t)
  const [before, ticket] = [await status(), ticketIn(browser, url)]
  const answer = await silent(browser, url, '?keep')
  t.equal(outcomeIn(answer), 'ok')
  t.notMatch(answer.body, 'BroadcastChannel')
  t.equal(ticketIn(browser, url), ticket)
  t.equal((await status()).session['timeout_at'], before.session['timeout_at'], 'it does not count as activity')
  t.equal(idp.lastAuthorizationRequest?.['scope'], 'openid')
  t.equal(events('session_ended').length, 0)
})

void t.test('with keep, tokens without a refresh token are replaced in their session', async (t) => {
  const { url, browser, status, call, upstream, events } = await loggedIn(t, {
    config: { provider: { scopes: ['openid', 'profile'] } },
  })
  await call()
  const token = upstream.requests.at(-1)?.headers.authorization
  const [before, ticket] = [await status(), ticketIn(browser, url)]
  t.equal(before.tokens['refreshable'], false)
  await sleep(1_100)
  const answer = await silent(browser, url, '?keep')
  t.equal(outcomeIn(answer), 'ok')
  t.match(answer.body, 'BroadcastChannel', 'the other tabs hear of it')
  const after = await status()
  t.equal(ticketIn(browser, url), ticket)
  t.equal(after.session['created_at'], before.session['created_at'])
  t.equal(after.session['ends_at'], before.session['ends_at'])
  t.ok(String(after.tokens['expire_at']) > String(before.tokens['expire_at']))
  await call()
  t.not(upstream.requests.at(-1)?.headers.authorization, token)
  t.equal(events('session_ended').length, 0)
})

void t.test(
  'a login that only identifies the user replaces no tokens, not even of a session without a refresh token',
  async (t) => {
    const provider = await startScriptedProvider(t)
    const { url, upstream } = await startGateway(t, { config: { provider: { issuer: provider.issuer } } })
    const { browser } = await provider.login(
      url,
      { groups: ['ops'], sid: 'first' },
      { refresh_token: 'a-refresh-token' },
    )
    const begun = await browser.get(`${url}/oauth2/silent?keep`, { kind: 'frame', from: `${url}/` })
    const authorization = new URL(begun.headers.location ?? '')
    t.equal(authorization.searchParams.get('scope'), 'openid')
    const login = await beginLogin(browser, url, { prompt: 'login' })
    const members = { access_token: 'the-token' }
    await browser.get((await provider.callback(login, { groups: ['ops'], sid: 'second' }, members)).href)
    const callback = await provider.callback(authorization, { sid: 'second' }, { access_token: 'an-openid-token' })
    const end = await browser.get(callback.href, { kind: 'frame' })
    t.equal(outcomeIn(end), 'ok')
    await browser.get(`${url}/api/orders`, { kind: 'script' })
    t.equal(upstream.requests.at(-1)?.headers.authorization, 'Bearer the-token')
    t.match((await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json(), { groups: ['ops'] })
  },
)

void t.test('keep without a session is login_required, and the provider is not asked', async (t) => {
  const { url, idp } = await startGateway(t)
  t.equal(outcomeIn(await silent(createBrowser(), url, '?keep')), 'login_required')
  t.equal(idp.requests.authorization, 0)
})

void t.test('login_required from the provider leaves the gateway’s session alone', async (t) => {
  const { url, browser, call, idp } = await loggedIn(t)
  await idp.endSessionsOf('alice', { notify: false })
  t.equal(outcomeIn(await silent(browser, url)), 'login_required')
  t.equal((await call()).status, 200)
})

void t.test(
  'a different user at the provider takes over neither the session nor a page whose session has ended',
  async (t) => {
    const { url, browser, idp } = await loggedIn(t)
    const { session } = (await browser.get(`${url}/oauth2/session`, { kind: 'script' })).json() as {
      session: { user: string }
    }
    const ticket = ticketIn(browser, url)
    await idp.endSessionsOf('alice', { notify: false })
    const bob = createBrowser()
    await bob.login(`${url}/`, 'bob')
    for (const { name, value } of bob.cookies.all())
      if (name.startsWith('demo_idp')) browser.cookies.store(new URL(idp.issuer), [`${name}=${value}; Path=/`])
    t.equal(outcomeIn(await silent(browser, url)), 'interaction_required')
    t.equal(
      outcomeIn(await silent(browser, url, '?keep')),
      'login_required',
      'the session that was asked for is gone at the provider',
    )
    t.equal(ticketIn(browser, url), ticket)
    t.equal((await browser.get(`${url}/oauth2/userinfo`, { kind: 'script' })).json()['sub'], 'alice')
    await browser.post(`${url}/oauth2/logout/local`, '', { kind: 'script' })
    t.equal(outcomeIn(await silent(browser, url, `?user=${session.user}`)), 'interaction_required')
    t.equal(ticketIn(browser, url), null)
    t.equal(outcomeIn(await silent(browser, url)), 'ok', 'an anonymous page takes over the current user')
  },
)

void t.test('every failure is reported to the page through the frame', async (t) => {
  const { url, browser, idp } = await loggedIn(t)
  idp.fail('token', { status: 500, times: 1 })
  t.equal(outcomeIn(await silent(browser, url)), 'error')
  t.equal(
    outcomeIn(await browser.get(`${url}/oauth2/callback?error=server_error&state=x`, { kind: 'frame' })),
    undefined,
  )
  const begun = await browser.get(`${url}/oauth2/silent`, { kind: 'frame', from: `${url}/` })
  const state = new URL(begun.headers.location ?? '').searchParams.get('state') ?? ''
  const back = (error: string): string =>
    `${url}/oauth2/callback?${new URLSearchParams({ error, state, iss: idp.issuer }).toString()}`
  t.equal(outcomeIn(await createBrowser().get(back('login_required'), { kind: 'frame' })), 'error', 'another browser')
  t.equal(outcomeIn(await browser.get(back('consent_required'), { kind: 'frame' })), 'interaction_required')
  t.equal(outcomeIn(await browser.get(back('consent_required'), { kind: 'frame' })), 'error', 'a state counts once')
})

void t.test('a script gets no redirect to another site, and a prefetch has no effect', async (t) => {
  const { url, browser, idp } = await loggedIn(t)
  const begun = idp.requests.authorization
  const scripted = await browser.get(`${url}/oauth2/silent`, { kind: 'script' })
  t.notOk(scripted.headers.location)
  t.notOk(scripted.headers['set-cookie'])
  t.equal(
    (await browser.get(`${url}/oauth2/silent`, { kind: 'frame', headers: { 'sec-purpose': 'prefetch' } })).status,
    204,
  )
  t.equal(idp.requests.authorization, begun)
})
