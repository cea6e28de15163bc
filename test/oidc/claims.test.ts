import t, { type Test } from 'tap'
import { moveClock } from '../support/clock.ts'
import { createBrowser, type Browser } from '../support/browser.ts'
import { startGateway, type Running } from '../support/gateway.ts'
import type { IdpOptions } from '../../src/demo/idp.ts'
import { loggedIn } from '../support/logged-in.ts'

const script = { kind: 'script' } as const

/** Dora, with these claims in her ID token. */
const dora = (claims: Record<string, unknown>): IdpOptions => ({
  users: [{ sub: 'dora', name: 'Dora', email: 'dora@example.com', groups: [], claims }],
})

const start = async (
  t: Test,
  claims: Record<string, unknown>,
  routes: readonly object[],
): Promise<Running & { readonly browser: Browser }> => {
  const running = await startGateway(t, { idp: dora(claims), config: { routes: [{ path: '/**' }, ...routes] } })
  const browser = createBrowser()
  await browser.login(`${running.url}/`, 'dora')
  return { ...running, browser }
}

void t.test('nested claims, lists, numbers and booleans are compared by their type', async (t) => {
  const claims = {
    'realm_access': { roles: ['editor', 'boss'] },
    'resource_access': { orders: { roles: ['read'] } },
    'level': 3,
    'score': 2.5,
    'verified': true,
    'https://example.com/role': 'chief',
    'a.b': 'outright',
    'a': { b: 'by path' },
    'nothing': null,
    'many': [1, 2, 3],
    'object': { admin: true },
    'texts': { admin: 'yes' },
    'text': '3',
  }
  const table: [Record<string, unknown>, number][] = [
    [{ 'realm_access.roles': ['boss'] }, 200],
    [{ 'realm_access.roles': 'nobody' }, 403],
    [{ 'resource_access.orders.roles': ['write', 'read'] }, 200],
    [{ level: 3 }, 200],
    [{ level: '3' }, 403],
    [{ level: [1, 2] }, 403],
    [{ score: 2.5 }, 200],
    [{ verified: true }, 200],
    [{ verified: 'true' }, 403],
    [{ 'https://example.com/role': 'chief' }, 200],
    [{ 'a.b': 'outright' }, 200],
    [{ 'a.b': 'by path' }, 403],
    [{ nothing: 'x' }, 403],
    [{ many: 2 }, 200],
    [{ many: 4 }, 403],
    [{ object: 'admin' }, 200],
    [{ object: 'other' }, 403],
    [{ texts: 'admin' }, 403],
    [{ 'object.admin': true }, 200],
    [{ text: '3' }, 200],
    [{ text: 3 }, 403],
    [{ level: 3, verified: true }, 200],
    [{ level: 3, verified: false }, 403],
    [{ 'realm_access.roles.0': 'editor' }, 403],
    [{ constructor: 'x' }, 403],
  ]
  const { url, browser } = await start(
    t,
    claims,
    table.map(([wanted], i) => ({ path: `/api/echo/${i}`, require: { claims: wanted } })),
  )
  for (const [i, [wanted, status]] of table.entries())
    t.equal((await browser.get(`${url}/api/echo/${i}`, script)).status, status, JSON.stringify(wanted))
})

void t.test('Entra’s groups overage is a 403 that names the cause, to the user and in the log', async (t) => {
  for (const [name, claims] of [
    [
      '_claim_names',
      {
        _claim_names: { groups: 'src1' },
        _claim_sources: { src1: { endpoint: 'https://graph.windows.net/x/users/y/getMemberObjects' } },
      },
    ],
    ['hasgroups', { hasgroups: true }],
  ] as const) {
    const { url, browser, upstream, events } = await start(t, { ...claims, groups: undefined }, [
      { path: '/api/echo/group', require: { claims: { groups: ['staff'] } } },
      { path: '/api/echo/role', require: { claims: { roles: ['staff'] } } },
      { path: '/api/echo/all', headers: { set: { 'X-Groups': '{claims.groups}' } } },
    ])
    upstream.requests.length = 0
    const answer = await browser.get(`${url}/api/echo/group`, script)
    t.match(answer.json(), { status: 403, code: 'forbidden', detail: /too many groups/ }, name)
    t.match((await browser.get(`${url}/api/echo/group`)).body, /too many groups/, 'a page')
    t.same(upstream.requests, [])
    t.match(events('forbidden').at(-1), { why: /left the claim groups out/ })
    const other = await browser.get(`${url}/api/echo/role`, script)
    t.notMatch(other.json(), { detail: /too many/ }, 'another claim that is missing is just missing')
    t.equal((await browser.get(`${url}/api/echo/all`, { ...script, headers: { 'x-groups': 'staff' } })).status, 200)
    t.notOk(upstream.requests.at(-1)?.headers['x-groups'], 'and no header says anything about groups')
  }
})

void t.test('userinfo: true adds claims at the login and at each refresh, in headers and in rules', async (t) => {
  const { url, browser, idp, upstream, call } = await loggedIn(t, {
    config: {
      provider: { userinfo: true },
      routes: [
        { path: '/**', headers: { set: { 'X-Nick': '{claims.nickname}' } } },
        { path: '/api/echo/boss', require: { claims: { nickname: 'Boss' } } },
      ],
    },
  })
  const says = (nickname: string): void => {
    idp.fail('userinfo', { status: 200, body: { sub: 'alice', nickname, email: 'other@example.com' } })
  }
  const nick = (): unknown => upstream.requests.at(-1)?.headers['x-nick']
  says('Al')
  await browser.login(`${url}/oauth2/login?prompt=login`, 'alice')
  await call()
  t.equal(nick(), 'Al')
  t.equal((await browser.get(`${url}/api/echo/boss`, script)).status, 403)
  says('Boss')
  moveClock(t, 101_000)
  t.equal((await call()).status, 200)
  t.equal(nick(), 'Boss')
  t.equal((await browser.get(`${url}/api/echo/boss`, script)).status, 200)
  t.match(
    (await browser.get(`${url}/oauth2/userinfo`, script)).json(),
    { nickname: 'Boss', email: 'alice@example.com' },
    'the signed claim takes precedence',
  )

  idp.settings.reshapeTokenResponse = ({ id_token: _none, ...rest }) => rest
  says('Clerk')
  moveClock(t, 101_000)
  t.equal((await browser.get(`${url}/api/echo/boss`, script)).status, 403, 'also where the refresh brings no ID token')
})

void t.test('a claim of any value becomes one safe header or none, and never an error of the gateway', async (t) => {
  const nasty: Record<string, unknown> = {
    crlf: 'x\r\nX-Injected: yes',
    lf: 'x\nX-Injected: yes',
    cr: 'x\rX-Injected: yes',
    crlfcrlf: 'x\r\n\r\nGET /admin HTTP/1.1\r\n\r\n',
    nul: 'a\u0000b',
    esc: '\u001b[31m',
    del: '\u007f',
    latin: 'Zoë',
    emoji: '👩‍💻',
    lone: '\ud800',
    separators: 'a\u2028b\u0085c',
    spaces: '  a  ',
    tab: '\ta',
    empty: '',
    list: ['a', 'b,c', 'ü', 'x\r\nX-Injected: yes'],
    empties: [],
    nested: [['a'], { b: 1 }],
    object: { a: 'ü', b: 'x\r\nX-Injected: yes' },
    number: 12.5,
    big: 12_345_678_901_234,
    yes: true,
    no: false,
    nothing: null,
    long: 'x'.repeat(8193),
    longer: 'ü'.repeat(2000),
    limit: 'x'.repeat(8192),
    longlist: Array.from({ length: 2000 }, (_, i) => `group-${i}`),
    like: "UTF-8''%61dmin",
    likelatin: "iso-8859-1'en'%A3",
    percent: '%0d%0aX-Injected: yes',
    template: '{claims.sub}',
    proto: '__proto__',
  }
  const names = [...Object.keys(nasty), 'missing', 'missing.deep', '__proto__', 'constructor', 'list.0', 'object.a']
  for (const encoding of ['rfc8187', 'base64']) {
    const routes = names.map((name, i) => ({
      path: `/api/echo/${i}`,
      headers: { set: { 'X-Claim': `{claims.${name}}`, 'X-Mixed': `v={claims.${name}};` }, encoding },
    }))
    const { url, browser, upstream, events } = await start(t, nasty, routes)
    const seen = new Map<string, string | undefined>()
    for (const [i, name] of names.entries()) {
      const answer = await browser.get(`${url}/api/echo/${i}`, {
        ...script,
        headers: { 'x-claim': 'forged', 'x-mixed': 'forged' },
      })
      t.equal(answer.status, 200, `${name} in ${encoding}`)
      const sent = upstream.requests.at(-1)
      const raw = sent?.rawHeaders ?? []
      t.ok(raw.filter((_, at) => at % 2 === 0 && raw[at]?.toLowerCase() === 'x-claim').length <= 1, 'one at most')
      t.notMatch(raw.join('\n'), /forged|^X-Injected$/m)
      t.notOk(sent?.headers['x-injected'])
      const value = sent?.headers['x-claim']?.toString()
      seen.set(name, value)
      if (value !== undefined) t.match(value, /^[\x20-\x7e]{0,8192}$/, name)
    }
    for (const name of ['missing', 'missing.deep', '__proto__', 'constructor', 'list.0', 'nothing', 'long', 'longlist'])
      t.equal(seen.get(name), undefined, `${name}: no header`)
    const decoded = (name: string): string | undefined =>
      encoding === 'base64'
        ? Buffer.from(seen.get(name) ?? '', 'base64').toString()
        : seen.get(name)?.replace(/^UTF-8''(.*)$/, (_, text: string) => decodeURIComponent(text))
    for (const name of [
      'crlf',
      'latin',
      'emoji',
      'spaces',
      'nul',
      'like',
      'likelatin',
      'percent',
      'template',
      'object.a',
    ]) {
      t.equal(decoded(name), name === 'object.a' ? 'ü' : nasty[name], `${name} comes out as the provider said it`)
    }
    t.equal(decoded('number'), '12.5')
    t.equal(decoded('yes'), 'true')
    t.same(events('internal_error'), [])
  }
})
