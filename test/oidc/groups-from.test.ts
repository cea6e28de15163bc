import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import type { Answer } from '../support/exchange.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { beginLogin } from '../support/sign-in.ts'
import { claimsFor, startScriptedProvider, type ScriptedProvider } from './scripted-provider.ts'

type Settings = { readonly [key: string]: unknown }

const GRAPH = '/v1.0/me/transitiveMemberOf/microsoft.graph.group'
const GOOGLE = '/v1/groups/-/memberships:searchTransitiveGroups'

// Starting these takes longer than most of the tests. `startGateway` needs the provider, although no test visits it.
const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => {
  await idp.close()
  await upstream.close()
})

type Groups = {
  readonly provider: ScriptedProvider
  readonly gateway: Running
  /** The requests to the API with the groups, in their order. */
  readonly calls: { readonly url: URL; readonly headers: IncomingMessage['headers'] }[]
  /** Answers the API at a path. */
  readonly answer: (path: string, body: unknown, status?: number) => void
}

const start = async (
  t: Test,
  groupsFrom: 'graph' | 'google',
  settings: Settings = {},
  config: Settings = {},
): Promise<Groups> => {
  const provider = await startScriptedProvider(t)
  const groups = `${provider.origin}${groupsFrom === 'graph' ? GRAPH : GOOGLE}`
  const gateway = await startGateway(t, {
    idp,
    upstream,
    config: { provider: { issuer: provider.issuer, groupsFrom, endpoints: { groups }, ...settings }, ...config },
  })
  const calls: Groups['calls'] = []
  return {
    provider,
    gateway,
    calls,
    answer(path, body, status = 200) {
      provider.paths.set(path, (request, response) => {
        calls.push({ url: new URL(request.url ?? '/', provider.origin), headers: request.headers })
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      })
    },
  }
}

const call = async ({ gateway }: Groups, browser: Browser): Promise<Answer> =>
  browser.get(`${gateway.url}/api/orders`, { kind: 'script' })

const groupsOf = async ({ gateway }: Groups, browser: Browser): Promise<unknown> =>
  (await browser.get(`${gateway.url}/oauth2/userinfo`, { kind: 'script' })).json()['groups']

/** Returns the URL of a callback with a code, and the ID token that the code stands for. */
const callbackOf = async (
  { provider }: Groups,
  { searchParams }: URL,
): Promise<{ callback: string; idToken: string }> => {
  const idToken = await provider.sign(claimsFor(provider.issuer, searchParams))
  const callback = new URL(searchParams.get('redirect_uri') ?? '')
  callback.search = new URLSearchParams({ code: 'c', state: searchParams.get('state') ?? '' }).toString()
  return { callback: callback.href, idToken }
}

const requiring = (group: string): Settings => ({
  routes: [{ path: '/**', require: { claims: { groups: [group] } } }],
  session: { idleTimeout: 'off' },
})

void t.test('graph: the object ids of every page, in place of the overage that the ID token reports', async (t) => {
  const run = await start(t, 'graph', {}, requiring('id-3'))
  run.answer(GRAPH, {
    'value': [{ '@odata.type': '#microsoft.graph.group', 'id': 'id-1' }, { id: 'id-2' }],
    '@odata.nextLink': `${run.provider.origin}/next?$skiptoken=x`,
  })
  run.answer('/next', { value: [{ id: 'id-3' }] })
  const overage = {
    _claim_names: { groups: 'src1' },
    _claim_sources: { src1: { endpoint: 'https://graph.example.com' } },
  }
  const { answer, browser, authorization } = await run.provider.login(run.gateway.url, overage)
  t.equal(answer.status, 302)
  t.same(await groupsOf(run, browser), ['id-1', 'id-2', 'id-3'])
  t.equal((await call(run, browser)).status, 200)
  const [first] = run.calls
  t.equal(first?.headers.authorization, 'Bearer an-access-token')
  t.equal(first?.headers['consistencylevel'], 'eventual')
  t.match(Object.fromEntries(first?.url.searchParams ?? []), { $select: 'id', $count: 'true' })
  t.equal(authorization.searchParams.get('scope'), 'openid profile email User.Read')
})

void t.test('graph: scopes of another API need a second token, which the refresh token gets', async (t) => {
  const run = await start(t, 'graph', { scopes: ['openid', 'offline_access', 'api://orders/read'] })
  run.answer(GRAPH, { value: [{ id: 'id-1' }] })
  const browser = createBrowser()
  const { callback, idToken } = await callbackOf(run, await beginLogin(browser, run.gateway.url, { redirect: '/' }))
  const forms: URLSearchParams[] = []
  run.provider.paths.set('/token', (request, response) => {
    void text(request).then((body) => {
      const form = new URLSearchParams(body)
      forms.push(form)
      const isForGraph = form.has('scope')
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(
        JSON.stringify({
          access_token: isForGraph ? 'for-graph' : 'for-orders',
          token_type: 'Bearer',
          expires_in: 100,
          refresh_token: `r${forms.length}`,
          ...(form.has('code') ? { id_token: idToken } : {}),
        }),
      )
    })
  })
  t.equal((await browser.get(callback)).status, 302)
  t.equal(run.calls.at(-1)?.headers.authorization, 'Bearer for-graph')
  t.match(Object.fromEntries(forms[1] ?? []), { refresh_token: 'r1', scope: 'https://graph.microsoft.com/User.Read' })
  const echoed = await browser.get(`${run.gateway.url}/api/echo`, { kind: 'script' })
  t.match(echoed.json(), { headers: { authorization: 'Bearer for-orders' } })
  moveClock(t, 101_000)
  t.equal((await call(run, browser)).status, 200)
  t.same(
    forms.map((form) => form.get('refresh_token')),
    [null, 'r1', 'r2', 'r3'],
    'the newest refresh token is redeemed',
  )
  run.answer(GRAPH, {}, 503)
  moveClock(t, 101_000)
  t.equal((await call(run, browser)).status, 200)
  run.answer(GRAPH, { value: [{ id: 'id-1' }] })
  moveClock(t, 121_000)
  t.equal((await call(run, browser)).status, 200)
  t.same(
    forms.slice(4).map((form) => form.get('refresh_token')),
    ['r4', 'r5', 'r6', 'r7'],
    'the newest refresh token is redeemed after the groups could not be read',
  )
})

void t.test('graph: a refused list fails the login, and the page and the log say so', async (t) => {
  const run = await start(t, 'graph')
  const error = { code: 'Authorization_RequestDenied', message: 'Insufficient privileges to complete the operation.' }
  run.answer(GRAPH, { error }, 403)
  const { answer } = await run.provider.login(run.gateway.url)
  t.equal(answer.status, 502)
  t.match(answer.body, 'did not say which groups you are in')
  const [line] = run.gateway.events('login_failed')
  t.match(line?.['cause'], `${run.provider.origin}${GRAPH} answers 403 (application/json), not 200 with JSON`)
  t.match(line?.['cause'], 'the token needs User.Read')
  t.match(line?.['cause'], 'Insufficient privileges to complete the operation.')
  run.answer(GRAPH, {}, 503)
  t.equal((await run.provider.login(run.gateway.url)).answer.status, 503)
  run.answer(GRAPH, { unexpected: true })
  t.equal((await run.provider.login(run.gateway.url)).answer.status, 502)
})

void t.test(
  'graph: unreadable groups stay for an hour of refreshes, while the ID token’s claims are renewed',
  async (t) => {
    const run = await start(t, 'graph', {}, requiring('id-1'))
    run.answer(GRAPH, { value: [{ id: 'id-1' }] })
    const { browser } = await run.provider.login(
      run.gateway.url,
      { name: 'Alice', groups: ['of-the-token'] },
      { expires_in: 100, refresh_token: 'r' },
    )
    const { clientId } = run.gateway.config.provider
    run.provider.paths.set('/token', (_, response) => {
      const now = Math.floor(Date.now() / 1000)
      const identity = { iss: run.provider.issuer, sub: 'alice', aud: clientId, iat: now, exp: now + 300 }
      void run.provider.sign({ ...identity, name: 'Alicia', groups: ['of-the-token'] }).then((idToken) => {
        const tokens = { access_token: 'another', token_type: 'Bearer', expires_in: 100, id_token: idToken }
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(tokens))
      })
    })
    run.answer(GRAPH, {}, 500)
    moveClock(t, 101_000)
    t.equal((await call(run, browser)).status, 200)
    const claims = (await browser.get(`${run.gateway.url}/oauth2/userinfo`, { kind: 'script' })).json()
    t.match(claims, { name: 'Alicia', groups: ['id-1'] })
    t.match(run.gateway.events('claims_not_renewed'), [
      { cause: /transitiveMemberOf\/microsoft\.graph\.group answers 500/ },
    ])
    run.answer(GRAPH, { value: [{ id: 'id-1' }, { id: 'id-2' }] })
    moveClock(t, 101_000)
    t.equal((await call(run, browser)).status, 200)
    t.same(await groupsOf(run, browser), ['id-1', 'id-2'])
    run.answer(GRAPH, {}, 500)
    moveClock(t, 101_000)
    t.equal((await call(run, browser)).status, 200)
    moveClock(t, 3_600_000)
    t.equal((await call(run, browser)).json()['code'], 'session_expired')
    t.match(run.gateway.events('session_ended'), [{ reason: 'stale_claims' }])
  },
)

void t.test('google: the addresses of the user’s groups, of every page', async (t) => {
  const run = await start(t, 'google')
  run.provider.paths.set(GOOGLE, (request, response) => {
    const url = new URL(request.url ?? '/', run.provider.origin)
    run.calls.push({ url, headers: request.headers })
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(
      JSON.stringify(
        url.searchParams.has('pageToken')
          ? { memberships: [{ groupKey: { id: 'ops@example.com' } }] }
          : { memberships: [{ groupKey: { id: 'staff@example.com' } }], nextPageToken: 'p2' },
      ),
    )
  })
  const { answer, browser, authorization } = await run.provider.login(run.gateway.url, { email: "o'neil@example.com" })
  t.equal(answer.status, 302)
  t.same(await groupsOf(run, browser), ['staff@example.com', 'ops@example.com'])
  t.equal(
    run.calls[0]?.url.searchParams.get('query'),
    "member_key_id == 'o\\'neil@example.com' && 'cloudidentity.googleapis.com/groups.discussion_forum' in labels",
  )
  t.equal(run.calls[1]?.url.searchParams.get('pageToken'), 'p2')
  t.match(authorization.searchParams.get('scope'), 'https://www.googleapis.com/auth/cloud-identity.groups.readonly')
})

void t.test('google: a user without groups has none, and one without an address cannot log in', async (t) => {
  const run = await start(t, 'google')
  run.answer(GOOGLE, {})
  const { browser } = await run.provider.login(run.gateway.url, { email: 'zoe@example.com' })
  t.same(await groupsOf(run, browser), [])
  t.equal((await run.provider.login(run.gateway.url)).answer.status, 502)
  t.match(run.gateway.events('login_failed'), [{ cause: /request the scope email/ }])
})

void t.test('a silent login that only checks the session at the provider reads no groups', async (t) => {
  const run = await start(t, 'graph')
  run.answer(GRAPH, { value: [{ id: 'id-1' }] })
  const { browser } = await run.provider.login(run.gateway.url, {}, { refresh_token: 'r' })
  t.equal(run.calls.length, 1)
  const started = await browser.get(`${run.gateway.url}/oauth2/silent?keep=1`, { kind: 'frame' })
  const url = new URL(started.headers.location ?? '')
  t.equal(url.searchParams.get('scope'), 'openid')
  const { callback, idToken } = await callbackOf(run, url)
  run.provider.paths.set('/token', { access_token: 'a', token_type: 'Bearer', expires_in: 300, id_token: idToken })
  t.match((await browser.get(callback, { kind: 'frame' })).body, 'outcome:"ok"')
  t.equal(run.calls.length, 1)
})
