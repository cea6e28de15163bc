import t, { type Test } from 'tap'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { beginLogin } from '../support/sign-in.ts'
import { startUserApi, tokens, type Settings, type UserApi } from './user-api.ts'

const USER = {
  id: 583_231,
  login: 'octocat',
  name: 'The Octocat',
  email: null,
  avatar_url: 'https://avatars.example.com/u/583231',
}
const EMAILS = [
  { email: 'old@example.com', primary: false, verified: true },
  { email: 'octocat@example.com', primary: true, verified: true },
]
const team = (organization: string, slug: string): object => ({
  id: 1,
  slug,
  name: slug,
  organization: { login: organization },
})

const requiring = (...groups: string[]): Settings => ({ routes: [{ path: '/**', require: { claims: { groups } } }] })

/** Starts a GitHub Enterprise Server whose user is in the team acme/ops. */
const startGitHub = async (t: Test, config: Settings = {}): Promise<UserApi> => {
  const api = await startUserApi(t, 'github', config)
  api.answer('/api/v3/user', USER)
  api.answer('/api/v3/user/emails', EMAILS)
  api.answer('/api/v3/user/teams', [team('acme', 'ops')])
  return api
}

const claims = async ({ browser, gateway }: UserApi): Promise<Record<string, unknown>> =>
  (await browser.get(`${gateway.url}/oauth2/userinfo`, { kind: 'script' })).json()

const expiring = (members: Settings = {}): Settings => ({ expires_in: 100, refresh_token: 'ghr_1', ...members })

void t.test('a login requests what GitHub knows: PKCE and scopes, no nonce', async (t) => {
  const { browser, gateway, provider } = await startGitHub(t)
  const url = await beginLogin(browser, gateway.url, { redirect: '/' })
  t.equal(url.origin + url.pathname, `${provider.origin}/login/oauth/authorize`)
  t.equal(url.searchParams.get('scope'), 'read:org user:email')
  t.equal(url.searchParams.get('code_challenge_method'), 'S256')
  t.ok(url.searchParams.get('state'))
  t.notOk(url.searchParams.has('nonce'))
})

void t.test('the user and every page of their teams come from the API', async (t) => {
  const api = await startGitHub(t, requiring('acme/ops'))
  const pages = 3
  api.provider.paths.set('/api/v3/user/teams', (request, response) => {
    const url = new URL(request.url ?? '/', api.provider.origin)
    const page = Number(url.searchParams.get('page') ?? 1)
    t.equal(url.searchParams.get('per_page'), '100')
    url.searchParams.set('page', String(page + 1))
    const next = page < pages ? `<${url.href}>; rel="next", ` : ''
    const link = `${next}<${api.provider.origin}/api/v3/user/teams?page=1>; rel="first"`
    response.writeHead(200, { 'content-type': 'application/json', link })
    response.end(JSON.stringify([team('acme', page === pages ? 'ops' : `team-${page}`)]))
  })
  t.match(await api.login(), { status: 302, headers: { location: '/orders' } })
  t.same(await claims(api), {
    sub: '583231',
    preferred_username: 'octocat',
    name: 'The Octocat',
    email: 'octocat@example.com',
    email_verified: true,
    picture: USER.avatar_url,
    groups: ['acme/team-1', 'acme/team-2', 'acme/ops'],
  })
  t.equal((await api.call()).status, 200)
  const [grant] = api.grants
  t.ok(grant?.get('code_verifier'))
  t.equal(grant?.get('client_secret'), api.gateway.config.provider.clientSecret)
  for (const { headers } of api.calls) {
    t.equal(headers.authorization, 'Bearer gho_access')
    t.equal(headers['user-agent'], 'gatehouse')
  }
})

void t.test(
  'an unverified primary address is not an email claim, and the address of the profile is not called verified',
  async (t) => {
    const api = await startGitHub(t)
    api.answer('/api/v3/user/emails', [{ email: 'new@example.com', primary: true, verified: false }])
    await api.login()
    const none = await claims(api)
    t.notOk('email' in none)
    t.notOk('email_verified' in none)
    api.answer('/api/v3/user', { ...USER, email: 'new@example.com' })
    await api.login()
    t.match(await claims(api), { email: 'new@example.com', email_verified: false })
    api.answer('/api/v3/user/emails', { message: 'Not Found' }, 404)
    await api.login()
    const unknown = await claims(api)
    t.equal(unknown['email'], 'new@example.com')
    t.notOk('email_verified' in unknown)
  },
)

void t.test('without a scope for teams a login reads none', async (t) => {
  const api = await startGitHub(t, { provider: { scopes: ['user:email'] } })
  t.equal((await api.login()).status, 302)
  t.notOk('groups' in (await claims(api)))
  t.same(api.calls.map(({ path }) => path).toSorted(), ['/api/v3/user', '/api/v3/user/emails'])
})

void t.test('the callback may name GitHub’s issuer, and no other', async (t) => {
  const api = await startGitHub(t)
  t.equal((await api.login({ iss: `${api.provider.origin}/login/oauth` })).status, 302)
  t.equal((await api.login({ iss: 'https://evil.example.com/login/oauth' })).status, 400)
})

void t.test('a spent code, which GitHub answers with 200, is the browser’s fault', async (t) => {
  const api = await startGitHub(t)
  const error = { error: 'bad_verification_code', error_description: 'The code passed is incorrect or expired.' }
  api.answerTokens(() => error)
  const answer = await api.login()
  t.equal(answer.status, 400)
  t.match(answer.body, 'no longer accepts this sign-in')
  t.match(api.gateway.events('login_failed'), [{ cause: /invalid_grant: The code passed is incorrect or expired/ }])
  api.answerTokens(() => ({ error: 'incorrect_client_credentials' }))
  t.equal((await api.login()).status, 502)
  t.match(api.gateway.events('login_failed').at(-1), { cause: /invalid_client: incorrect_client_credentials/ })
})

void t.test('a form as token response is read', async (t) => {
  const api = await startGitHub(t)
  const body = new URLSearchParams({ access_token: 'gho_form', scope: 'read:org', token_type: 'bearer' }).toString()
  api.answerTokens(() => ({ status: 200, type: 'application/x-www-form-urlencoded; charset=utf-8', body }))
  t.equal((await api.login()).status, 302)
  t.equal(api.calls[0]?.headers.authorization, 'Bearer gho_form')
  const error = new URLSearchParams({ error: 'bad_verification_code' }).toString()
  api.answerTokens(() => ({ status: 200, type: 'application/x-www-form-urlencoded', body: error }))
  t.equal((await api.login()).status, 400)
})

for (const [name, fail, status, cause] of [
  [
    'refused teams',
    (api: UserApi) => {
      api.answer('/api/v3/user/teams', { message: 'Resource not accessible by integration' }, 403)
    },
    502,
    /\/api\/v3\/user\/teams answers 403 \(application\/json\), not 200 with JSON; the token needs read:org .*Resource not accessible/,
  ],
  [
    'a rate limit',
    (api: UserApi) => {
      api.answer('/api/v3/user/teams', { message: 'API rate limit exceeded' }, 403, { 'x-ratelimit-remaining': '0' })
    },
    503,
    /API rate limit exceeded/,
  ],
  [
    'an error of the server',
    (api: UserApi) => {
      api.answer('/api/v3/user/teams', {}, 500)
    },
    503,
    /teams answers 500/,
  ],
  [
    'teams that are not a list',
    (api: UserApi) => {
      api.answer('/api/v3/user/teams', { teams: [] })
    },
    502,
    /with JSON which is not a list/,
  ],
  [
    'a next page on another origin',
    (api: UserApi) => {
      api.answer('/api/v3/user/teams', [], 200, { link: '<https://evil.example.com/teams>; rel="next"' })
    },
    502,
    /next page on another origin: https:\/\/evil\.example\.com/,
  ],
  [
    'teams without an end',
    (api: UserApi) => {
      api.answer('/api/v3/user/teams', [], 200, { link: '</api/v3/user/teams>; rel="next"' })
    },
    502,
    /more than 100 pages/,
  ],
] as const) {
  void t.test(`a login fails with ${name}, and the page says so`, async (t) => {
    const api = await startGitHub(t)
    fail(api)
    const answer = await api.login()
    t.equal(answer.status, status)
    t.match(answer.body, 'did not say which groups you are in')
    t.equal((await api.call()).status, 401)
    const code = status === 502 ? 'login_failed' : 'provider_unavailable'
    const [line] = api.gateway.events(code)
    t.match(line?.['cause'], cause)
    t.notMatch(api.gateway.log.join(''), /gho_access/)
  })
}

void t.test('a slow API fails the login within provider.timeout, however many pages it has', async (t) => {
  const api = await startGitHub(t, { provider: { timeout: '300ms' } })
  api.provider.paths.set('/api/v3/user/teams', (_, response) => {
    setTimeout(() => {
      response
        .writeHead(200, { 'content-type': 'application/json', 'link': '</api/v3/user/teams>; rel="next"' })
        .end('[]')
    }, 100)
  })
  const begun = performance.now()
  t.equal((await api.login()).status, 503)
  t.ok(performance.now() - begun < 2_000)
})

for (const [name, user, status] of [
  ['answers with no user', {}, 502],
  ['answers 401', null, 502],
] as const) {
  void t.test(`a login fails if the API ${name}`, async (t) => {
    const api = await startGitHub(t)
    api.answer('/api/v3/user', user ?? { message: 'Bad credentials' }, user === null ? 401 : 200)
    const answer = await api.login()
    t.equal(answer.status, status)
    t.match(answer.body, 'did not say who you are')
  })
}

void t.test('a team that the user has left is gone after the refresh', async (t) => {
  const api = await startGitHub(t, requiring('acme/ops'))
  api.answerTokens((form) =>
    tokens(
      expiring({ refresh_token: `ghr_${api.grants.length}`, access_token: `gho_${form.get('grant_type') ?? ''}` }),
    ),
  )
  await api.login()
  t.equal((await api.call()).status, 200)
  api.answer('/api/v3/user/teams', [team('acme', 'sales')])
  moveClock(t, 101_000)
  t.equal((await api.call()).status, 403)
  t.equal(api.grants.at(-1)?.get('refresh_token'), 'ghr_1')
  t.same((await claims(api))['groups'], ['acme/sales'])
  t.equal(api.calls.at(-1)?.headers.authorization, 'Bearer gho_refresh_token')
})

void t.test('a refresh that names another user ends the session', async (t) => {
  const api = await startGitHub(t)
  api.answerTokens(() => tokens(expiring()))
  await api.login()
  api.answer('/api/v3/user', { ...USER, id: 2 })
  moveClock(t, 101_000)
  t.equal((await api.call()).json()['code'], 'session_expired')
  t.match(api.gateway.events('session_ended'), [{ reason: 'refused' }])
})

void t.test('a spent refresh token ends the session', async (t) => {
  const api = await startGitHub(t)
  api.answerTokens(() => tokens(expiring()))
  await api.login()
  api.answerTokens(() => ({
    error: 'bad_refresh_token',
    error_description: 'The refresh token passed is incorrect or expired.',
  }))
  moveClock(t, 51_000)
  await api.call()
  await eventually(() => api.gateway.events('session_ended').length === 1)
  t.equal((await api.call()).json()['code'], 'session_expired')
})

void t.test('teams that cannot be read at a refresh stay for an hour, then the session ends', async (t) => {
  const api = await startGitHub(t, { ...requiring('acme/ops'), session: { idleTimeout: 'off' } })
  api.answerTokens(() => tokens(expiring()))
  await api.login()
  api.answer('/api/v3/user/teams', { message: 'oops' }, 500)
  moveClock(t, 101_000)
  t.equal((await api.call()).status, 200, 'the request waits for the refresh, and the groups of before count')
  t.match(api.gateway.events('claims_not_renewed'), [{ cause: /\/api\/v3\/user\/teams answers 500/ }])
  moveClock(t, 3_000_000)
  t.equal((await api.call()).status, 200)
  moveClock(t, 600_000)
  t.equal((await api.call()).json()['code'], 'session_expired')
  t.match(api.gateway.events('session_ended'), [{ reason: 'stale_claims' }])
})

void t.test('a refresh that reads the teams again gives the session its whole lifetime back', async (t) => {
  const api = await startGitHub(t, { session: { idleTimeout: 'off' } })
  api.answerTokens(() => tokens(expiring()))
  const endsIn = async (): Promise<number> => {
    const answer = await api.browser.get(`${api.gateway.url}/oauth2/session`, { kind: 'script' })
    const session: { ends_in_seconds?: number } = answer.json()['session'] ?? {}
    return session.ends_in_seconds ?? 0
  }
  await api.login()
  api.answer('/api/v3/user/teams', {}, 500)
  moveClock(t, 101_000)
  await api.call()
  t.ok((await endsIn()) <= 3_600)
  api.answer('/api/v3/user/teams', [team('acme', 'ops')])
  moveClock(t, 101_000)
  await api.call()
  t.ok((await endsIn()) > 35_000)
})

void t.test('an OAuth app’s token never expires, and its session is never refreshed', async (t) => {
  const api = await startGitHub(t)
  await api.login()
  moveClock(t, 1_000_000)
  t.equal((await api.call()).status, 200)
  t.equal(api.grants.length, 1)
})

void t.test('logout ends the session here, without a redirect to GitHub', async (t) => {
  const api = await startGitHub(t)
  await api.login()
  const answer = await api.browser.get(`${api.gateway.url}/oauth2/logout`, {
    kind: 'navigate',
    from: `${api.gateway.url}/`,
  })
  t.equal(answer.status, 200)
  t.match(answer.body, 'You are signed out')
  t.equal((await api.call()).status, 401)
})

void t.test('silent needs OpenID Connect, so its outcome is login_required', async (t) => {
  const api = await startGitHub(t)
  const answer = await api.browser.get(`${api.gateway.url}/oauth2/silent`, { kind: 'frame' })
  t.match(answer.body, 'outcome:"login_required"')
})

void t.test('what needs an ID token is refused: a step-up as undelivered, a logout token as wrong', async (t) => {
  const api = await startGitHub(t)
  const { searchParams } = await beginLogin(api.browser, api.gateway.url, { redirect: '/', max_age: '60' })
  const callback = new URL(searchParams.get('redirect_uri') ?? '')
  callback.search = new URLSearchParams({ code: 'c', state: searchParams.get('state') ?? '' }).toString()
  t.equal((await api.browser.get(callback.href)).status, 400)
  const body = new URLSearchParams({ logout_token: 'eyJhbGciOiJSUzI1NiJ9.e30.c2ln' })
  t.equal((await api.browser.post(`${api.gateway.url}/oauth2/logout/backchannel`, body, { kind: 'none' })).status, 400)
  t.equal(api.provider.asked('/keys'), 0)
})
