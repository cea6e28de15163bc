import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header, parseAnswers, sendRaw } from '../../support/raw-http.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const routes = [
  {
    path: '/**',
    headers: {
      set: {
        'X-User': '{claims.sub}',
        'X-Groups': '{claims.groups}',
        'X-Name': '{claims.name}',
        'X-Street.Name': '{claims.address.street}',
      },
    },
  },
  { path: '/public/**', access: 'public' },
  { path: '/optional/**', access: 'optional', headers: { set: { 'X-Who': '{claims.sub}' } } },
  { path: '/base64/**', headers: { set: { 'X-User': '{claims.name}' }, encoding: 'base64', remove: ['X-Internal'] } },
  { path: '/custom/**', token: { header: 'X-Access-Token' } },
  { path: '/bare/**', token: { grant: 'none' } },
]

const spoofed = [
  'X-User: mallory',
  'x_user: mallory',
  'X.User: mallory',
  'X-USER: mallory',
  'X_Groups: mallory',
  'X-Who: mallory',
  'X_Who: mallory',
  'X-Access-Token: mallory',
  'x.access.token: mallory',
  'X-Street-Name: mallory',
  'X_Street_Name: mallory',
]

/** What the application has got under a name, of any case. */
const sent = (raw: readonly string[] | undefined, name: string): string[] =>
  (raw ?? []).filter((_, i) => i % 2 === 1 && raw?.[i - 1]?.toLowerCase() === name.toLowerCase())

void t.test('only the gateway can tell the application who the user is', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  await ask(url, 'GET', '/api/echo', [cookie, ...spoofed])
  const seen = upstream.requests.at(-1)
  t.same(sent(seen?.rawHeaders, 'x-user'), ['alice'])
  t.same(sent(seen?.rawHeaders, 'x-groups'), ['staff,admin'])
  t.same(sent(seen?.rawHeaders, 'x-name'), ['Alice Archer'])
  t.same(sent(seen?.rawHeaders, 'x-street.name'), [], 'a missing claim is no header')
  t.notMatch(seen?.rawHeaders.join(), /mallory/)
  for (const path of ['/public/x', '/optional/x', '/bare/x', '/custom/x']) {
    await ask(url, 'GET', path, [...(path === '/public/x' ? [] : [cookie]), ...spoofed])
    t.equal(upstream.requests.at(-1)?.url, path)
    t.notMatch(upstream.requests.at(-1)?.rawHeaders.join(), /mallory/, path)
  }
  await ask(url, 'GET', '/optional/x', spoofed)
  t.notMatch(upstream.requests.at(-1)?.rawHeaders.join(), /mallory|X-Who/i, 'also where there is no session')
})

void t.test('a name with non-ASCII letters is sent in either encoding', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes } })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'zoe')
  await browser.get(`${url}/api/orders`, { kind: 'script' })
  t.same(upstream.requests.at(-1)?.headers['x-name'], "UTF-8''Zo%C3%AB")
  await browser.get(`${url}/base64/x`, { kind: 'script', headers: { 'X-Internal': '1', 'x_internal': '2' } })
  t.equal(Buffer.from(String(upstream.requests.at(-1)?.headers['x-user']), 'base64').toString(), 'Zoë')
  t.notMatch(upstream.requests.at(-1)?.rawHeaders.join(), /internal/i)
})

void t.test('claims of every shape become one safe header or none', async (t) => {
  const claims = {
    nested: { role: 'boss' },
    list: ['a,b', 'ü'],
    object: { a: 'x' },
    roles: { a: 1, b: { c: 'x' } },
    evil: 'x\r\nX-Injected: yes',
    huge: 'y'.repeat(9000),
    empty: '',
    flag: true,
  }
  const names = ['nested.role', 'list', 'object', 'roles', 'evil', 'huge', 'empty', 'flag']
  const set = Object.fromEntries(names.map((name) => [`X-C-${name.replace('.', '-')}`, `{claims.${name}}`]))
  const { url, upstream } = await startGateway(t, {
    config: { routes: [{ path: '/**', headers: { set } }] },
    idp: { users: [{ sub: 'dora', name: 'Dora', email: 'dora@example.com', groups: [], claims }] },
  })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'dora')
  await browser.get(`${url}/api/orders`, { kind: 'script' })
  const headers = upstream.requests.at(-1)?.headers ?? {}
  t.match(headers, {
    'x-c-nested-role': 'boss',
    'x-c-list': "a%2Cb,UTF-8''%C3%BC",
    'x-c-object': '{"a":"x"}',
    'x-c-roles': 'a,b',
    'x-c-evil': "UTF-8''x%0D%0AX-Injected%3A%20yes",
    'x-c-empty': '',
    'x-c-flag': 'true',
  })
  t.notOk(headers['x-c-huge'])
  t.notOk(headers['x-injected'])
})

void t.test(
  'the token goes where the route says, and a client’s Authorization passes only if no session is used',
  async (t) => {
    const { url, upstream } = await startGateway(t, { idp, config: { routes } })
    const browser = createBrowser()
    await browser.login(`${url}/`, 'alice')
    const mine = { authorization: 'Basic bWluZTptaW5l' }
    const get = async (path: string, kind: 'script' | 'none' = 'script') => {
      await (kind === 'none' ? createBrowser() : browser).get(`${url}${path}`, { kind, headers: mine })
      return upstream.requests.at(-1)?.headers ?? {}
    }
    t.match(await get('/api/x'), { authorization: /^Bearer \S+$/ })
    const custom = await get('/custom/x')
    t.match(custom['x-access-token'], /^[^ ]+$/)
    t.notOk(custom.authorization)
    t.notOk((await get('/bare/x')).authorization)
    t.equal((await get('/public/x')).authorization, mine.authorization)
    t.match(await get('/optional/x'), { authorization: /^Bearer / }, 'with a session as on a required route')
    t.equal(
      (await get('/optional/x', 'none')).authorization,
      mine.authorization,
      'without a session as on a public route',
    )
  },
)

void t.test('hop-by-hop headers and those named by Connection are not forwarded', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes } })
  const hop = [
    'Keep-Alive: timeout=5',
    'Proxy-Connection: keep-alive',
    'Proxy-Authorization: Basic eA==',
    'TE: trailers',
    'Upgrade: h2c',
    'HTTP2-Settings: AAMAAABk',
    'X-Hop: 1',
    'x-HOP-two: 2',
  ]
  const lines = [
    'GET /public/x HTTP/1.1',
    'Host: a',
    ...hop,
    'Connection: close, X-Hop,x-hop-Two, X-Forwarded-For',
    'X-Stays: yes',
    '',
    '',
  ]
  t.match((await sendRaw(url, lines.join('\r\n'))).toString(), /^HTTP\/1\.1 200/)
  const seen = upstream.requests.at(-1)?.headers ?? {}
  for (const name of [
    'keep-alive',
    'proxy-connection',
    'proxy-authorization',
    'te',
    'upgrade',
    'http2-settings',
    'x-hop',
    'x-hop-two',
  ])
    t.notOk(seen[name], name)
  t.equal(seen['x-stays'], 'yes')
  t.equal(seen['x-forwarded-for'], '127.0.0.1', 'the gateway’s headers can’t be removed')
})

void t.test(
  'hop-by-hop headers of a response, those that its Connection names, and Gatehouse are not forwarded',
  async (t) => {
    const application = await startApplication(t, (_req, res) => {
      res
        .writeHead(200, [
          'Connection',
          'keep-alive, X-Hop',
          'Connection',
          'X-Hop-Two',
          'Keep-Alive',
          'timeout=9',
          'X-Hop',
          '1',
          'X-Hop-Two',
          '2',
          'Proxy-Connection',
          'close',
          'Gatehouse',
          'login_required',
          'GATEHOUSE',
          'forbidden',
          'X-Stays',
          'yes',
          'X-Twice',
          'a',
          'X-Twice',
          'b',
          'X-Latin',
          'caf\u00e9',
        ])
        .end('ok')
    })
    const { url } = await startGateway(t, {
      idp,
      config: { upstream: application.url, routes: [{ path: '/**', access: 'public' }] },
    })
    const answer = await ask(url, 'GET', '/')
    for (const name of ['x-hop', 'x-hop-two', 'proxy-connection', 'gatehouse']) t.notOk(answer.headers.get(name), name)
    t.not(header(answer, 'keep-alive'), 'timeout=9')
    t.same(answer.headers.get('x-twice'), ['a', 'b'])
    t.equal(header(answer, 'x-stays'), 'yes')
    t.equal(header(answer, 'x-latin'), 'caf\u00e9')
  },
)

void t.test('an application’s own response is not changed', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: [{ path: '/**', access: 'public' }] } })
  for (const status of [400, 401, 403, 404, 418, 500, 502, 503]) {
    const answer = await createBrowser().get(
      `${url}/api/status/${status}?body=mine&header=WWW-Authenticate:%20Basic&header=X-Mine:%201`,
      { kind: 'script' },
    )
    t.equal(answer.status, status)
    t.equal(answer.body, 'mine')
    t.equal(answer.headers['www-authenticate'], 'Basic')
    t.notOk(answer.headers.gatehouse, 'which is how it can be told from the gateway’s')
    t.notOk(answer.headers['set-cookie'])
  }
})

void t.test('two Host headers are a bad request, and so is a missing Host', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes } })
  for (const hosts of ['Host: a\r\nHost: a\r\n', 'Host: a\r\nhOST: b\r\n', '']) {
    const [answer] = parseAnswers(await sendRaw(url, `GET /public/x HTTP/1.1\r\n${hosts}Connection: close\r\n\r\n`))
    t.equal(answer?.status, 400, JSON.stringify(hosts))
    t.match(JSON.parse(answer?.body.toString() ?? ''), { code: 'bad_request' })
  }
  t.equal(upstream.requests.length, 0)
  t.match((await sendRaw(url, 'GET /public/x HTTP/1.0\r\n\r\n')).toString(), /^HTTP\/1\.1 200/, 'HTTP/1.0 has none')
})

void t.test('the application receives the public host', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes } })
  await ask(url, 'GET', '/public/x', ['Host: evil.example'])
  t.equal(upstream.requests.at(-1)?.headers.host, new URL(url).host)
})
