import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startApplication } from '../../support/application.ts'
import { moveClock } from '../../support/clock.ts'
import { eventually } from '../../support/eventually.ts'
import { bearerClaims } from '../../support/jwt.ts'
import { startReplicas } from '../../support/gateway-process.ts'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { open } from '../../support/raw-http.ts'
import { startRedis } from '../../support/redis.ts'

const script = { kind: 'script' } as const

/** A URL of the sample application that answers with this status and challenge. */
const challenging = (status: number, challenge: string, more: Record<string, string> = {}): string =>
  `/api/status/${status}?${new URLSearchParams({ header: `WWW-Authenticate: ${challenge}`, ...more }).toString()}`

const EXPIRED = 'Bearer realm="api", error="invalid_token", error_description="The token \\"x\\", it expired"'

const tokensSent = ({ upstream }: LoggedIn, path: string): unknown[] =>
  upstream.requests.filter(({ url }) => url === path).map(({ headers }) => headers.authorization)

void t.test('invalid_token refreshes the tokens and repeats the request with the new one', async (t) => {
  const running = await loggedIn(t)
  const path = challenging(401, EXPIRED, { times: '1' })
  const answer = await running.browser.get(running.url + path, script)
  t.equal(answer.status, 200)
  t.notOk(answer.headers['www-authenticate'])
  const [first, second, ...more] = tokensSent(running, path)
  t.not(first, second)
  t.same(more, [])
  t.equal(running.idp.grants['refresh_token'], 1)
})

void t.test(
  'if the application also rejects the new token, the client gets its response, and the request is not repeated again',
  async (t) => {
    const running = await loggedIn(t)
    const path = challenging(401, EXPIRED)
    const answer = await running.browser.get(running.url + path, script)
    t.equal(answer.status, 401)
    t.equal(answer.headers['www-authenticate'], EXPIRED, 'its own answer')
    t.notOk(answer.headers.gatehouse)
    t.equal(tokensSent(running, path).length, 2)
    for (let i = 0; i < 5; i += 1) t.equal((await running.browser.get(running.url + path, script)).status, 401)
    t.equal(tokensSent(running, path).length, 7, 'the cooldown holds back further renewals')
    t.equal(running.idp.grants['refresh_token'], 1)
  },
)

void t.test('many requests with invalid_token at once share one refresh', async (t) => {
  let gone: string | undefined
  const application = await startApplication(t, ({ headers }, res) => {
    gone ??= headers.authorization
    res.writeHead(headers.authorization === gone ? 401 : 200, { 'www-authenticate': EXPIRED }).end()
  })
  const running = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/api/**', upstream: application.url }] },
  })
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => running.browser.get(`${running.url}/api/${i}`, script)),
  )
  t.same([...new Set(answers.map(({ status }) => status))], [200])
  t.equal(running.idp.grants['refresh_token'], 1)
})

void t.test('a DELETE without a body is repeated, and a POST or a request with a body is not', async (t) => {
  const running = await loggedIn(t)
  const path = challenging(401, EXPIRED, { times: '1' })
  t.equal((await running.browser.request('DELETE', running.url + path, script)).status, 200)
  for (const [method, body] of [
    ['POST', ''],
    ['POST', 'x'],
    ['PUT', 'x'],
    ['DELETE', 'x'],
  ] as const) {
    moveClock(t, 61_000)
    const once = challenging(401, EXPIRED, { times: '1', method, body })
    t.equal((await running.browser.request(method, running.url + once, { ...script, body })).status, 401, method)
    t.equal(tokensSent(running, once).length, 1)
  }
})

void t.test('after a POST with invalid_token the next request has a new token', async (t) => {
  const running = await loggedIn(t)
  const path = challenging(401, EXPIRED)
  await running.browser.post(running.url + path, 'x', script)
  await eventually(() => running.idp.grants['refresh_token'] === 1)
  await eventually(async () => {
    await running.call()
    return running.upstream.requests.at(-1)?.headers.authorization !== tokensSent(running, path)[0]
  })
})

void t.test(
  'an exchanged token that its application refuses is exchanged again, and no other token is sent',
  async (t) => {
    const running = await loggedIn(t, {
      config: {
        routes: [
          { path: '/**' },
          { path: '/api/status/**', token: { grant: 'token-exchange', audience: 'api://orders' } },
        ],
      },
    })
    const path = challenging(401, EXPIRED, { times: '1' })
    await running.browser.get(`${running.url}/api/status/200`, script)
    moveClock(t, 11_000)
    t.equal((await running.browser.get(running.url + path, script)).status, 200)
    const sent = running.upstream.requests.filter(({ url }) => url === path)
    t.equal(sent.length, 2)
    for (const request of sent) t.match(bearerClaims(request), { aud: 'api://orders', sub: 'alice' })
    t.not(sent[0]?.headers.authorization, sent[1]?.headers.authorization)
    t.equal(running.idp.grants['refresh_token'], 0, 'the session’s own is still good')
  },
)

void t.test('a revoked refresh token ends the session', async (t) => {
  const running = await loggedIn(t)
  running.idp.forgetRefreshTokens()
  const answer = await running.browser.get(running.url + challenging(401, EXPIRED), script)
  t.match(answer.json(), { status: 401, code: 'session_expired' })
  t.match(answer.headers['set-cookie'], [/^gatehouse=;/])
})

void t.test('if the provider is down, the client gets the application’s own response', async (t) => {
  const running = await loggedIn(t)
  running.idp.fail('token', { status: 503 })
  const answer = await running.browser.get(running.url + challenging(401, EXPIRED), script)
  t.equal(answer.headers['www-authenticate'], EXPIRED)
  t.equal((await running.call()).status, 200, 'and the session goes on')
})

const loginOf = (answer: { json: () => Record<string, unknown> }): Record<string, string> => {
  t.match(answer.json(), { status: 401, code: 'step_up_required' })
  return Object.fromEntries(new URL(String(answer.json()['login_url'])).searchParams)
}

void t.test('insufficient_scope becomes a login with that scope, and then the page opens', async (t) => {
  const running = await loggedIn(t)
  const path = challenging(403, 'Bearer error="insufficient_scope", scope="orders.write"', { times: '2' })
  t.same(loginOf(await running.browser.get(running.url + path, { ...script, from: `${running.url}/app` })), {
    redirect: '/app',
    scope: 'orders.write',
  })
  const { answer } = await running.browser.login(running.url + path, 'alice')
  t.equal(answer.status, 200)
  t.match(running.idp.lastAuthorizationRequest, { scope: 'openid profile email offline_access orders.write' })
})

void t.test(
  'insufficient_user_authentication (RFC 9470) becomes a login with acr and max_age, and the result is verified',
  async (t) => {
    const running = await loggedIn(t)
    const challenge =
      'Bearer error="insufficient_user_authentication", error_description="stronger, please", ' +
      'acr_values="urn:demo:mfa", max_age=300'
    const path = challenging(401, challenge, { times: '2' })
    t.same(loginOf(await running.browser.get(running.url + path, script)), {
      redirect: path,
      acr_values: 'urn:demo:mfa',
      max_age: '300',
    })
    const { answer } = await running.browser.login(running.url + path, 'alice')
    t.equal(answer.status, 200)
    t.match((await running.browser.get(`${running.url}/oauth2/userinfo`, script)).json(), { acr: 'urn:demo:mfa' })
  },
)

void t.test('Entra’s insufficient_claims becomes a login with those claims', async (t) => {
  const running = await loggedIn(t)
  const claims = '{"id_token":{"acrs":{"essential":true,"value":"c1"}}}'
  const challenge =
    'Bearer realm="", ' +
    'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", ' +
    `error="insufficient_claims", claims="${Buffer.from(claims).toString('base64')}"`
  const path = challenging(401, challenge, { times: '2' })
  t.same(loginOf(await running.browser.get(running.url + path, script)), { redirect: path, claims })
  const { answer } = await running.browser.login(running.url + path, 'alice')
  t.equal(answer.status, 200)
  t.match(running.idp.lastAuthorizationRequest, { claims })
})

void t.test('an application that repeats its challenge after the login ends in a page instead of a loop', async (t) => {
  const running = await loggedIn(t)
  for (const challenge of [
    'Bearer error="insufficient_scope", scope="orders.write"',
    'Bearer error="insufficient_user_authentication", max_age="600"',
    'Bearer error="insufficient_user_authentication", acr_values="urn:demo:mfa"',
  ]) {
    const { answer, hops } = await running.browser.login(running.url + challenging(403, challenge), 'alice')
    t.equal(answer.status, 403, challenge)
    t.match(answer.body, 'The application asks for a sign-in that the sign-in service did not provide.')
    t.match(answer.body, /Alice Archer.*>Use another account<.*>Sign out</s)
    t.ok(hops.filter(({ url }) => url.includes('/oauth2/callback')).length <= 1, 'one login')
  }
  t.match(
    (
      await running.browser.get(
        running.url + challenging(403, 'Bearer error="insufficient_user_authentication", acr_values="urn:demo:mfa"'),
        script,
      )
    ).json(),
    { status: 403, code: 'forbidden' },
  )
})

void t.test('a page that needs a second factor and a scope gets both, in two logins', async (t) => {
  const running = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/api/status/**', require: { acr: 'urn:demo:mfa' } }] },
  })
  const path = challenging(403, 'Bearer error="insufficient_scope", scope="orders.write"', { times: '1' })
  const { answer, hops } = await running.browser.login(running.url + path, 'alice')
  t.equal(answer.status, 200)
  t.equal(hops.filter(({ url }) => url.includes('/oauth2/callback')).length, 2)
  t.match(
    running.idp.lastAuthorizationRequest,
    { acr_values: 'urn:demo:mfa', scope: /orders\.write/ },
    'the second does not lose what the first was for',
  )
})

void t.test('a challenge that a login would not change passes unchanged', async (t) => {
  const running = await loggedIn(t)
  for (const [status, challenge] of [
    [401, 'Basic realm="old"'],
    [401, 'Bearer realm="api"'],
    [403, 'Bearer error="insufficient_scope"'],
    [400, EXPIRED],
    [403, EXPIRED],
    [200, EXPIRED],
    [401, 'Bearer'],
    [401, 'Digest error="invalid_token"'],
    [401, 'Bearer error="insufficient_claims", claims="bm90IGpzb24="'],
    [401, 'Bearer error="invalid_request"'],
  ] as const) {
    const path = challenging(status, challenge)
    const answer = await running.browser.get(running.url + path, script)
    t.same(
      [answer.status, answer.headers['www-authenticate'], answer.headers.gatehouse],
      [status, challenge, undefined],
    )
    t.equal(tokensSent(running, path).length, 1)
  }
  t.equal(running.idp.grants['refresh_token'], 0)
})

void t.test('the Bearer challenge is found among others', async (t) => {
  const running = await loggedIn(t)
  const header = 'WWW-Authenticate: Basic realm="a, b", bearer error=insufficient_scope, scope="orders.write"'
  const path = `${challenging(401, 'Negotiate')}&${new URLSearchParams({ header }).toString()}`
  t.match(loginOf(await running.browser.get(running.url + path, script)), { scope: 'orders.write' })
})

void t.test('without a session an application’s challenge passes unchanged', async (t) => {
  const { url, browser } = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/api/status/**', access: 'public' }] },
  })
  const answer = await browser.get(
    url + challenging(403, 'Bearer error="insufficient_scope", scope="orders.write"'),
    script,
  )
  t.same([answer.status, answer.headers.gatehouse], [403, undefined])
})

void t.test('a challenge during a large upload reaches the client', async (t) => {
  const application = await startApplication(t, (req, res) => {
    res
      .writeHead(401, {
        'www-authenticate': 'Bearer error="insufficient_scope", scope="orders.write"',
        'content-length': '0',
      })
      .end()
    setTimeout(() => {
      req.resume()
    }, 200)
  })
  const { url, browser } = await loggedIn(t, {
    config: { routes: [{ path: '/**' }, { path: '/upload', upstream: application.url }] },
  })
  const socket = open(url)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
  })
  const cookie = browser.cookies.header(new URL(url))
  socket.write(
    `POST /upload HTTP/1.1\r\nHost: ${new URL(url).host}\r\nCookie: ${cookie}\r\nContent-Length: 20000000\r\n\r\n`,
  )
  socket.write(Buffer.alloc(5_000_000))
  await eventually(() => Buffer.concat(chunks).includes('step_up_required'))
  const text = Buffer.concat(chunks).toString()
  t.match(text, /^HTTP\/1\.1 401 /)
  t.match(text.toLowerCase(), 'connection: close')
  socket.destroy()
})

void t.test(
  'a store that fails while a rejected token is refreshed yields a 503, and the gateway survives',
  async (t) => {
    const redis = await startRedis(t)
    const application = await startApplication(t, (request, res) => {
      request.resume()
      if (request.url === '/first') {
        res.writeHead(200).end()
        return
      }
      // Longer than the grace period.
      void redis
        .kill()
        .then(async () => sleep(1_500))
        .then(() => res.writeHead(401, { 'www-authenticate': EXPIRED }).end())
    })
    const { gateways, login } = await startReplicas(t, {
      store: redis.url,
      routes: [
        { path: '/**' },
        { path: '/*', upstream: application.url, token: { grant: 'token-exchange', audience: 'api://orders' } },
      ],
      session: { outageGrace: '1s' },
      idp: { resources: ['api://orders'] },
    })
    const [gateway] = gateways
    const browser = await login()
    t.equal((await browser.get(`${gateway.url}/first`, script)).status, 200)
    // Younger tokens are not replaced.
    await sleep(10_500)
    const [posted, repeated] = await Promise.all([
      browser.request('POST', `${gateway.url}/second`, { ...script, body: 'x' }),
      browser.get(`${gateway.url}/third`, script),
    ])
    t.equal(posted.status, 401, 'a POST gets the response of the application')
    t.match(repeated, { status: 503, headers: { gatehouse: 'store_unavailable' } })
    t.equal((await fetch(`${gateway.admin}/livez`)).status, 200, 'the gateway is alive')
  },
)
