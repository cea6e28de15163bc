import t from 'tap'
import { accessRuleOf, allOf } from '../../src/migrate/condition.ts'
import { migrateFiles } from '../../src/migrate/migrate.ts'

/** What becomes of the keys of the provider, by path, without the client. */
const providerOf = (text: string): Record<string, unknown> => {
  const { parts } = migrateFiles([{ name: 'one', text }])
  return Object.fromEntries(
    parts
      .filter(
        ({ path: [section, name = ''] }) => section === 'provider' && !['clientId', 'clientSecret'].includes(name),
      )
      .map(({ path, value }) => [path.slice(1).join('.'), value]),
  )
}

const remarksOf = (text: string): string =>
  migrateFiles([{ name: 'one', text }])
    .remarks.map(({ grade, setting, text: said }) => `${grade} ${setting?.key ?? ''}: ${said}`)
    .join('\n')

const oauth2Proxy: readonly [written: string, becomes: Record<string, unknown>][] = [
  ['', { issuer: 'https://accounts.google.com' }],
  ['provider = "gitlab"', { issuer: 'https://gitlab.com' }],
  [
    'provider = "gitlab"\noidc_issuer_url = "https://git.example.com"',
    { issuer: 'https://git.example.com', preset: 'gitlab' },
  ],
  [
    'provider = "azure"\nazure_tenant = "contoso.com"',
    { issuer: 'https://login.microsoftonline.com/contoso.com/v2.0' },
  ],
  ['provider = "entra-id"', { issuer: 'https://login.microsoftonline.com/common/v2.0' }],
  [
    'provider = "entra-id"\noidc_issuer_url = "https://login.microsoftonline.us/contoso.com/v2.0"',
    { issuer: 'https://login.microsoftonline.us/contoso.com/v2.0' },
  ],
  [
    'provider = "keycloak-oidc"\noidc_issuer_url = "https://login.example.com/realms/a"',
    { issuer: 'https://login.example.com/realms/a', preset: 'keycloak' },
  ],
  [
    'provider = "keycloak"\nlogin_url = "https://login.example.com/realms/a/protocol/openid-connect/auth"\n' +
      'redeem_url = "https://login.example.com/realms/a/protocol/openid-connect/token"',
    { issuer: 'https://login.example.com/realms/a', preset: 'keycloak' },
  ],
  [
    'provider = "adfs"\noidc_issuer_url = "https://sts.example.com/adfs"',
    { issuer: 'https://sts.example.com/adfs', preset: 'adfs' },
  ],
  ['provider = "linkedin"', { issuer: 'https://www.linkedin.com/oauth' }],
  ['provider = "login.gov"', { issuer: 'https://secure.login.gov' }],
  ['provider = "cidaas"\noidc_issuer_url = "https://example.cidaas.de"', { issuer: 'https://example.cidaas.de' }],
  ['provider = "github"', { preset: 'github' }],
  ['provider = "github"\nscope = "read:org user:email"', { preset: 'github', scopes: ['read:org', 'user:email'] }],
  ['provider = "bitbucket"', { preset: 'bitbucket' }],
  [
    'provider = "gitea"\nlogin_url = "https://git.example.com/login/oauth/authorize"',
    { preset: 'gitea', issuer: 'https://git.example.com' },
  ],
  [
    'provider = "oidc"\noidc_issuer_url = "https://login.example.com"\nskip_oidc_discovery = true\n' +
      'login_url = "https://login.example.com/auth"\nredeem_url = "http://keycloak:8080/token"\n' +
      'oidc_jwks_url = "http://keycloak:8080/keys"\nprofile_url = "http://keycloak:8080/me"',
    {
      'issuer': 'https://login.example.com',
      'endpoints.authorization': 'https://login.example.com/auth',
      'endpoints.token': 'http://keycloak:8080/token',
      'endpoints.jwks': 'http://keycloak:8080/keys',
      'endpoints.userinfo': 'http://keycloak:8080/me',
      'allowHttp': true,
    },
  ],
  [
    'provider = "oidc"\noidc_issuer_url = "https://login.example.com"\nlogin_url = "https://other.example.com/auth"',
    { issuer: 'https://login.example.com' },
  ],
]

void t.test('oauth2-proxy: the type of provider, its issuer and its endpoints', async (t) => {
  for (const [written, becomes] of oauth2Proxy) t.same(providerOf(`client_id = "x"\n${written}\n`), becomes, written)
})

void t.test('oauth2-proxy: what the report says about the provider', async (t) => {
  const said = (written: string): string => remarksOf(`client_id = "x"\nemail_domains = "*"\n${written}\n`)
  t.match(said(''), /differs : the preset google sends access_type: offline and prompt: consent/)
  t.match(said('provider = "azure"'), /security provider: users of every tenant can log in, as before: require tid/)
  t.match(said('provider = "facebook"'), /gap provider: the provider facebook may only support OAuth 2\.0/)
  t.notMatch(said('provider = "github"'), /gap provider|offline_access|no issuer is given/)
  t.match(
    said('provider = "oidc"\noidc_issuer_url = "https://a.example"\nlogin_url = "https://b.example"'),
    /builtin login_url: the endpoints and keys come from/,
  )
})

void t.test('oauth2-proxy: teams and users of GitHub become rules', async (t) => {
  const ruleOf = (written: string): unknown => {
    const text = `client_id = "x"\nprovider = "github"\nemail_domains = "*"\n${written}\n`
    return accessRuleOf(allOf(migrateFiles([{ name: 'one', text }]).routeDefaults.conditions))
  }
  t.match(ruleOf('github_org = "acme"\ngithub_team = "ops,admins"'), {
    claims: { groups: ['acme/ops', 'acme/admins'] },
  })
  t.match(ruleOf('github_team = "acme:ops"'), { claims: { groups: ['acme/ops'] } })
  t.match(ruleOf('github_org = "acme"'), { claims: { groups: ['acme/*'] } })
  t.match(ruleOf('github_users = ["alice"]'), { claims: { preferred_username: ['alice'] } })
})

const apache: readonly [written: string, becomes: Record<string, unknown>][] = [
  [
    'OIDCProviderMetadataURL https://login.example.com/realms/a/.well-known/openid-configuration',
    { issuer: 'https://login.example.com/realms/a' },
  ],
  [
    'OIDCProviderMetadataURL http://keycloak:8080/realms/a/.well-known/openid-configuration\n' +
      'OIDCProviderIssuer https://login.example.com/realms/a',
    {
      issuer: 'https://login.example.com/realms/a',
      metadataUrl: 'http://keycloak:8080/realms/a/.well-known/openid-configuration',
      allowHttp: true,
    },
  ],
  [
    'OIDCProviderMetadataURL "https://login.example.com/.well-known/openid-configuration?p=B2C_1_signin"',
    {
      issuer: 'https://login.example.com',
      metadataUrl: 'https://login.example.com/.well-known/openid-configuration?p=B2C_1_signin',
    },
  ],
  [
    'OIDCProviderIssuer https://login.example.com\nOIDCProviderAuthorizationEndpoint https://login.example.com/auth\n' +
      'OIDCProviderTokenEndpoint https://login.example.com/token\nOIDCProviderJwksUri https://login.example.com/keys\n' +
      'OIDCProviderUserInfoEndpoint https://login.example.com/me\n' +
      'OIDCProviderEndSessionEndpoint https://login.example.com/logout\n' +
      'OIDCProviderRevocationEndpoint https://login.example.com/revoke\n' +
      'OIDCProviderPushedAuthorizationRequestEndpoint https://login.example.com/par',
    {
      'issuer': 'https://login.example.com',
      'endpoints.authorization': 'https://login.example.com/auth',
      'endpoints.token': 'https://login.example.com/token',
      'endpoints.jwks': 'https://login.example.com/keys',
      'endpoints.userinfo': 'https://login.example.com/me',
      'endpoints.endSession': 'https://login.example.com/logout',
      'endpoints.revocation': 'https://login.example.com/revoke',
      'endpoints.pushedAuthorization': 'https://login.example.com/par',
    },
  ],
  [
    'OIDCProviderIssuer https://login.example.com\nOIDCOutgoingProxy proxy.example.com:3128\nOIDCIDTokenIatSlack 600\n' +
      'OIDCProviderMetadataRefreshInterval 3600',
    {
      issuer: 'https://login.example.com',
      proxy: 'http://proxy.example.com:3128',
      clockTolerance: '10m',
      metadataAge: '1h',
    },
  ],
  [
    'OIDCProviderIssuer https://login.example.com\nOIDCOutgoingProxy proxy.example.com:3128 alice:hush basic',
    { issuer: 'https://login.example.com', proxy: 'http://proxy.example.com:3128' },
  ],
]

void t.test('mod_auth_openidc: the document, the endpoints, the proxy and the clock', async (t) => {
  for (const [written, becomes] of apache) {
    const provider = providerOf(`OIDCClientID x\n${written}\n`)
    t.match(provider, becomes, written)
    t.equal('metadataUrl' in provider, 'metadataUrl' in becomes, written)
  }
})

void t.test('Wonderwall: a document whose URL is not below the issuer becomes metadataUrl', async (t) => {
  const of = (url: string): Record<string, unknown> =>
    providerOf(`WONDERWALL_LOG_LEVEL=info\nWONDERWALL_OPENID_WELL_KNOWN_URL=${url}\n`)
  t.same(of('https://login.example.com/a/.well-known/openid-configuration'), { issuer: 'https://login.example.com/a' })
  t.same(of('https://login.example.com/.well-known/oauth-authorization-server'), {
    issuer: 'https://login.example.com',
    metadataUrl: 'https://login.example.com/.well-known/oauth-authorization-server',
  })
})
