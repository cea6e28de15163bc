import t, { type Test } from 'tap'
import { loggedIn, type LoggedIn } from '../../support/logged-in.ts'
import { bearerClaims } from '../../support/jwt.ts'
import { ask, header, parseAnswers, sendRaw, type RawAnswer } from '../../support/raw-http.ts'
import { openWebSocket } from '../../support/websocket.ts'

const routes = [
  {
    path: '/**',
    headers: { set: { 'X-User': '{claims.sub}', 'X-Groups': '{claims.groups}', 'X-Name': '{claims.name}' } },
  },
  { path: '/public/**', access: 'public' },
  { path: '/admin/**', require: { claims: { groups: ['root'] } } },
  { path: '/strong/**', require: { acr: 'urn:demo:mfa' } },
  { path: '/exchanged/**', token: { grant: 'token-exchange', audience: 'api://orders' } },
  { path: '/read/**', methods: ['GET'] },
  { path: '/read/**', methods: ['DELETE'], require: { claims: { groups: ['root'] } } },
  { path: '/own/**', authorization: 'client', token: { grant: 'none' } },
  { path: '/robot/**', bearer: { audience: 'api://orders' } },
  { path: '/open/**', access: 'optional', bearer: { audience: 'api://orders' } },
  {
    path: '/set/**',
    access: 'optional',
    headers: { set: { Authorization: '{claims.ticket}' } },
    token: { grant: 'none' },
  },
]

type Original = { readonly method?: string; readonly target: string; readonly headers?: readonly string[] }

/** A proxy: the request that it makes of the one that it got, as its program really sends it. */
type Proxy = (
  original: Original,
  host: string,
) => { readonly method: string; readonly target: string; readonly headers: readonly string[] }

const bySide = (headers: readonly string[]): string[] =>
  headers.filter((line) => !/^(?:connection|upgrade|te|trailer|keep-alive|proxy-\w+|transfer-encoding):/i.test(line))

/** ngx_http_auth_request_module with the configuration of docs/forward-auth.md. */
const nginx: Proxy = ({ method = 'GET', target, headers = [] }, host) => ({
  method: 'GET',
  target: '/oauth2/auth',
  headers: [
    `Host: ${host}`,
    'X-Forwarded-For: 203.0.113.7',
    `X-Forwarded-Host: ${host}`,
    'X-Forwarded-Proto: http',
    `X-Original-Method: ${method}`,
    `X-Original-URL: http://${host}${target}`,
    ...bySide(headers),
  ],
})

/** pkg/middlewares/auth/forward.go: always GET, all headers but those of one hop, its own address as Host. */
const traefik: Proxy = ({ method = 'GET', target, headers = [] }, host) => ({
  method: 'GET',
  target: '/oauth2/auth',
  headers: [
    'Host: gatehouse:8080',
    'User-Agent: Mozilla/5.0',
    ...bySide(headers),
    'X-Forwarded-For: 203.0.113.7',
    `X-Forwarded-Host: ${host}`,
    `X-Forwarded-Method: ${method}`,
    'X-Forwarded-Port: 443',
    'X-Forwarded-Proto: http',
    'X-Forwarded-Server: traefik-7d5f',
    `X-Forwarded-Uri: ${target}`,
    'X-Real-Ip: 203.0.113.7',
    'Accept-Encoding: gzip',
  ],
})

/** forward_auth: GET to its `uri`, all headers, the original's Host. */
const caddy: Proxy = ({ method = 'GET', target, headers = [] }, host) => ({
  method: 'GET',
  target: '/oauth2/auth',
  headers: [
    `Host: ${host}`,
    'User-Agent: Mozilla/5.0',
    ...bySide(headers),
    'X-Forwarded-For: 203.0.113.7',
    `X-Forwarded-Host: ${host}`,
    `X-Forwarded-Method: ${method}`,
    'X-Forwarded-Proto: http',
    `X-Forwarded-Uri: ${target}`,
  ],
})

/** ext_authz over HTTP: the original's method and Host, its URI behind `path_prefix`, no body, the allowed headers. */
const envoy: Proxy = ({ method = 'GET', target, headers = [] }, host) => ({
  method,
  target: `/oauth2/auth${target}`,
  headers: [
    `host: ${host}`,
    'content-length: 0',
    ...bySide(headers).map((line) => line.replace(/^[^:]+/, (name) => name.toLowerCase())),
    'x-forwarded-proto: http',
    'x-envoy-internal: true',
    'x-forwarded-for: 203.0.113.7,10.0.0.3',
    'x-envoy-expected-rq-timeout-ms: 15000',
  ],
})

const proxies: readonly (readonly [string, Proxy])[] = [
  ['nginx', nginx],
  ['Traefik', traefik],
  ['Caddy', caddy],
  ['Envoy', envoy],
]

type Started = LoggedIn & {
  readonly cookie: string
  /** The verdict that a proxy gets. */
  readonly through: (proxy: Proxy, original: Original) => Promise<RawAnswer>
}

const start = async (
  t: Test,
  trustedProxies: readonly string[] = ['127.0.0.1/32', '10.0.0.3/32'],
): Promise<Started> => {
  const running = await loggedIn(t, { config: { routes, trustedProxies, forwardAuth: { listen: '127.0.0.1:0' } } })
  const { url, verdicts, browser } = running
  return {
    ...running,
    cookie: `Cookie: ${browser.cookies.header(new URL(url))}`,
    through: async (proxy, original) => {
      const { method, target, headers } = proxy(original, new URL(url).host)
      return ask(verdicts, method, target, headers)
    },
  }
}

/** The gateway that all tests share that neither change the session nor need another configuration. */
const shared = await start(t)

const problem = ({ body }: RawAnswer): Record<string, unknown> => JSON.parse(body.toString())
const page = ['Accept: text/html', 'Sec-Fetch-Mode: navigate', 'Sec-Fetch-Dest: document']

for (const [name, proxy] of proxies) {
  void t.test(`${name}: a session gets 200 with the headers for the application`, async (t) => {
    const { through, cookie, events } = shared
    const answer = await through(proxy, { target: '/orders?page=2', headers: [cookie, 'X-User: root'] })
    t.equal(answer.status, 200)
    t.same(
      [header(answer, 'x-user'), header(answer, 'x-groups'), header(answer, 'x-name')],
      ['alice', 'staff,admin', 'Alice Archer'],
    )
    t.match(header(answer, 'authorization'), /^Bearer \S+$/)
    t.equal(header(answer, 'cache-control'), 'no-store')
    t.notOk(answer.headers.get('set-cookie'))
    t.match(events('request').at(-1), { verdict: 'allow', route: '/**', client: '203.0.113.7' })
  })

  void t.test(`${name}: a verdict has the client’s cookies without those of the gateway`, async (t) => {
    const { through, cookie } = shared
    const own = cookie.replace('Cookie: ', '')
    for (const [sent, expected] of [
      [`theme=dark; ${own}; lang=de`, 'theme=dark; lang=de'],
      [`${own}; gatehouse-tries=1`, null],
    ] as const) {
      const answer = await through(proxy, { target: '/orders', headers: [`Cookie: ${sent}`] })
      t.equal(answer.status, 200)
      const others = header(answer, 'cookie')
        ?.split('; ')
        .filter((pair) => !pair.startsWith('demo_idp'))
      t.equal(others === undefined || others.length === 0 ? null : others.join('; '), expected)
    }
    const anonymous = await through(proxy, { target: '/public/x', headers: ['Cookie: a=1; gatehouse=x; b="2"'] })
    t.equal(header(anonymous, 'cookie'), 'a=1; b="2"')
  })

  void t.test(`${name}: the path and the method of the original request select the route`, async (t) => {
    const { through, cookie } = shared
    const exchanged = await through(proxy, { target: '/exchanged/1', headers: [cookie] })
    t.match(bearerClaims({ headers: { authorization: header(exchanged, 'authorization') ?? '' } }), {
      aud: 'api://orders',
      sub: 'alice',
    })
    t.notOk(header(exchanged, 'x-user'), 'this route sets none')
    t.equal((await through(proxy, { target: '/read/1', headers: [cookie] })).status, 200)
    for (const [original, code] of [
      [{ target: '/admin/', headers: [cookie] }, 'forbidden'],
      [{ method: 'DELETE', target: '/read/1', headers: [cookie] }, 'forbidden'],
      [{ method: 'POST', target: '/orders', headers: [cookie, 'Sec-Fetch-Site: cross-site'] }, 'cross_origin'],
      [{ target: '/public/..%2fadmin', headers: [cookie] }, 'ambiguous_path'],
      [{ target: '/oauth2/session', headers: [cookie] }, 'not_found'],
      [
        {
          target: '/ws',
          headers: [
            cookie,
            'Origin: https://evil.example',
            'Upgrade: websocket',
            'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
          ],
        },
        'cross_origin',
      ],
    ] as const) {
      const answer = await through(proxy, original)
      t.same([answer.status, problem(answer)['code']], [403, code], original.target)
      t.notOk(header(answer, 'authorization'))
    }
    const strong = await through(proxy, { target: '/strong/', headers: [cookie] })
    t.match(problem(strong), { status: 401, code: 'step_up_required', login_url: /acr_values=urn%3Ademo%3Amfa/ })
  })

  void t.test(
    `${name}: without a session a script gets the problem, and a navigation a page with a link to the login`,
    async (t) => {
      const { through, url } = shared
      const script = await through(proxy, {
        target: '/api/orders',
        headers: ['Accept: application/json', `Referer: ${url}/app`],
      })
      t.match(problem(script), {
        status: 401,
        code: 'login_required',
        login_url: `${url}/oauth2/login?redirect=%2Fapp`,
      })
      t.equal(header(script, 'www-authenticate'), 'Bearer')
      const person = await through(proxy, { target: '/orders?page=2', headers: page })
      t.equal(person.status, 401)
      t.match(person.body.toString(), `${url}/oauth2/login?redirect=%2Forders%3Fpage%3D2`)
      t.notOk(person.headers.get('set-cookie'))
      t.notOk(person.headers.get('location'))
      const ended = await through(proxy, { target: '/orders', headers: ['Cookie: gatehouse=nonsense'] })
      t.equal(ended.status, 401)
      t.equal((await through(proxy, { target: '/public/x' })).status, 200)
    },
  )

  void t.test(`${name}: a client’s own token is verified, and forwarded where it is used`, async (t) => {
    const { through, idp, url } = shared
    const now = Math.floor(Date.now() / 1000)
    const mine = await idp.sign(
      { iss: idp.issuer, aud: 'api://orders', sub: 'robot', exp: now + 60 },
      { typ: 'at+jwt' },
    )
    const good = await through(proxy, { target: '/robot/', headers: [`Authorization: Bearer ${mine}`] })
    t.same([good.status, header(good, 'authorization')], [200, `Bearer ${mine}`])
    const wrong = await through(proxy, { target: '/robot/', headers: ['Authorization: Bearer wrong'] })
    t.same(
      [wrong.status, header(wrong, 'www-authenticate'), header(wrong, 'authorization')],
      [401, `Bearer realm="${new URL(url).host}", error="invalid_token"`, null],
    )
  })

  void t.test(`${name}: with authorization: client, the client’s own Authorization is in the response`, async (t) => {
    const { through, cookie } = shared
    const basic = 'Authorization: Basic YTpi'
    const own = await through(proxy, { target: '/own/x', headers: [cookie, basic] })
    t.same([own.status, header(own, 'authorization')], [200, 'Basic YTpi'])
    const other = await through(proxy, { target: '/orders', headers: [cookie, basic] })
    t.match(header(other, 'authorization'), /^Bearer /)
    t.equal((await through(proxy, { target: '/own/x', headers: [basic] })).status, 401)
  })

  void t.test(
    `${name}: without a session, only the Authorization that the route allows is in the response`,
    async (t) => {
      const { through } = shared
      const sent = async (target: string, value: string): Promise<unknown> => {
        const answer = await through(proxy, { target, headers: [`Authorization: ${value}`] })
        return [answer.status, header(answer, 'authorization')]
      }
      t.same(await sent('/open/x', 'Basic YTpi'), [200, 'Basic YTpi'])
      t.same(await sent('/open/x', 'Digest username="a"'), [200, null], 'the route accepts only verified tokens')
      t.same(await sent('/set/x', 'Basic YTpi'), [200, null], 'the route sets the header itself')
    },
  )

  void t.test(`${name}: an address outside trustedProxies gets the same verdicts`, async (t) => {
    const { through, cookie, events } = await start(t, ['198.51.100.0/24'])
    const answer = await through(proxy, { target: '/orders', headers: [cookie] })
    t.match([answer.status, header(answer, 'authorization'), header(answer, 'x-user')], [200, /^Bearer /, 'alice'])
    t.equal((await through(proxy, { target: '/public/x' })).status, 200)
    t.equal((await through(proxy, { target: '/admin/', headers: [cookie] })).status, 403)
    t.match(events('request').at(-1), { client: '127.0.0.1' }, 'its client address is not trusted')
  })
}

void t.test('client headers that contradict the proxy’s give no access', async (t) => {
  const { through, cookie } = shared
  for (const [name, proxy] of proxies) {
    for (const lie of [
      'X-Original-URI: /public/x',
      'X-Original-URL: /public/x',
      'X-Original-Method: GET',
      'X-Forwarded-Host: 192.0.2.1',
    ]) {
      const answer = await through(proxy, { method: 'DELETE', target: '/admin/', headers: [cookie, lie] })
      t.not(answer.status, 200, `${name}, ${lie}`)
    }
  }
  for (const lie of [
    'X-Forwarded-Uri: /public/x',
    'X-Forwarded-Method: GET',
    'X-Forwarded-Host: 192.0.2.1',
    'X-Original-URL: /public/x',
    'X-Original-Method: GET',
  ]) {
    const answer = await through(nginx, { method: 'DELETE', target: '/read/1', headers: [cookie, lie] })
    t.equal(answer.status, 400, lie)
  }
})

void t.test(
  'requests through a proxy keep the session alive, and a name with non-ASCII letters is a valid header',
  async (t) => {
    const { through, browser, url, events } = await start(t)
    await browser.login(`${url}/oauth2/login?prompt=login`, 'zoe')
    const answer = await through(traefik, { target: '/', headers: [`Cookie: ${browser.cookies.header(new URL(url))}`] })
    t.equal(header(answer, 'x-name'), "UTF-8''Zo%C3%AB")
    t.same(events('internal_error'), [])
  },
)

void t.test(
  'Envoy is told which headers of the client to remove, because the verdict does not have them',
  async (t) => {
    const { through, cookie } = shared
    const removed = async (proxy: Proxy, target: string, headers: readonly string[]): Promise<string[] | undefined> =>
      header(await through(proxy, { target, headers }), 'x-envoy-auth-headers-to-remove')
        ?.split(',')
        .toSorted()
    t.same(await removed(envoy, '/public/x', []), ['authorization', 'cookie', 'x-groups', 'x-name', 'x-user'])
    t.same(await removed(envoy, '/orders', [`${cookie}; theme=dark`]), undefined)
    t.same(await removed(envoy, '/own/x', [cookie, 'Authorization: Basic YTpi', 'Cookie: a=1']), [
      'x-groups',
      'x-name',
      'x-user',
    ])
    t.same(await removed(nginx, '/public/x', []), undefined)
  },
)

void t.test('methods that the gateway never forwards get no verdict', async (t) => {
  const { through, cookie } = shared
  for (const [name, proxy] of proxies) {
    for (const method of ['TRACE', 'TRACK']) {
      const answer = await through(proxy, { method, target: '/orders', headers: [cookie] })
      t.not(answer.status, 200, `${method} through ${name}`)
      t.notOk(header(answer, 'authorization'))
    }
  }
})

void t.test('Caddy’s forward-auth request for a WebSocket carries its upgrade and gets a plain response', async (t) => {
  const { url, verdicts, cookie } = shared
  const { host } = new URL(url)
  const about = [
    `X-Forwarded-Host: ${host}`,
    'X-Forwarded-Method: GET',
    'X-Forwarded-Proto: http',
    'X-Forwarded-Uri: /ws',
  ]
  const good = await openWebSocket(`${verdicts}/oauth2/auth`, { headers: [cookie, `Origin: ${url}`, ...about] })
  t.equal(good.status, 200)
  t.match(good.headers.get('authorization'), /^Bearer \S+$/)
  const cross = await openWebSocket(`${verdicts}/oauth2/auth`, {
    headers: [cookie, 'Origin: https://evil.example', ...about],
  })
  t.same(
    [cross.status, cross.headers.get('gatehouse'), cross.headers.get('authorization')],
    [403, 'cross_origin', undefined],
  )
})

void t.test('a token that needs a proof is not sent: the session has to log in again', async (t) => {
  const paths = ['/orders', '/optional/page']
  const running = await loggedIn(t, {
    idp: { dpop: 'on' },
    config: {
      provider: { dpop: 'on' },
      trustedProxies: ['127.0.0.1/32'],
      forwardAuth: { listen: '127.0.0.1:0' },
      routes: [
        { path: '/**', token: { grant: 'none' } },
        { path: '/optional/**', access: 'optional', token: { grant: 'none' } },
      ],
    },
  })
  const { url, verdicts, browser, gateway, config } = running
  const cookie = `Cookie: ${browser.cookies.header(new URL(url))}`
  const verdictOn = async (target: string): Promise<RawAnswer> => {
    const original = nginx({ target, headers: [cookie, 'Accept: application/json'] }, new URL(url).host)
    return ask(verdicts, original.method, original.target, original.headers)
  }
  for (const path of paths) t.equal((await verdictOn(path)).status, 200, 'a route without a token needs no proof')
  const withTokens = config.routes.map((route) => ({ ...route, token: { ...route.token, grant: 'session' as const } }))
  await gateway.reload({ ...config, provider: { ...config.provider, dpop: 'off' }, routes: withTokens })
  const [denied, anonymous] = [await verdictOn('/orders'), await verdictOn('/optional/page')]
  t.same([denied.status, problem(denied)['code']], [401, 'session_expired'])
  t.match(problem(denied)['login_url'], /\/oauth2\/login/)
  t.same([anonymous.status, header(anonymous, 'authorization')], [200, undefined])
  t.notOk(denied.headers.get('authorization'))
  const inHeaders = config.routes.map((route) => ({
    ...route,
    headers: { ...route.headers, set: { 'X-Token': '{accessToken}' } },
  }))
  await gateway.reload({ ...config, provider: { ...config.provider, dpop: 'off' }, routes: inHeaders })
  const bare = await verdictOn('/orders')
  t.same([bare.status, problem(bare)['code']], [401, 'session_expired'], 'headers.set sends no bound token either')
})

void t.test('a form is kept if the proxy sends its body', async (t) => {
  const { verdicts, url } = shared
  const { host } = new URL(url)
  const form = 'note=keep+me'
  const type = 'application/x-www-form-urlencoded'
  const posted = async (
    target: string,
    headers: readonly string[],
    body = form,
    method = 'POST',
  ): Promise<RawAnswer> => {
    const lines = [
      `${method} ${target} HTTP/1.1`,
      `Host: ${host}`,
      'Accept: text/html',
      'Sec-Fetch-Mode: navigate',
      'Sec-Fetch-Dest: document',
      `Origin: ${url}`,
      ...headers,
      'Connection: close',
    ]
    const [answer] = parseAnswers(await sendRaw(verdicts, `${lines.join('\r\n')}\r\n\r\n${body}`))
    if (answer === undefined) throw new Error('no answer')
    return answer
  }
  const about = [
    'X-Forwarded-Method: POST',
    `X-Forwarded-Host: ${host}`,
    'X-Forwarded-Proto: http',
    'X-Forwarded-Uri: /orders',
  ]
  const framed = [`Content-Type: ${type}`, `Content-Length: ${form.length}`]
  const chunked = [`Content-Type: ${type}`, 'Transfer-Encoding: chunked']
  for (const [target, headers, body] of [
    ['/auth?redirect=true', [...about, ...framed], form],
    ['/auth', [...about, ...chunked], `${form.length.toString(16)}\r\n${form}\r\n0\r\n\r\n`],
    ['/auth-redirect/orders', framed, form],
  ] as const) {
    const answer = await posted(target, headers, body)
    t.equal(answer.status, 401, target)
    t.match(answer.body.toString(), /keep me/)
    t.match(answer.body.toString(), `"action":"${url}/orders"`)
    t.notOk(answer.headers.get('location'))
  }
  const partial = await posted('/auth-redirect/orders', [...framed, 'X-Envoy-Auth-Partial-Body: true'])
  t.equal(partial.status, 413, 'half a form is not kept')
  t.notMatch(partial.body.toString(), /keep me/)

  const later = await posted('/auth', [...about, `Content-Type: ${type}`, 'Content-Length: 12'], '', 'GET')
  t.equal(later.status, 401, 'nginx may send the length of a body that it does not send')
  const cross = await posted('/auth-redirect/orders', [...framed, 'Sec-Fetch-Site: cross-site'])
  t.notMatch(cross.body.toString(), /keep me/)
})
