import t from 'tap'
import { migrateFiles } from '../../src/migrate/migrate.ts'

type Route = Readonly<Record<string, unknown>>

/** Returns the routes by path, and the report. */
const migrated = (
  ...texts: string[]
): { readonly routes: Readonly<Record<string, Route>>; readonly report: string } => {
  const { parts, remarks } = migrateFiles(texts.map((text, index) => ({ name: `file-${index}`, text })))
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the routes of a migration are plain maps
  const routes = parts.find(({ path }) => path.join('.') === 'routes')?.value as Route[]
  return {
    routes: Object.fromEntries(routes.map((route) => [String(route['path']), route])),
    report: remarks.map(({ grade, setting, text }) => `${grade} ${setting?.key ?? ''}: ${text}`).join('\n'),
  }
}

const oauth2Proxy = (...lines: string[]) =>
  migrated(
    [
      'provider = "oidc"',
      'oidc_issuer_url = "https://idp.example.com"',
      'upstreams = ["http://app:3000/"]',
      'skip_auth_routes = ["^/open$"]',
      ...lines,
    ].join('\n'),
  ).routes

void t.test('oauth2-proxy: the Host of the upstream', (t) => {
  t.notOk('upstreamHost' in (oauth2Proxy()['/**'] ?? {}))
  t.notOk('upstreamHost' in (oauth2Proxy('pass_host_header = true')['/**'] ?? {}))
  const own = oauth2Proxy('pass_host_header = false')
  t.equal(own['/**']?.['upstreamHost'], 'upstream')
  t.equal(own['/open']?.['upstreamHost'], 'upstream', 'on a public route, too')
  const flags = migrated(
    'args: ["--provider=oidc", "--oidc-issuer-url=https://idp.example.com", "--upstream=http://app", "--pass-host-header=false"]',
  )
  t.equal(flags.routes['/**']?.['upstreamHost'], 'upstream')
  t.notMatch(flags.report, /pass_host_header/)
  const alpha = migrated(
    [
      'upstreamConfig:',
      '  upstreams:',
      '    - { id: a, path: /, uri: "http://a:3000", passHostHeader: false }',
      '    - { id: b, path: /b/, uri: "http://b:3000", passHostHeader: true }',
      'providers:',
      '  - { id: main, provider: oidc, clientID: x, oidcConfig: { issuerURL: "https://idp.example.com" } }',
    ].join('\n'),
  ).routes
  t.equal(alpha['/**']?.['upstreamHost'], 'upstream')
  t.notOk('upstreamHost' in (alpha['/b/**'] ?? {}))
  t.end()
})

void t.test('oauth2-proxy: a client’s own Authorization passes where no other one is sent', (t) => {
  const authorizationOf = (...lines: string[]): unknown => oauth2Proxy(...lines)['/**']?.['authorization']
  t.equal(authorizationOf(), 'client')
  t.equal(authorizationOf('pass_access_token = true'), 'client', 'the token has a header of its own')
  t.equal(authorizationOf('pass_authorization_header = true'), undefined)
  t.equal(authorizationOf('basic_auth_password = "secret"'), undefined)
  t.equal(
    authorizationOf('client_id = "x"', 'skip_jwt_bearer_tokens = true'),
    undefined,
    'with bearer, only verified tokens pass',
  )
  t.notOk('authorization' in (oauth2Proxy()['/open'] ?? {}), 'on a public route, it passes without a key')
  t.end()
})

const apache = (...lines: string[]) =>
  migrated(
    [
      'OIDCProviderMetadataURL https://idp.example.com/.well-known/openid-configuration',
      'OIDCClientID x',
      'OIDCRedirectURI https://app.example.com/cb',
      ...lines,
      '<Location />',
      '  AuthType openid-connect',
      '  Require valid-user',
      '</Location>',
    ].join('\n'),
  )

void t.test('Apache: the Host of the upstream, and redirects and cookies that come back', (t) => {
  const pass = ['ProxyPass /app/ http://app:3000/', 'ProxyPassReverse /app/ http://app:3000/']
  const unset = apache(...pass)
  t.match(unset.routes['/app/**'], { upstreamHost: 'upstream', stripPrefix: '/app' })
  t.match(unset.report, /differs : ProxyPreserveHost is not given, and off by default/)
  const off = apache('ProxyPreserveHost Off', ...pass)
  t.equal(off.routes['/app/**']?.['upstreamHost'], 'upstream')
  t.notMatch(off.report, /ProxyPreserveHost/)
  const on = apache('ProxyPreserveHost On', ...pass, 'ProxyPassReverseCookiePath / /app/')
  t.notOk('upstreamHost' in (on.routes['/app/**'] ?? {}))
  for (const key of ['ProxyPreserveHost', 'ProxyPassReverse', 'ProxyPassReverseCookiePath'])
    t.match(on.report, new RegExp(`builtin ${key}: `))
  const section = apache(
    'ProxyPreserveHost On',
    '<Location /own>\nProxyPreserveHost Off\nProxyPass http://own:3000/own\n</Location>',
    ...pass,
  )
  t.equal(section.routes['/own/**']?.['upstreamHost'], 'upstream')
  t.notOk('upstreamHost' in (section.routes['/app/**'] ?? {}))
  t.match(
    apache('ProxyPassReverseCookieDomain app.internal app.example.com').report,
    /builtin ProxyPassReverseCookieDomain: .*removed/,
  )
  t.end()
})

void t.test('Apache: a client’s own Authorization passes unless it is set or removed', (t) => {
  const authorizationOf = (...lines: string[]): unknown => apache(...lines).routes['/**']?.['authorization']
  t.equal(authorizationOf(), 'client')
  t.equal(authorizationOf('RequestHeader unset Authorization'), undefined)
  t.equal(authorizationOf('RequestHeader set Authorization "%{OIDC_CLAIM_email}e"'), undefined)
  t.end()
})

/** The token and the headers of the route for all paths. */
const sent = (route: Record<string, unknown> = {}) => ({ token: route['token'], headers: route['headers'] })

void t.test('oauth2-proxy: each token goes upstream under its name, and the ID token as bearer token', (t) => {
  const tokens = (...lines: string[]) => {
    const { token, headers } = sent(
      oauth2Proxy('pass_user_headers = false', 'pass_basic_auth = false', ...lines)['/**'],
    )
    return { token, set: typeof headers === 'object' && headers !== null && 'set' in headers ? headers.set : {} }
  }
  const [access, id] = ['pass_access_token = true', 'pass_authorization_header = true']
  t.same(tokens(), { token: { grant: 'none' }, set: {} })
  t.same(tokens(access), { token: { header: 'X-Forwarded-Access-Token' }, set: {} })
  t.same(tokens(id), { token: { grant: 'id-token' }, set: {} })
  t.same(tokens('set_authorization_header = true'), { token: { grant: 'id-token' }, set: {} })
  t.same(tokens(access, id), {
    token: { header: 'X-Forwarded-Access-Token' },
    set: { Authorization: 'Bearer {idToken}' },
  })
  t.match(tokens(access, 'set_xauthrequest = true'), {
    token: { header: 'X-Forwarded-Access-Token' },
    set: { 'X-Auth-Request-Access-Token': '{accessToken}' },
  })
  const github = migrated(['provider = "github"', 'upstreams = ["http://app:3000/"]', access, id].join('\n'))
  t.match(github.routes['/**'], { token: { header: 'X-Forwarded-Access-Token' } })
  t.notMatch(github.routes['/**'], { headers: { set: { Authorization: String } } })
  t.match(github.report, /builtin pass_authorization_header: this provider issues no ID token/)
  t.end()
})

void t.test('oauth2-proxy: the alpha configuration names the headers of tokens', (t) => {
  const tokens = (...values: string[]) =>
    sent(
      migrated(
        [
          'upstreamConfig: { upstreams: [{ id: a, path: /, uri: "http://a:3000" }] }',
          'providers: [{ id: main, provider: oidc, clientID: x, oidcConfig: { issuerURL: "https://idp.example.com" } }]',
          'injectRequestHeaders:',
          ...values.map((value) => `  - ${value}`),
          'injectResponseHeaders:',
          '  - { name: Authorization, values: [{ claimSource: { claim: id_token, prefix: "Bearer " } }] }',
        ].join('\n'),
      ).routes['/**'],
    )
  t.match(tokens('{ name: Authorization, values: [{ claimSource: { claim: id_token, prefix: "Bearer " } }] }'), {
    token: { grant: 'id-token' },
    headers: { set: undefined },
  })
  t.match(
    tokens(
      '{ name: X-Access, values: [{ claim: access_token }] }',
      '{ name: X-Odd, values: [{ claim: id_token, prefix: "JWT " }] }',
    ),
    {
      token: { header: 'X-Access' },
      headers: { set: { Authorization: 'Bearer {idToken}' }, remove: ['X-Odd'] },
    },
  )
  t.end()
})

void t.test('mod_auth_openidc: tokens, a signed JWT and the encoding of values are carried over', (t) => {
  const headersOf = (...lines: string[]) => {
    const { routes, report } = apache(...lines)
    const { headers } = sent(routes['/**'])
    return { headers: typeof headers === 'object' && headers !== null ? { ...headers } : {}, report, routes }
  }
  const claims = { OIDC_CLAIM_sub: '{claims.sub}', OIDC_CLAIM_email: '{claims.email}' }
  t.match(headersOf('OIDCPassIDTokenAs claims serialized').headers, { set: { ...claims, OIDC_id_token: '{idToken}' } })
  t.notMatch(headersOf('OIDCPassIDTokenAs serialized off').headers, { set: { OIDC_id_token: String } })
  t.match(headersOf('OIDCPassIDTokenAs payload').report, /OIDC_id_token_payload is not sent/)
  t.match(headersOf('OIDCPassClaimsAs headers none').headers, { set: claims, encoding: 'utf-8' })
  const latin1 = headersOf('OIDCPassClaimsAs both latin1')
  t.match(latin1.headers, { set: claims, encoding: 'utf-8' })
  t.match(latin1.report, /sent as UTF-8, not as Latin-1/)
  const base64 = headersOf('OIDCPassClaimsAs both base64url')
  t.match(base64.headers, { set: claims, encoding: 'base64' })
  t.match(base64.report, /not base64url/)
  const mixed = headersOf('OIDCPassClaimsAs both base64url', 'RequestHeader set X-Mail "mailto:%{OIDC_CLAIM_email}e"')
  t.notOk('encoding' in mixed.headers)
  t.match(mixed.report, /headers with fixed text were not encoded/)
  t.notOk('encoding' in headersOf('OIDCPassClaimsAs both').headers)
  const upstream = headersOf(
    'OIDCPassClaimsAs environment',
    'RequestHeader set Authorization "Bearer %{OIDC_access_token}e" env=OIDC_access_token',
    'RequestHeader set X-Id-Token "%{OIDC_id_token}e"',
    'RequestHeader set X-Odd "JWT %{OIDC_id_token}e"',
  )
  t.match(upstream.routes['/**'], {
    token: { grant: 'none' },
    headers: { set: { 'Authorization': 'Bearer {accessToken}', 'X-Id-Token': '{idToken}' } },
  })
  t.match(upstream.report, /X-Odd/)
  const signed = headersOf('OIDCPassUserInfoAs claims signed_jwt:X-Jwt')
  t.match(signed.headers, { set: { 'X-Jwt': '{assertion}' } })
  t.match(signed.report, /assertion of the gateway/)
  t.end()
})
