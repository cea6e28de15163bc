import { randomUUID } from 'node:crypto'
import t from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { startApplication } from '../support/application.ts'
import { createBrowser } from '../support/browser.ts'
import { moveClock } from '../support/clock.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import { loggedIn, type LoggedIn } from '../support/logged-in.ts'
import { ask, open } from '../support/raw-http.ts'
import { openWebSocket } from '../support/websocket.ts'

const script = { kind: 'script' } as const
const odd = { 'team': ['blue\n{"event":"login"}', 'red\u001b[2J'], 'resource.roles': { 'my.app': 'reader' } }
const users = [
  { sub: 'alice', name: 'Alice', email: 'alice@example.com', groups: ['staff'], claims: { team: 'blue' } },
  { sub: 'bob', name: 'Bob', email: 'bob@example.com', groups: [], claims: odd },
]
const idp = await startIdp({ users, lifetimes: { accessToken: 100 } })
const upstream = await startUpstream()
t.teardown(async () => Promise.all([idp.close(), upstream.close()]))
const shared = { idp, upstream }

const routes = [
  { path: '/**' },
  { path: '/admin/**', require: { claims: { groups: ['admin'] } } },
  { path: '/public/**', access: 'public' },
  { path: '/robot/**', bearer: { audience: 'api://orders' } },
  { path: '/robot/admin', bearer: { audience: 'api://orders', require: { claims: { groups: ['admin'] } } } },
  { path: '/robot/scope', bearer: { audience: 'api://orders', scopes: ['orders.write'] } },
]

const sessionIn = ({ events }: Pick<Running, 'events'>): unknown => events('login').at(-1)?.['session']

const lastLine = ({ events }: Running): Record<string, unknown> => events('request').at(-1) ?? {}

const cookieOf = ({ browser, url }: LoggedIn): string => `Cookie: ${browser.cookies.header(new URL(url))}`

void t.test('each access line of a session has the session’s id, the user and the host', async (t) => {
  const port = await freePort()
  const running = await loggedIn(t, {
    ...shared,
    config: { routes, admin: { listen: `127.0.0.1:${port}`, sessions: 'loopback' } },
  })
  const { url, browser, events } = running
  const session = sessionIn(running)
  const { host } = new URL(url)
  const known = { session, user: 'alice', host }
  t.match(lastLine(running), { path: '/', status: 200, ...known })
  const requests = [
    ['GET', '/api/orders', 200],
    ['GET', '/admin/x', 403],
    ['GET', '/oauth2/session', 200],
    ['GET', '/oauth2/userinfo', 200],
    ['POST', '/oauth2/session/refresh', 200],
  ] as const
  for (const [method, path, status] of requests) {
    await browser.request(method, url + path, script)
    t.match(lastLine(running), { method, path, status, ...known }, path)
  }
  await browser.get(`${url}/public/x`, script)
  t.match(lastLine(running), { path: '/public/x', session, host })
  t.notOk('user' in lastLine(running), 'a public route does not look at the session')
  await createBrowser().get(`${url}/orders`, script)
  t.match(lastLine(running), { status: 401, host })
  t.notOk('session' in lastLine(running) || 'user' in lastLine(running), 'without a login')

  const listed = await (await fetch(`http://127.0.0.1:${port}/sessions?sub=alice`)).json()
  t.match(listed, { sessions: [{ id: session }] }, 'session administration has the same id')
  t.equal((await fetch(`http://127.0.0.1:${port}/sessions/${String(session)}`, { method: 'DELETE' })).status, 204)
  t.match(events('session_ended'), [{ reason: 'admin', session, user: 'alice' }])
  t.match(events('session_administration'), [
    { action: 'list', by: 'loopback', client: '127.0.0.1', sub: 'alice', sessions: [session] },
    { action: 'end', by: 'loopback', client: '127.0.0.1', sessions: [session], ended: 1 },
  ])
  t.equal((await browser.get(`${url}/orders`, script)).headers.gatehouse, 'session_expired')
  t.match(lastLine(running), { status: 401, session }, 'the cookie of an ended session')
})

void t.test('every security event of a session has its id, the user and the client', async (t) => {
  const running = await loggedIn(t, { ...shared, config: { routes } })
  const { url, browser, events, call } = running
  const session = sessionIn(running)
  const by = { session, user: 'alice', client: '127.0.0.1' }
  t.match(events('login'), [{ ...by, sub: 'alice', id: /./ }])
  await browser.get(`${url}/admin/x`, script)
  t.match(events('forbidden'), [{ ...by, route: '/admin/**', why: /groups/, id: lastLine(running)['id'] }])
  await browser.post(`${url}/orders`, 'x', {
    from: 'https://evil.example/',
    kind: 'none',
    headers: fromElsewhere(running),
  })
  t.match(events('cross_origin'), [by])
  moveClock(t, 60_000)
  await browser.post(`${url}/oauth2/session/refresh`, '', script)
  t.match(events('refresh'), [{ session, user: 'alice', why: 'asked' }])
  moveClock(t, 180_000)
  idp.fail('token', { status: 500 })
  t.equal((await call()).status, 503)
  t.match(events('refresh_failed'), [{ session, user: 'alice', ended: false }])
  t.match(events('token_unavailable'), [by])
  idp.fail('token', null)
  await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  t.match(events('logout'), [{ ...by, sub: 'alice', channel: 'browser' }])
  t.match(events('session_ended'), [{ reason: 'logout', session, user: 'alice' }])
})

const fromElsewhere = ({ url, browser }: LoggedIn): Record<string, string> => ({
  'cookie': browser.cookies.header(new URL(url)),
  'sec-fetch-site': 'cross-site',
  'origin': 'https://evil.example',
})

void t.test('the provider’s logouts name the user and the sessions that they have ended', async (t) => {
  const running = await loggedIn(t, { ...shared, config: { routes } })
  const { url, browser, events } = running
  const session = sessionIn(running)
  const { aud, sid } = (await browser.get(`${url}/oauth2/userinfo`, script)).json()
  const now = Math.floor(Date.now() / 1000)
  const token = await idp.sign(
    {
      iss: idp.issuer,
      aud: String(aud),
      iat: now,
      exp: now + 60,
      jti: randomUUID(),
      sub: 'alice',
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    },
    { typ: 'logout+jwt' },
  )
  for (const _ of [1, 2])
    await createBrowser().post(`${url}/oauth2/logout/backchannel`, new URLSearchParams({ logout_token: token }))
  const client = '127.0.0.1'
  t.match(events('logout'), [{ channel: 'back', ended: 1, sessions: [session], user: 'alice', sub: 'alice', client }])
  t.match(events('session_ended'), [{ reason: 'backchannel', session, user: 'alice' }])
  t.match(events('replay'), [{ what: 'logout token', client }])
  t.match(events('logout_refused'), [{ client }])
  await browser.login(`${url}/oauth2/login`, 'alice')
  const second = sessionIn(running)
  const at = `iss=${encodeURIComponent(idp.issuer)}&sid=${String((await browser.get(`${url}/oauth2/userinfo`, script)).json()['sid'])}`
  t.ok(typeof sid === 'string')
  await createBrowser().get(`${url}/oauth2/logout/frontchannel?${at}`, { kind: 'frame' })
  t.match(events('logout').at(-1), { channel: 'front', ended: 1, sessions: [second], client })
})

void t.test('sessions that the store evicts, or that maxPerUser ends, are named', async (t) => {
  const limited = await loggedIn(t, { ...shared, config: { session: { maxPerUser: 1 } } })
  const first = sessionIn(limited)
  await createBrowser().login(`${limited.url}/`, 'alice')
  t.match(limited.events('session_ended'), [{ reason: 'max_per_user', session: first, user: 'alice' }])
  const full = await loggedIn(t, { ...shared, config: { session: { store: 'memory:?max=1' } } })
  const evicted = sessionIn(full)
  await createBrowser().login(`${full.url}/`, 'bob')
  t.match(full.events('session_lost'), [{ session: evicted, user: 'alice' }])
})

void t.test('log.user: none leaves the user out of every line, but not the session', async (t) => {
  const running = await loggedIn(t, {
    ...shared,
    config: { routes, log: { user: 'none' }, admin: { listen: '127.0.0.1:0', sessions: 'loopback' } },
  })
  const { url, browser, gateway, log, events } = running
  const session = sessionIn(running)
  await browser.get(`${url}/admin/x`, script)
  t.match(lastLine(running), { session })
  await gateway.admin?.inject('/sessions?sub=alice')
  await browser.get(`${url}/oauth2/logout`, { from: `${url}/` })
  for (const name of ['login', 'forbidden', 'logout', 'session_ended']) t.match(events(name), [{ session }], name)
  t.match(events('session_administration'), [{ action: 'list', sessions: [session] }])
  t.notMatch(log.join(''), /alice/)
})

void t.test('log.user names a claim as rules do; a missing claim leaves the user out', async (t) => {
  const named = async (user: string, sub = 'alice'): Promise<unknown> => {
    const running = await startGateway(t, { ...shared, config: { log: { user } } })
    await createBrowser().login(`${running.url}/`, sub)
    t.equal(running.events('login').at(-1)?.['user'], lastLine(running)['user'], 'in events as in access lines')
    return lastLine(running)['user']
  }
  t.equal(await named('email'), 'alice@example.com')
  t.equal(await named('groups'), 'staff', 'a list')
  t.equal(await named('nickname'), undefined)
  t.equal(await named('"resource.roles"."my.app"', 'bob'), 'reader')
  const team = String(await named('team', 'bob'))
  t.equal(team, 'blue\ufffd{"event":"login"},red\ufffd[2J', 'without control characters')
})

void t.test('a reload changes how the log names users', async (t) => {
  const running = await loggedIn(t, shared)
  const { gateway, config, call } = running
  await call()
  t.equal(lastLine(running)['user'], 'alice')
  await gateway.reload({ ...config, log: { ...config.log, user: 'email', fields: ['bytes'], exclude: [] } })
  const answer = await call()
  t.match(lastLine(running), { user: 'alice@example.com', bytes: answer.bytes.length })
})

void t.test('a client with a token is named by sub and client_id, even if it sends a session cookie too', async (t) => {
  const running = await loggedIn(t, { ...shared, config: { routes } })
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: idp.issuer,
    aud: 'api://orders',
    sub: 'robot-7',
    client_id: 'robots',
    iat: now,
    exp: now + 60,
    jti: randomUUID(),
  }
  const token = await idp.sign(claims, { typ: 'at+jwt' })
  const answer = await ask(running.url, 'GET', '/robot/x', [`Authorization: Bearer ${token}`, cookieOf(running)])
  t.equal(answer.status, 404, 'of the application')
  t.match(lastLine(running), { path: '/robot/x', user: 'robot-7', client_id: 'robots', verdict: 'forward' })
  t.notOk('session' in lastLine(running), 'the token counts')
  for (const [path, event] of [
    ['/robot/admin', 'forbidden'],
    ['/robot/scope', 'forbidden'],
  ] as const) {
    t.equal((await ask(running.url, 'GET', path, [`Authorization: Bearer ${token}`, cookieOf(running)])).status, 403)
    const robot = { user: 'robot-7', client_id: 'robots', session: undefined }
    t.match(running.events(event).at(-1), { route: path, client: '127.0.0.1', why: /./, ...robot })
    t.match(lastLine(running), { path, status: 403, ...robot })
  }
  await ask(running.url, 'GET', '/robot/x', [`Authorization: Bearer ${token}x`])
  t.match(running.events('invalid_token'), [{ client: '127.0.0.1', route: '/robot/**' }])
})

void t.test('log.fields adds the bytes of the body, the user agent, and the Referer without its query', async (t) => {
  const application = await startApplication(t, ({ method, url = '' }, res) => {
    if (url === '/page') res.end('x'.repeat(1000))
    else if (url === '/chunked') {
      res.write('x'.repeat(70_000))
      res.end('x'.repeat(5))
    } else if (url === '/nothing') res.writeHead(304).end()
    else res.writeHead(200, { 'content-length': '7' }).end(method === 'HEAD' ? undefined : 'content')
  })
  const running = await startGateway(t, {
    ...shared,
    config: {
      upstream: application.url,
      routes: [{ path: '/**', access: 'public' }, { path: '/private' }],
      log: { fields: ['bytes', 'user_agent', 'referer'] },
    },
  })
  const { url } = running
  const bytesFor = async (method: string, path: string): Promise<unknown> => {
    await ask(url, method, path)
    return lastLine(running)['bytes']
  }
  t.equal(await bytesFor('GET', '/page'), 1000)
  t.equal(await bytesFor('GET', '/chunked'), 70_005)
  t.equal(await bytesFor('GET', '/nothing'), 0)
  t.equal(await bytesFor('HEAD', '/other'), 0)
  const own = await ask(url, 'GET', '/private')
  t.equal(lastLine(running)['bytes'], own.body.length, 'the gateway’s own problem')
  t.notOk('user_agent' in lastLine(running) || 'referer' in lastLine(running), 'the client sent neither')

  const lineFor = async (...headers: string[]): Promise<Record<string, unknown>> => {
    await ask(url, 'GET', '/page', headers)
    return lastLine(running)
  }
  const agent = 'Mozilla/5.0 (X11; Linux) "quoted" \\ \u00e9'
  t.match(await lineFor(`User-Agent: ${agent}`), { user_agent: agent.replace('\u00e9', '%E9') })
  t.equal(String((await lineFor(`User-Agent: ${'a'.repeat(9000)}`))['user_agent']).length, 500)
  const referers = {
    'https://a.example/page?token=secret#secret': 'https://a.example/page',
    'https://user:secret@a.example/': 'https://a.example/',
    'http://a.example': 'http://a.example/',
    'http://u:p@secret@a.example/x': 'http://a.example/x',
    [`https://a.example/${'a'.repeat(600)}`]: `https://a.example/${'a'.repeat(482)}`,
    'https://a.example/?x=/@secret': 'https://a.example/',
    'https://a.example#secret': 'https://a.example/',
  }
  for (const [sent, logged] of Object.entries(referers))
    t.equal((await lineFor(`Referer: ${sent}`))['referer'], logged, sent)
  const notLogged = [
    'secret',
    'data:text/html,secret',
    '/path?secret',
    'javascript:secret',
    'http://u:secret/x@a.example/',
    `https://a.example/${'secret'.repeat(1_000)}`,
  ]
  for (const sent of notLogged) t.notOk('referer' in (await lineFor(`Referer: ${sent}`)), sent)
  t.notMatch(running.log.join(''), /secret/)
})

void t.test(
  'log.exclude leaves out the access lines of paths, but neither their counts nor their events',
  async (t) => {
    const running = await loggedIn(t, {
      ...shared,
      config: { routes, log: { exclude: ['/healthz', '/public/**', '/admin/*/log'] } },
    })
    const { url, browser, events, gateway } = running
    const before = events('request').length
    const get = async (path: string): Promise<number> => (await browser.get(url + path, script)).status
    for (const path of ['/healthz', '/healthz?deep=1', '/public', '/public/a/b']) await get(path)
    t.equal(await get('/admin/7/log'), 403)
    t.equal(events('request').length, before)
    t.match(events('forbidden'), [{ user: 'alice' }])
    for (const path of ['/healthz/', '/healthz/x', '/admin/7/logs', '/HEALTHZ']) await get(path)
    t.same(
      events('request')
        .slice(before)
        .map(({ path }) => path),
      ['/healthz/', '/healthz/x', '/admin/7/logs', '/HEALTHZ'],
    )
    t.match(
      await gateway.metrics.registry.metrics(),
      /gatehouse_requests_total\{route="\/admin\/\*\*".*"forbidden".*\} 2/,
    )
  },
)

void t.test('an access line of forward-auth names the original request and its user', async (t) => {
  const running = await loggedIn(t, {
    ...shared,
    config: { routes, forwardAuth: { listen: '127.0.0.1:0' }, log: { exclude: ['/healthz'] } },
  })
  const { host } = new URL(running.url)
  const about = async (method: string, target: string): Promise<Record<string, unknown>> => {
    const headers = [`X-Original-Method: ${method}`, `X-Original-URI: ${target}`, cookieOf(running)]
    await ask(running.verdicts, 'GET', '/auth', headers)
    return lastLine(running)
  }
  const session = sessionIn(running)
  const who = { session, user: 'alice', host }
  t.match(await about('POST', '/salaries?year=2026'), {
    path: '/auth',
    original_method: 'POST',
    original_path: '/salaries',
    status: 200,
    ...who,
  })
  t.match(await about('GET', '/admin/x'), { original_path: '/admin/x', status: 403, ...who })
  t.match(running.events('forbidden'), [{ session, user: 'alice' }])
  const lines = running.events('request').length
  await about('GET', '/healthz')
  t.equal(running.events('request').length, lines, 'log.exclude concerns the original path')
})

void t.test('the lines of WebSockets and streams name session and user at their end', async (t) => {
  const running = await loggedIn(t, { ...shared, config: { routes, log: { fields: ['bytes'] } } })
  const { url, events } = running
  const session = sessionIn(running)
  const socket = await openWebSocket(`${url}/ws`, { headers: [cookieOf(running), `Origin: ${url}`] })
  t.equal(socket.status, 101)
  socket.send('hello')
  await socket.next()
  socket.socket.destroy()
  await eventually(() => events('request').some(({ status }) => status === 101))
  const bytes = Number(events('request').find(({ status }) => status === 101)?.['bytes'])
  t.ok(bytes >= 'hello'.length, `${bytes} bytes`)
  t.match(events('request').at(-1), { path: '/ws', session, user: 'alice' })
  for (const name of ['websocket_open', 'websocket_closed']) t.match(events(name), [{ session, user: 'alice' }])
  const stream = open(url)
  stream.write(`GET /api/stream HTTP/1.1\r\nHost: a\r\n${cookieOf(running)}\r\n\r\n`)
  await eventually(() => stream.bytesRead > 0)
  stream.destroy()
  await eventually(() => events('request').some(({ path }) => path === '/api/stream'))
  t.match(events('request').at(-1), { path: '/api/stream', session, user: 'alice', aborted: true })
})
