import t, { type Test } from 'tap'
import { explainRequest } from '../../src/cli/explanation.ts'
import type { Config } from '../../src/config/schema.ts'
import { least, loadText } from '../config/configuration.ts'

const folder = t.testdir({})
const { config } = loadText(
  folder,
  `${least}
forwardAuth: { listen: 127.0.0.1:8081 }
routes:
  - path: /**
    headers: { set: { X-User: "{claims.email}", X-Groups: "{claims.groups}", X-Long: "{claims.long}" } }
  - { path: /assets/**, access: public }
  - { path: /none/**, token: { grant: none } }
  - { path: /exchange/**, token: { grant: token-exchange, audience: "api://orders", scopes: [orders.read] } }
  - { path: /behalf/**, token: { grant: on-behalf-of, scopes: ["api://orders/.default"] } }
  - { path: /robot/**, token: { grant: client-credentials, resource: "api://orders", header: X-Token } }
  - { path: /redeem/**, token: { resource: "api://orders" } }
  - { path: /admin/**, require: { claims: { groups: [admin], realm_access.roles: [boss] } } }
  - { path: /money/**, require: { acr: "urn:mfa", maxAge: 5m } }
  - { path: /api/**, bearer: { audience: "api://orders" }, require: { claims: { groups: [admin] } }, headers: { set: { X-Sub: "{claims.sub}" } } }
  - { path: /own/**, authorization: client, token: { grant: none }, stripPrefix: /own, upstreamHost: app.internal }
  - { path: /calls/**, cors: { origins: [https://app.example.org] } }
  - { path: /strong/**, bearer: { audience: "api://orders" }, require: { acr: "urn:mfa" } }
  - { path: /open/**, access: optional, bearer: { audience: "api://orders" } }
  - path: /ci/**
    require: { claims: { groups: [admin] } }
    bearer:
      audience: orders
      clientIds: [robot]
      issuers: [{ issuer: https://token.actions.githubusercontent.com, audience: deploy }]
      require: { not: { claims: { repository: octo/playground } } }
  - { path: /swap/**, bearer: { audience: orders, token: exchange }, token: { grant: token-exchange, audience: "api://stock" } }
  - { path: /mcp/**, bearer: { metadata: true, scopes: [orders.read], dpop: accepted } }
`,
)

/** Returns the place of a route in the configuration. */
const placeOf = (path: string): string => `routes[${config.routes.findIndex((one) => one.path === path)}]`

/** What `explain` says to these arguments, each line as `name: text`. */
const explain = async (args: readonly string[], about: Config = config): Promise<string> => {
  const [method = '', url = '', ...options] = args
  const values = (option: string): string[] => options.filter((_, i) => options[i - 1] === option)
  const [claims] = values('--claims')
  const lines = await explainRequest(about, {
    method,
    url,
    headers: values('-H').map((text) => [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 2)] as const),
    claims: claims === undefined ? null : { ...JSON.parse(claims) },
    client: values('--client')[0] ?? null,
    now: Date.now(),
  })
  return lines.map(([name, text]) => `${name}: ${text}\n`).join('')
}

const claims = (value: object): string[] => ['--claims', JSON.stringify({ sub: 'alice', ...value })]
const now = Math.floor(Date.now() / 1000)

/** Runs rows of arguments, each with the expected and the forbidden output. */
const rows = async (
  t: Test,
  table: readonly (readonly [string[], readonly string[], (RegExp | string)?])[],
): Promise<void> => {
  await Promise.all(
    table.map(async ([args, lines, never]) => {
      const said = await explain(args)
      for (const line of lines) t.ok(said.includes(`${line}\n`), `${args.join(' ')} says ${line}`, { said })
      if (never !== undefined) t.notMatch(said, never)
    }),
  )
}

void t.test(
  'the explanation takes the client’s address from --client, or behind trusted proxies from X-Forwarded-For',
  async (t) => {
    const networks = (more: string): Config =>
      loadText(folder, `${least}${more}routes: [{ path: /**, require: { networks: [10.0.0.0/8, 127.0.0.1] } }]\n`)
        .config
    const [direct, proxied] = [networks(''), networks('trustedProxies: [172.16.0.0/12]\n')]
    const forwarded = ['-H', 'X-Forwarded-For: 192.0.2.7, 10.1.2.3, 172.16.1.1']
    const rows: [about: Config, args: string[], line: string][] = [
      [direct, [], 'because: require.networks: 127.0.0.1 is in 127.0.0.1/32'],
      [direct, forwarded, 'because: require.networks: 127.0.0.1 is in 127.0.0.1/32'],
      [direct, ['--client', '10.9.9.9', ...forwarded], 'because: require.networks: 10.9.9.9 is in 10.0.0.0/8'],
      [proxied, forwarded, 'because: require.networks: 10.1.2.3 is in 10.0.0.0/8'],
      [proxied, ['--client', '172.16.9.9', ...forwarded], 'because: require.networks: 10.1.2.3 is in 10.0.0.0/8'],
      [
        proxied,
        ['--client', '192.0.2.9', ...forwarded],
        'because: require.networks: 192.0.2.9 is in none of 10.0.0.0/8, 127.0.0.1/32',
      ],
      [proxied, ['--client', '192.0.2.9'], 'answer: 403 forbidden'],
    ]
    for (const [about, args, line] of rows) {
      const said = await explain(['GET', '/', ...claims({}), ...args], about)
      t.ok(said.includes(`${line}\n`), `${args.join(' ')} says ${line}`, { said })
    }
  },
)

void t.test('with dpop, the explanation has the token and its proof', async (t) => {
  const bound: Config = {
    ...config,
    forwardAuth: null,
    provider: config.provider && { ...config.provider, dpop: 'on' },
  }
  const said = await explain(['GET', '/', ...claims({})], bound)
  for (const line of ['header: Authorization: DPoP ACCESS-TOKEN', 'header: DPoP: PROOF'])
    t.ok(said.includes(`${line}\n`), line, { said })
  t.notMatch(await explain(['GET', '/none/', ...claims({})], bound), 'DPoP')
})

void t.test('the explanation applies provider.clockTolerance to a client’s own token', async (t) => {
  const refusal = /because: the token (?:has expired|is not valid yet)/
  for (const [clockTolerance, isAccepted] of [
    [0, false],
    [300_000, true],
  ] as const) {
    const about = { ...config, provider: config.provider && { ...config.provider, clockTolerance } }
    for (const times of [{ exp: now - 180 }, { nbf: now + 180 }, { iat: now + 180 }]) {
      const own = ['GET', '/api/', '-H', 'Authorization: Bearer eyJ.eyJ.x', ...claims(times)]
      t.equal(refusal.test(await explain(own, about)), !isAccepted, JSON.stringify(times))
    }
  }
})

void t.test('the explanation says which token goes upstream, and where it comes from', async (t) => {
  await rows(t, [
    [
      ['GET', '/', ...claims({})],
      ['token: the session’s access token', 'header: Authorization: Bearer ACCESS-TOKEN'],
    ],
    [['GET', '/none/', ...claims({})], ['token: none'], /ACCESS-TOKEN|DPoP/],
    [
      ['GET', '/exchange/', ...claims({})],
      [
        'token: the session’s access token is exchanged with token-exchange for audience api://orders, scopes ' +
          'orders.read',
      ],
    ],
    [
      ['GET', '/behalf/', ...claims({})],
      ['token: the session’s access token is exchanged with on-behalf-of for scopes api://orders/.default'],
    ],
    [
      ['GET', '/robot/', ...claims({})],
      [
        'token: the gateway’s own, from the client-credentials grant for resource api://orders',
        'header: X-Token: ACCESS-TOKEN',
      ],
      /Authorization/,
    ],
    [['GET', '/redeem/', ...claims({})], ['token: the session’s refresh token is redeemed for resource api://orders']],
    [
      ['GET', '/own/x', '-H', 'Authorization: Basic YTpi', ...claims({})],
      [
        'token: none; the client’s own Authorization passes',
        'header: Authorization: Basic YTpi',
        'header: Host: app.internal',
        'header: X-Forwarded-Prefix: /own',
      ],
    ],
    [['GET', '/assets/x', ...claims({})], ['token: none from the gateway; the client’s own Authorization passes']],
  ])
})

void t.test(
  'the explanation has the challenges for clients with tokens, and what their tokens and proofs need',
  async (t) => {
    const origin = 'https://orders.example.com'
    const metadata = `${origin}/.well-known/oauth-protected-resource/mcp`
    const bearer = 'tells: WWW-Authenticate: Bearer realm="orders.example.com", scope="orders.read"'
    const algs = 'DPoP algs="ES256 ES384 ES512 EdDSA Ed25519 PS256 PS384 PS512 RS256 RS384 RS512"'
    const sent = (scheme: string, ...more: string[]): string[] => [
      '-H',
      `Authorization: ${scheme} eyJ.eyJ.x`,
      ...more.flatMap((header) => ['-H', header]),
    ]
    const token = (more: object): string[] => claims({ aud: `${origin}/mcp`, ...more })
    const own = { scope: 'orders.read', cnf: { jkt: 'x' } }
    await rows(t, [
      [
        ['GET', '/mcp/'],
        ['answer: 401 login_required', `${bearer}, resource_metadata="${metadata}", ${algs}`],
      ],
      [
        ['GET', '/mcp/', ...sent('Bearer'), ...token({})],
        [
          'answer: 403 forbidden',
          'because: its scopes lack orders.read',
          `${bearer}, error="insufficient_scope", resource_metadata="${metadata}", ${algs}`,
        ],
      ],
      [
        ['GET', '/mcp/', ...sent('Bearer'), ...token({ scp: ['orders.read'] })],
        ['answer: passes: the client’s own token may use this route'],
      ],
      [
        ['GET', '/mcp/', ...sent('Bearer'), ...token(own)],
        ['answer: 401 invalid_token', 'because: it is bound to a key of the client (cnf), and there is no proof'],
      ],
      [
        ['GET', '/mcp/', ...sent('DPoP'), ...token(own)],
        [
          'answer: 401 invalid_token',
          'because: there is no DPoP header with a proof',
          `${bearer}, resource_metadata="${metadata}", ${algs}, error="invalid_dpop_proof", scope="orders.read"`,
        ],
      ],
      [
        ['GET', '/mcp/', ...sent('DPoP', 'DPoP: eyJ.eyJ.x'), ...token({ scope: 'orders.read' })],
        ['because: the token has no cnf.jkt, so no proof fits it'],
      ],
      [
        ['GET', '/mcp/', ...sent('DPoP', 'DPoP: eyJ.eyJ.x'), ...token(own)],
        ['answer: passes: the client’s own token may use this route', 'header: Authorization: Bearer eyJ.eyJ.x'],
        /header: DPoP/,
      ],
      [
        ['GET', '/.well-known/oauth-protected-resource/mcp'],
        [`answer: the gateway itself serves the metadata of /mcp/** (${placeOf('/mcp/**')}) as a protected resource`],
      ],
      [
        ['GET', '/.well-known/openid-configuration'],
        [
          'answer: the gateway itself serves the metadata of the provider, because of bearer.metadata of ' +
            `/mcp/** (${placeOf('/mcp/**')})`,
        ],
      ],
    ])
  },
)

void t.test(
  'the explanation has the response to a preflight request, and says why csrf lets an origin pass',
  async (t) => {
    const from = (origin: string): string[] => ['-H', `Origin: ${origin}`]
    const app = from('https://app.example.org')
    const preflight = ['-H', 'Access-Control-Request-Method: PUT', '-H', 'Access-Control-Request-Headers: x-own']
    const readable = ['tells: access-control-allow-origin: https://app.example.org', 'tells: vary: Origin']
    const why =
      'because: cors.origins has https://app.example.org: csrf lets the request pass, and the page may read the response'
    await rows(t, [
      [
        ['OPTIONS', '/calls/', ...app, ...preflight],
        [
          'answer: 204 to a CORS preflight request',
          'because: cors.origins has https://app.example.org, whose pages may call this route with PUT',
          'tells: access-control-allow-methods: PUT',
          'tells: access-control-allow-headers: x-own',
        ],
      ],
      [
        ['OPTIONS', '/calls/', ...from('https://evil.example'), ...preflight],
        [
          'answer: 401 login_required',
          `because: cors.origins of ${placeOf('/calls/**')}, the route for PUT, does not have https://evil.example: ` +
            'the gateway does not answer the preflight request',
        ],
        /204|allow-/,
      ],
      [
        ['OPTIONS', '/calls/', ...app],
        ['answer: 401 login_required', ...readable],
      ],
      [
        ['PUT', '/calls/', ...app, ...claims({})],
        ['answer: passes: the session may use this route', why, ...readable],
      ],
      [
        ['GET', '/calls/', ...app],
        ['answer: 401 login_required', ...readable],
      ],
      [
        ['PUT', '/calls/', ...from('https://evil.example'), ...claims({})],
        [
          'answer: 403 cross_origin',
          'because: the origin is https://evil.example, which is not in publicUrl and not in cors.origins of the route',
          'tells: vary: Origin',
        ],
        /allow-origin/,
      ],
      [
        [
          'GET',
          '/oauth2/auth',
          '-H',
          'X-Original-Method: OPTIONS',
          '-H',
          'X-Original-URI: /calls/',
          ...app,
          ...preflight,
        ],
        ['answer: 401 login_required: the proxy passes the preflight request on to the gateway, which answers it'],
      ],
    ])
  },
)

void t.test('the explanation says why a session may use a route, or what it lacks', async (t) => {
  const boss = { groups: ['staff', 'admin'], realm_access: { roles: ['boss'] } }
  await rows(t, [
    [
      ['GET', '/admin/', ...claims(boss)],
      [
        'answer: passes: the session may use this route',
        'because: the claim groups has "admin"',
        'because: the claim realm_access.roles has "boss"',
      ],
    ],
    [
      ['GET', '/admin/', ...claims({ groups: ['admin'] })],
      ['answer: 403 forbidden', 'because: the claim realm_access.roles is missing'],
    ],
    [
      ['GET', '/admin/', ...claims({ _claim_names: { groups: 'src1' } })],
      [
        'answer: 403 forbidden',
        'because: the provider left the claim groups out of the ID token (too many values); provider.groupsFrom reads them from an API',
      ],
    ],
    [
      ['GET', '/money/', ...claims({ acr: 'urn:mfa', auth_time: now - 60 })],
      ['answer: passes: the session may use this route', 'because: acr is urn:mfa'],
    ],
    [
      ['GET', '/money/', ...claims({ acr: 'urn:pwd' })],
      ['answer: 401 step_up_required', 'because: acr must be one of urn:mfa; the login must not be older than 300 s'],
    ],
    [
      ['GET', '/money/', ...claims({ acr: 'urn:mfa', auth_time: now - 600 })],
      ['because: the login must not be older than 300 s'],
      /prompt=login/,
    ],
    [
      ['GET', '/money/', ...claims({ acr: 'urn:mfa' })],
      [
        'answer: 401 step_up_required',
        'because: the login must not be older than 300 s',
        'because: auth_time is missing, so maxAge accepts only a session from a recent login with prompt=login',
      ],
    ],
  ])
})

void t.test(
  'the explanation says whose claims a client’s own token carries, and why the gateway would refuse it',
  async (t) => {
    const own = ['-H', 'Authorization: Bearer eyJ.eyJ.x']
    await rows(t, [
      [
        ['GET', '/api/', ...own],
        [
          'session: none is read: the request carries a token',
          'answer: 401 invalid_token',
          'because: the client’s own token would have to be verified: give its claims with --claims',
          'tells: WWW-Authenticate: Bearer realm="orders.example.com", error="invalid_token"',
        ],
      ],
      [
        ['GET', '/api/', ...own, ...claims({ groups: ['admin'] })],
        [
          'answer: passes: the client’s own token may use this route',
          'token: the client’s own, unchanged',
          'header: Authorization: Bearer eyJ.eyJ.x',
          'header: X-Sub: alice',
        ],
        'ACCESS-TOKEN',
      ],
      [
        ['GET', '/api/', ...own, ...claims({})],
        ['answer: 403 forbidden', 'because: the claim groups is missing'],
      ],
      [
        ['GET', '/api/', ...own, ...claims({ aud: 'api://stock' })],
        [
          'answer: 401 invalid_token',
          'because: the token’s aud is "api://stock", but the route accepts only api://orders',
        ],
      ],
      [['GET', '/api/', ...own, ...claims({ iss: 'https://evil.example' })], ['answer: 401 invalid_token']],
      [['GET', '/api/', ...own, ...claims({ exp: now - 180 })], ['because: the token has expired']],
      [['GET', '/api/', ...own, ...claims({ nbf: now + 180 })], ['because: the token is not valid yet']],
      [
        ['GET', '/strong/', ...own, ...claims({ acr: 'urn:pwd' })],
        [
          'answer: 401 step_up_required',
          'tells: WWW-Authenticate: Bearer realm="orders.example.com", error="insufficient_user_authentication", acr_values="urn:mfa"',
        ],
        'login_url',
      ],
      [['GET', '/', ...own, ...claims({})], ['token: the session’s access token'], 'eyJ'],
    ])
  },
)

void t.test('the explanation says which key accepts a client’s own token', async (t) => {
  const own = ['-H', 'Authorization: Bearer x']
  const github = { iss: 'https://token.actions.githubusercontent.com', sub: 'repo:octo/app:ref:refs/heads/main' }
  await rows(t, [
    [
      ['GET', '/ci/', ...own, ...claims({ ...github, aud: 'deploy', repository: 'octo/app' })],
      [
        'answer: passes: the client’s own token may use this route',
        'because: the token’s iss is bearer.issuers[0]',
        'because: the token’s aud deploy is in bearer.issuers[0].audience',
      ],
    ],
    [
      ['GET', '/ci/', ...own, ...claims({ ...github, aud: 'deploy', repository: 'octo/playground' })],
      ['answer: 403 forbidden'],
    ],
    [
      ['GET', '/ci/', ...own, ...claims({ ...github, aud: 'orders' })],
      ['answer: 401 invalid_token', 'because: the token’s aud is "orders", but the route accepts only deploy'],
    ],
    [
      ['GET', '/ci/', ...own, ...claims({ aud: ['a', 'orders'], scope: 'x' })],
      ['because: the token’s aud orders is in bearer.audience'],
    ],
    [
      ['GET', '/ci/', ...own, ...claims({ aud: 'a', client_id: 'robot' })],
      ['because: the token’s client_id robot is in bearer.clientIds'],
    ],
    [
      ['GET', '/ci/', ...own, ...claims({ aud: 'a', client_id: 'spa' })],
      [
        'because: the token’s aud is "a", but the route accepts only orders; the token’s client_id is "spa", but the route accepts only robot',
      ],
    ],
    [
      ['GET', '/ci/', ...own, ...claims({ azp: 'robot', nonce: 'x' })],
      ['because: the token is an ID token or of another kind'],
    ],
    [
      ['GET', '/ci/', ...own, ...claims({})],
      [
        'because: the claims do not show the token’s audience: the token must match bearer.audience (orders) or bearer.clientIds (robot)',
      ],
    ],
    [
      ['GET', '/mcp/', ...own, ...claims({ aud: 'https://orders.example.com/mcp', scope: 'orders.read' })],
      ['because: the token’s aud https://orders.example.com/mcp is the URL of the resource (bearer.metadata)'],
    ],
    [
      ['GET', '/swap/', ...own, ...claims({ aud: 'orders', scope: 'a' })],
      [
        'token: the client’s own token is exchanged with token-exchange for audience api://stock',
        'header: Authorization: Bearer ACCESS-TOKEN',
      ],
      'Bearer x',
    ],
  ])
})

void t.test('a WebSocket is explained', async (t) => {
  const upgrade = [
    '-H',
    'Connection: Upgrade',
    '-H',
    'Upgrade: websocket',
    '-H',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  ]
  await rows(t, [
    [
      ['GET', '/ws', ...upgrade, ...claims({}), '-H', 'Origin: https://orders.example.com'],
      [
        'kind: websocket',
        'answer: passes: the session may use this route',
        'websocket: the application’s own answer to the upgrade decides; closed with 4401 when the session ends',
      ],
    ],
    [['GET', '/assets/ws', ...upgrade], ['websocket: the application’s own answer to the upgrade decides']],
    [
      ['GET', '/ws', ...upgrade, ...claims({}), '-H', 'Origin: https://evil.example'],
      ['answer: 403 cross_origin'],
      'upstream:',
    ],
    [['GET', '/ws', ...upgrade], ['answer: 401 login_required']],
  ])
})

void t.test('the explanation agrees with the gateway on the client’s own Authorization', async (t) => {
  const basic = 'Authorization: Basic YTpi'
  for (const [path, authorization, isSent] of [
    ['/open/x', basic, true],
    ['/open/x', 'Authorization: Digest username="a"', false],
    ['/assets/x', 'Authorization: Digest username="a"', true],
  ] as const) {
    const token = 'token: none from the gateway'
    const expected = isSent ? [`header: ${authorization}`, `${token}; the client’s own Authorization passes`] : [token]
    const unexpected = isSent ? 'ACCESS-TOKEN' : 'header: Authorization'
    await rows(t, [
      [['GET', path, '-H', authorization], expected, unexpected],
      [['GET', `/oauth2/auth${path}`, '-H', authorization], expected, unexpected],
    ])
  }
})

void t.test(
  'the explanation of a forward-auth request says which request it describes, and what the proxy gets',
  async (t) => {
    const about = (uri: string): string[] => ['-H', `X-Original-URI: ${uri}`]
    await rows(t, [
      [
        ['GET', '/oauth2/auth', ...about('/orders?page=2'), ...claims({ email: 'a@b' })],
        [
          'about: GET /orders?page=2 at https://orders.example.com',
          'route: /** (routes[0], required)',
          'answer: 200 with the headers for the application: the session may use this route',
          'header: X-User: a@b',
          'header: Authorization: Bearer ACCESS-TOKEN',
        ],
        /upstream:|X-Forwarded/,
      ],
      [
        [
          'GET',
          '/oauth2/auth',
          '-H',
          'X-Forwarded-Method: POST',
          '-H',
          'X-Forwarded-Uri: /orders',
          ...claims({}),
          '-H',
          'Sec-Fetch-Site: cross-site',
        ],
        ['about: POST /orders at https://orders.example.com', 'answer: 403 cross_origin'],
      ],
      [
        ['DELETE', '/oauth2/auth/admin/7', ...claims({})],
        ['about: DELETE /admin/7 at https://orders.example.com', 'answer: 403 forbidden'],
      ],
      [
        ['GET', '/oauth2/auth', ...about('/orders'), '-H', 'Accept: text/html'],
        [
          'kind: navigation',
          'answer: 401 login_required',
          'login_url: https://orders.example.com/oauth2/login?redirect=%2Forders',
        ],
      ],
      [['GET', '/oauth2/auth', ...about('/assets/..%2fadmin')], ['answer: 403 ambiguous_path']],
      [
        ['GET', '/oauth2/auth', ...about('/a'), '-H', 'X-Forwarded-Uri: /b'],
        ['answer: 400 bad_request', 'because: the proxy’s headers name different URIs'],
      ],
      [
        ['GET', '/oauth2/auth'],
        ['answer: 400 bad_request', 'because: no X-Original-URL, X-Original-URI or X-Forwarded-Uri names the request'],
      ],
      [
        ['GET', '/oauth2/auth', ...about('/orders'), '-H', 'X_User: root', ...claims({ email: 'a@b' })],
        ['answer: 400 bad_request', 'because: the application could take X_User for another header'],
      ],
      [
        ['GET', '/oauth2/auth?redirect=true', ...about('/orders'), '-H', 'Accept: text/html'],
        ['answer: 302 login_required', 'location: https://orders.example.com/oauth2/login?redirect=%2Forders'],
      ],
      [
        ['GET', '/oauth2/auth?redirect=true', ...about('/orders')],
        ['answer: 401 login_required', 'listener: forwardAuth.listen; on the public listener this address is 404'],
      ],
      [['GET', '/auth', ...about('/orders')], ['answer: 401 login_required'], /about|listener/],
    ])
    const alone = loadText(t.testdir({}), `${least}routes: [{ path: /** }, { path: /public/**, access: public }]\n`)
    const said = await explain(['GET', '/oauth2/auth', ...about('/public/x')], alone.config)
    t.match(said, 'answer: 404 not_found\n')
    t.match(said, 'because: forward-auth has a listener of its own, and forwardAuth.listen is not set\n')
  },
)

void t.test('the explanation names the headers that the claims do not fill, and why', async (t) => {
  await rows(t, [
    [
      ['GET', '/', ...claims({ groups: ['a,b', 'ü'], long: 'x'.repeat(9000) })],
      [
        "header: X-Groups: a%2Cb,UTF-8''%C3%BC",
        'not_sent: X-User: the claim email is missing',
        'not_sent: X-Long: its value would be longer than 8 kB',
      ],
    ],
  ])
})

void t.test('the explained headers are the headers that the gateway would send', async (t) => {
  const own = loadText(
    folder,
    `${least}
routes:
  - { path: /**, access: public }
  - { path: /items/**, access: public, methods: [GET] }
  - { path: /items/**, methods: [DELETE] }
`,
  ).config
  const said = await explain(
    ['GET', '/items/1', '-H', 'Cookie: __Host-gatehouse=x; theme=dark', '-H', 'X-HTTP-Method-Override: DELETE'],
    own,
  )
  t.match(said, /^header: cookie: theme=dark$/im, 'the gateway keeps its own cookies')
  t.notMatch(said, /^header: .*override/im, 'no client may name another method that selects another route')
})

void t.test('the explanation has the keys of the route, and the client’s headers that do not pass', async (t) => {
  await rows(t, [
    [
      [
        'GET',
        '/own/x',
        '-H',
        'X-Forwarded-For: 192.0.2.1',
        '-H',
        'X-Real-IP: 192.0.2.1',
        '-H',
        'Accept: */*',
        '-H',
        'Via: 1.1 x',
        ...claims({}),
      ],
      [
        `route: /own/** (${placeOf('/own/**')}, required), upstreamHost: app.internal, authorization: client`,
        'changed: the client’s X-Forwarded-For, Via',
        'dropped: the client’s X-Real-IP',
      ],
    ],
    [
      ['GET', '/', '-H', 'Authorization: Basic YTpi', ...claims({})],
      ['route: /** (routes[0], required)', 'changed: the client’s Authorization'],
      /dropped/,
    ],
    [['GET', '/none/', '-H', 'Authorization: Basic YTpi', ...claims({})], ['dropped: the client’s Authorization']],
    [
      ['GET', '/calls/', '-H', 'Origin: https://evil.example', ...claims({})],
      [
        `route: /calls/** (${placeOf('/calls/**')}, required), cors: https://app.example.org`,
        'because: cors.origins of the route does not have https://evil.example: ' +
          'the gateway adds no CORS headers for its pages',
      ],
    ],
    [['GET', '/', '-H', 'Origin: https://orders.example.com', ...claims({})], [], /because/],
    [
      ['POST', '/', '-H', 'Sec-Fetch-Site: cross-site', ...claims({})],
      ['because: Sec-Fetch-Site is cross-site, and there is no Origin'],
    ],
  ])
})

void t.test('tokens and assertions are shown as words that stand for them', async (t) => {
  const set = {
    'Authorization': 'Bearer {accessToken}',
    'X-Id-Token': '{idToken}',
    'X-Assertion': '{assertion}',
    'X-Session': '{session.id}',
    'X-Request': '{request.id}',
    'X-City': '{claims.city}',
    'X-Sub': '{sub}',
    'X-Provider': '{provider}',
  }
  const { config: about } = loadText(
    folder,
    `${least}routes:
  - { path: /**, access: optional, token: { grant: none }, headers: { encoding: utf-8, set: ${JSON.stringify(set)} } }
  - { path: /k8s/**, token: { grant: id-token } }
  - { path: /api/**, bearer: { audience: api }, headers: { set: { X-Token: "{accessToken}", X-Id: "{idToken}", X-Session: "{session.id}", X-Assertion: "{assertion}" } } }
`,
  )
  const user = claims({ city: 'Köln' })
  const said = await explain(['GET', '/', ...user], about)
  for (const line of [
    'header: Authorization: Bearer ACCESS-TOKEN',
    'header: X-Id-Token: ID-TOKEN',
    'header: X-Assertion: ASSERTION',
    'header: X-Session: SESSION-ID',
    'header: X-Request: REQUEST-ID',
    'header: X-City: Köln',
    'header: X-Sub: alice',
    'not_sent: X-Provider: there is one provider, without a name',
    'token: none',
  ])
    t.ok(said.includes(`${line}\n`), line, { said })
  t.match(await explain(['GET', '/', ...claims({ city: 'a\nb' })], about), /not_sent: X-City: .* utf-8 cannot express/)
  const anonymous = await explain(['GET', '/'], about)
  for (const name of [
    'X-Id-Token: there is no ID token',
    'X-Assertion: there is no user',
    'X-Sub: the claim sub is missing',
  ])
    t.ok(anonymous.includes(`not_sent: ${name}\n`), name, { anonymous })
  t.match(
    await explain(['GET', '/k8s/api', ...user], about),
    /token: the session’s ID token\nheader: .*header: Authorization: Bearer ID-TOKEN\n/s,
  )
  const client = await explain(['GET', '/api/x', ...user, '-H', 'Authorization: Bearer secret'], about)
  for (const line of [
    'header: X-Token: ACCESS-TOKEN',
    'header: X-Assertion: ASSERTION',
    'not_sent: X-Id: there is no ID token',
    'not_sent: X-Session: there is no session',
  ])
    t.ok(client.includes(`${line}\n`), line, { client })
})
