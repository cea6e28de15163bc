import t from 'tap'
import { presetOf } from '../../src/config/presets/apply.ts'
import { presets } from '../../src/config/presets/table.ts'
import { brief, key, loadText, problemsOf } from './configuration.ts'

const tenant = '8d2f4c1b-6a57-4e93-9b0e-51c7d8a2f340'

const byIssuer: readonly [issuer: string, preset: string | undefined][] = [
  [`https://login.microsoftonline.com/${tenant}/v2.0`, 'entra'],
  [`https://login.microsoftonline.us/${tenant}/v2.0`, 'entra'],
  [`https://login.partner.microsoftonline.cn/${tenant}/v2.0`, 'entra'],
  ['https://login.microsoftonline.com/contoso.com/v2.0', 'entra'],
  ['https://login.microsoftonline.com/common/v2.0', 'entra-multitenant'],
  ['https://login.microsoftonline.us/organizations/v2.0', 'entra-multitenant'],
  ['https://login.microsoftonline.com/consumers/v2.0', 'entra-multitenant'],
  ['https://login.microsoftonline.com/{tenantid}/v2.0', 'entra-multitenant'],
  [`https://contoso.ciamlogin.com/${tenant}/v2.0`, 'entra-external'],
  ['https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin/v2.0', 'b2c'],
  ['https://contoso.b2clogin.cn/contoso.partner.onmschina.cn/B2C_1_signin/v2.0', 'b2c'],
  ['https://accounts.google.com', 'google'],
  ['https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd', 'cognito'],
  ['https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_Ab12Cd', 'cognito'],
  ['https://example.auth0.com/', 'auth0'],
  ['https://example.eu.auth0.com/', 'auth0'],
  ['https://example.okta.com', 'okta'],
  ['https://example.oktapreview.com/oauth2/default', 'okta'],
  ['https://gitlab.com', 'gitlab'],
  ['https://example-a1b2c3.zitadel.cloud', 'zitadel'],
  ['https://example.us1.zitadel.cloud', 'zitadel'],
  [`https://auth.pingone.com.au/${tenant}/as`, 'ping'],
  ['https://example.onelogin.com/oidc/2', 'onelogin'],
  ['https://oauth.id.jumpcloud.com/', 'jumpcloud'],
  ['https://appleid.apple.com', 'apple'],
  ['https://slack.com', 'slack'],
  ['https://www.linkedin.com/oauth', 'linkedin'],
  ['https://login.salesforce.com', 'salesforce'],
  ['https://example--test.sandbox.my.salesforce.com', 'salesforce'],
  ['https://example.my.site.com/customers', 'salesforce'],
  ['https://identity.oraclecloud.com/', 'oracle'],
  ['https://idcs-0a1b2c3d.identity.oraclecloud.com', 'oracle'],
  ['https://idcs-0a1b2c3d.eu-frankfurt-idcs-1.identity.oraclecloud.com', 'oracle'],
  ['https://example-a1b2c3.projects.oryapis.com', 'ory-hydra'],
  ['https://login.example.com', undefined],
  ['https://login.example.com/realms/example', undefined],
  // Hosts that only resemble a provider's.
  ['https://evil-okta.com.example.org', undefined],
  ['https://evilokta.com', undefined],
  ['https://example.okta.com.evil.example', undefined],
  ['https://okta.com', undefined],
  ['https://accounts.google.com.evil.example', undefined],
  ['https://evil-accounts.google.com', undefined],
  ['https://login.microsoftonline.com.evil.example/common/v2.0', undefined],
  ['https://loginxmicrosoftonline.com/common/v2.0', undefined],
  ['https://evil.example/login.microsoftonline.com/common/v2.0', undefined],
  ['https://cognito-idp.eu-central-1.evil.amazonaws.com/x', undefined],
  ['https://auth0.com.evil.example/', undefined],
  ['https://notauth0.com/', undefined],
  ['https://evilidentity.oraclecloud.com', undefined],
  ['https://slack.com.evil.example', undefined],
  ['https://evil.slack.com', undefined],
]

void t.test('the host of the issuer identifies a provider, and a similar host does not', async (t) => {
  for (const [issuer, name] of byIssuer) t.equal(presetOf({ preset: 'auto', issuer })?.name, name, issuer)
})

const byTokenEndpoint: readonly [tokenEndpoint: string, preset: string | undefined][] = [
  ['https://login.example.com/realms/a/protocol/openid-connect/token', 'keycloak'],
  ['https://login.example.com/auth/realms/a/protocol/openid-connect/token', 'keycloak'],
  ['https://login.example.com/adfs/oauth2/token/', 'adfs'],
  ['https://login.example.com/oauth/v2/token', 'zitadel'],
  ['https://login.example.com/application/o/token/', 'authentik'],
  ['https://login.example.com/api/oidc/token', 'authelia'],
  ['https://login.example.com/dex/token', 'dex'],
  ['https://login.example.com/as/token.oauth2', 'ping'],
  ['https://login.example.com/oauth2/token', undefined],
  ['https://login.example.com/oauth/token', undefined],
  ['https://login.example.com/token?next=/adfs/oauth2/token', undefined],
]

void t.test('the path of the token endpoint identifies a self-hosted product', async (t) => {
  const issuer = 'https://login.example.com'
  for (const [tokenEndpoint, name] of byTokenEndpoint)
    t.equal(presetOf({ preset: 'auto', issuer }, tokenEndpoint)?.name, name, tokenEndpoint)
})

void t.test('preset: none selects none, and a name selects its row whatever the issuer is', async (t) => {
  t.equal(presetOf({ preset: 'none', issuer: 'https://accounts.google.com' }), null)
  for (const { name } of presets) t.equal(presetOf({ preset: name, issuer: 'https://slack.com' })?.name, name)
})

void t.test(
  'a row that only the token endpoint identifies has no settings that are applied before it is known',
  async (t) => {
    const applied = [
      'issuer',
      'scopes',
      'authorizationParameters',
      'clientAuthentication',
      'responseMode',
      'logoutUrl',
      'tolerate',
    ]
    for (const preset of presets.filter(({ hosts, tokenPath }) => hosts === undefined && tokenPath !== undefined))
      t.same(
        applied.filter((name) => name in preset),
        [],
        preset.name,
      )
  },
)

const configuration = (provider: string): string => `publicUrl: https://orders.example.com
upstream: http://127.0.0.1:3000
provider: { clientId: orders, clientSecret: hush, ${provider} }
session: { keys: ["${key}"] }
`

void t.test('a preset fills in what the operator leaves out', async (t) => {
  const folder = t.testdir()
  const load = (provider: string) => loadText(folder, configuration(provider)).config.provider
  t.match(load('issuer: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd"'), {
    preset: 'cognito',
    scopes: ['openid', 'email'],
    logout: { url: '{end_session_endpoint}?client_id={client_id}&logout_uri={post_logout_redirect_uri}' },
  })
  t.match(load('issuer: "https://example.eu.auth0.com/"'), {
    logout: {
      url: 'https://example.eu.auth0.com/v2/logout?client_id={client_id}&returnTo={post_logout_redirect_uri}',
    },
  })
  t.match(load('issuer: "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_signin/v2.0"'), {
    scopes: ['openid', 'profile', 'offline_access', 'orders'],
  })
  t.match(load('preset: google'), {
    issuer: 'https://accounts.google.com',
    authorizationParameters: { access_type: 'offline', prompt: 'consent' },
  })
  t.match(load('preset: linkedin'), {
    clientAuthentication: 'client_secret_post',
    tolerate: ['missing-nonce', 'no-pkce'],
  })
  t.match(load('preset: apple'), { responseMode: 'form_post', scopes: ['openid', 'email'] })
})

void t.test('what the operator writes takes precedence over the preset', async (t) => {
  const folder = t.testdir()
  const written =
    'preset: google, issuer: "https://login.example.com", scopes: [openid], responseMode: form_post, ' +
    'clientAuthentication: client_secret_basic, logout: { url: "https://login.example.com/bye" }, ' +
    'authorizationParameters: { prompt: select_account }'
  t.match(loadText(folder, configuration(written)).config.provider, {
    preset: 'google',
    issuer: 'https://login.example.com',
    scopes: ['openid'],
    responseMode: 'form_post',
    clientAuthentication: 'client_secret_basic',
    logout: { url: 'https://login.example.com/bye' },
    authorizationParameters: { access_type: 'offline', prompt: 'select_account' },
  })
  const none = loadText(folder, configuration('preset: none, issuer: "https://accounts.google.com"')).config.provider
  t.match(none, { preset: 'none', scopes: null, authorizationParameters: {} })
})

void t.test('a name that is not in the table is refused with the closest one', async (t) => {
  const folder = t.testdir()
  const [problem, ...more] = problemsOf(() =>
    loadText(folder, configuration('preset: goggle, issuer: "https://a.example"')),
  )
  t.same(more, [])
  t.match(
    problem === undefined ? '' : brief(problem),
    /^3:\d+ provider\.preset: must be one of .*google.*, not .*goggle.* \| did you mean google\?$/,
  )
})
