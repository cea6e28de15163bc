import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { migrateFiles } from '../../src/migrate/migrate.ts'
import { writeYaml } from '../../src/migrate/write.ts'
import { problemsOf, loadText } from '../config/configuration.ts'

interface Result {
  readonly bearer: unknown
  readonly provider: Record<string, unknown>
  readonly remarks: string
}

/** What becomes of a configuration. Fails unless `check` accepts the result once the secrets are set. */
const migrated = (t: Test, name: string, text: string): Result => {
  const migration = migrateFiles([{ name, text }])
  const yaml = writeYaml(migration)
  const env = { OIDC_CLIENT_SECRET: 'secret', SESSION_KEY: Buffer.alloc(32, 1).toString('base64') }
  t.same(
    problemsOf(() => loadText(t.testdir(), yaml, env)),
    [],
  )
  const { routes, provider }: { routes: { bearer?: unknown }[]; provider: Record<string, unknown> } = parse(yaml)
  return {
    bearer: routes[0]?.bearer,
    provider,
    remarks: migration.remarks
      .map(({ grade, setting, text: said }) => `${grade} ${setting?.key ?? ''}: ${said}`)
      .join('\n'),
  }
}

const oauth2Proxy = (...lines: string[]): string =>
  [
    'provider = "oidc"',
    'oidc_issuer_url = "https://login.example.com"',
    'client_id = "orders"',
    'email_domains = ["*"]',
    'upstreams = ["http://127.0.0.1:3000"]',
    'redirect_url = "https://orders.example.com/oauth2/callback"',
    ...lines,
  ].join('\n')

void t.test('oauth2-proxy: issuers and audiences of tokens that clients send become issuers of bearer', (t) => {
  const { bearer, remarks } = migrated(
    t,
    'proxy.cfg',
    oauth2Proxy(
      'skip_jwt_bearer_tokens = true',
      'oidc_extra_audiences = ["mcp"]',
      'extra_jwt_issuers = ["https://login.example.com=api", "https://token.actions.githubusercontent.com=deploy", "x"]',
    ),
  )
  t.same(bearer, {
    audience: ['orders', 'mcp', 'api'],
    issuers: [{ issuer: 'https://token.actions.githubusercontent.com', audience: ['deploy', 'mcp'] }],
  })
  t.match(remarks, /gap extra_jwt_issuers: an item that is not ISSUER=AUDIENCE/)
  t.match(remarks, /differs extra_jwt_issuers: .*jwksUri/)
  t.end()
})

void t.test('oauth2-proxy: without skip_jwt_bearer_tokens no token is accepted', (t) => {
  const { bearer, remarks } = migrated(
    t,
    'proxy.cfg',
    oauth2Proxy('oidc_extra_audiences = ["mcp"]', 'extra_jwt_issuers = ["https://ci.example.com=x"]'),
  )
  t.equal(bearer, undefined)
  t.match(remarks, /gap oidc_extra_audiences: carried over together with skip_jwt_bearer_tokens/)
  t.match(remarks, /gap extra_jwt_issuers: carried over together with skip_jwt_bearer_tokens/)
  t.end()
})

const apache = (...lines: string[]): string =>
  [
    'ServerName orders.example.com',
    'OIDCRedirectURI https://orders.example.com/callback',
    'OIDCProviderMetadataURL https://login.example.com/.well-known/openid-configuration',
    'OIDCClientID orders',
    'OIDCClientSecret s3cret',
    'ProxyPass / http://127.0.0.1:3000/',
    ...lines,
    '<Location />',
    '  AuthType auth-openidc',
    '  Require valid-user',
    '</Location>',
  ].join('\n')

void t.test('Apache: the introspection endpoint becomes an endpoint of the provider', (t) => {
  const { bearer, provider, remarks } = migrated(
    t,
    'site.conf',
    apache(
      'OIDCOAuthClientID orders',
      'OIDCOAuthClientSecret another',
      'OIDCOAuthIntrospectionEndpoint https://login.example.com/introspect',
      'OIDCOAuthVerifyAudience api://orders',
    ),
  )
  t.same(bearer, { audience: ['api://orders'] })
  t.match(provider, { endpoints: { introspection: 'https://login.example.com/introspect' } })
  t.match(remarks, /builtin OIDCOAuthClientID/)
  t.match(remarks, /differs OIDCOAuthClientSecret: the gateway uses one client for logins and introspection/)
  t.notMatch(remarks, /another/)
  t.end()
})

void t.test('Apache: tokens of another issuer, with its keys, become an issuer of bearer', (t) => {
  const keys = 'OIDCOAuthVerifyJwksUri https://ci.example.com/keys'
  const { bearer, remarks } = migrated(
    t,
    'site.conf',
    apache('OIDCOAuthVerifyAudience api://orders', 'OIDCOAuthVerifyIssuer https://ci.example.com', keys),
  )
  t.same(bearer, {
    audience: ['api://orders'],
    issuers: [{ issuer: 'https://ci.example.com', jwksUri: 'https://ci.example.com/keys' }],
  })
  t.match(remarks, /security OIDCOAuthVerifyIssuer: tokens of the provider itself/)
  const own = migrated(
    t,
    'site.conf',
    apache('OIDCOAuthVerifyAudience a', 'OIDCOAuthVerifyIssuer https://login.example.com/'),
  )
  t.same(own.bearer, { audience: ['a'] })
  const without = migrated(t, 'site.conf', apache('OIDCOAuthVerifyAudience a', keys))
  t.same(without.bearer, { audience: ['a'] })
  t.match(without.remarks, /gap OIDCOAuthVerifyJwksUri: .*add issuer and jwksUri to bearer\.issuers/)
  t.end()
})

void t.test('Apache: a pure resource server gets its client and provider from OIDCOAuth…', (t) => {
  const { provider } = migrated(
    t,
    'site.conf',
    [
      'ServerName orders.example.com',
      'OIDCOAuthServerMetadataURL https://login.example.com/.well-known/oauth-authorization-server',
      'OIDCOAuthClientID api',
      'OIDCOAuthClientSecret s3cret',
      'OIDCOAuthVerifyAudience a',
      'ProxyPass / http://127.0.0.1:3000/',
      '<Location />',
      '  AuthType oauth20',
      '  Require valid-user',
      '</Location>',
    ].join('\n'),
  )
  t.match(provider, {
    issuer: 'https://login.example.com',
    metadataUrl: 'https://login.example.com/.well-known/oauth-authorization-server',
    clientId: 'api',
    clientSecret: '${OIDC_CLIENT_SECRET}',
  })
  t.end()
})
