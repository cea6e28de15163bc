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
