import t from 'tap'
import { reenact, type Quirks } from './reenacted-provider.ts'

const USUAL = ['openid', 'profile', 'email']
const always = (): boolean => true
const never = (): boolean => false
const ifOffline = (parameters: URLSearchParams): boolean =>
  (parameters.get('scope') ?? '').split(' ').includes('offline_access')
/** A provider that lists `offline_access` and issues refresh tokens for it alone. */
const offline: Quirks = {
  scopes: [...USUAL, 'offline_access'],
  issuesRefreshToken: ifOffline,
  document: { scopes_supported: [...USUAL, 'offline_access'] },
}

interface Case {
  readonly title: string
  readonly quirks: Quirks
  readonly settings: object
  /** The parameters of the authorization request; `null` for one that is not sent. */
  readonly sent: Readonly<Record<string, string | null>>
  /** A rule on groups or other claims that the ID token satisfies. */
  readonly rule?: Readonly<Record<string, readonly string[]>>
  readonly refreshes: boolean
}

const tenant = '8d2f4c1b-6a57-4e93-9b0e-51c7d8a2f340'

const cases: readonly Case[] = [
  {
    title: 'entra: offline_access is requested, and application roles are a claim',
    settings: { preset: 'entra' },
    quirks: { ...offline, claims: { tid: tenant, roles: ['orders.admin'], groups: [tenant] } },
    sent: { scope: 'openid profile email offline_access' },
    rule: { roles: ['orders.admin'], groups: [tenant] },
    refreshes: true,
  },
  {
    title: 'b2c: the client ID is a scope, because there is no access token without it',
    settings: { preset: 'b2c', clientId: tenant },
    quirks: {
      scopes: ['openid', 'profile', 'offline_access', tenant],
      issuesRefreshToken: ifOffline,
      document: { scopes_supported: ['openid'] },
      members: (login) => ((login.get('scope') ?? '').includes(tenant) ? {} : { access_token: undefined }),
      claims: { emails: ['alice@example.com'] },
    },
    sent: { scope: `openid profile offline_access ${tenant}` },
    rule: { emails: ['alice@example.com'] },
    refreshes: true,
  },
  {
    title: 'google: offline_access is refused, and a refresh token needs access_type and prompt',
    settings: { preset: 'google' },
    quirks: {
      scopes: USUAL,
      issuesRefreshToken: (login) => login.get('access_type') === 'offline' && login.get('prompt') === 'consent',
      document: { scopes_supported: ['openid', 'email', 'profile'] },
      claims: { hd: 'example.com' },
    },
    sent: { scope: 'openid profile email', access_type: 'offline', prompt: 'consent' },
    rule: { hd: ['example.com'] },
    refreshes: true,
  },
  {
    title: 'cognito: only the scopes that an app client has by default are requested',
    settings: { preset: 'cognito' },
    quirks: {
      scopes: ['openid', 'email', 'phone'],
      issuesRefreshToken: always,
      document: { scopes_supported: ['openid', 'email', 'phone', 'profile'] },
      claims: { 'cognito:groups': ['admins'], 'token_use': 'id' },
    },
    sent: { scope: 'openid email' },
    rule: { 'cognito:groups': ['admins'] },
    refreshes: true,
  },
  {
    title: 'auth0: roles are a claim with a URL as its name',
    settings: { preset: 'auth0' },
    quirks: { ...offline, claims: { 'https://example.com/roles': ['admin'] } },
    sent: { scope: 'openid profile email offline_access' },
    rule: { 'https://example.com/roles': ['admin'] },
    refreshes: true,
  },
  {
    title: 'okta: the scope groups is requested if it is configured',
    settings: { preset: 'okta', scopes: [...USUAL, 'offline_access', 'groups'] },
    quirks: { ...offline, scopes: [...offline.scopes, 'groups'], claims: { groups: ['Admins'] } },
    sent: { scope: 'openid profile email offline_access groups' },
    rule: { groups: ['Admins'] },
    refreshes: true,
  },
  {
    title: 'keycloak: offline_access is not requested although the document lists it',
    settings: {},
    quirks: {
      path: '/realms/example',
      scopes: USUAL,
      issuesRefreshToken: always,
      document: {
        token_endpoint: '/realms/example/protocol/openid-connect/token',
        scopes_supported: [...USUAL, 'offline_access', 'roles'],
      },
      claims: { realm_access: { roles: ['admin'] } },
    },
    sent: { scope: 'openid profile email' },
    rule: { 'realm_access.roles': ['admin'] },
    refreshes: true,
  },
  {
    title: 'adfs: refresh tokens come without offline_access',
    settings: {},
    quirks: {
      path: '/adfs',
      scopes: USUAL,
      issuesRefreshToken: always,
      document: { token_endpoint: '/adfs/oauth2/token/', scopes_supported: [...USUAL, 'allatclaims'] },
      claims: { group: ['Orders Admins'] },
    },
    sent: { scope: 'openid profile email' },
    rule: { group: ['Orders Admins'] },
    refreshes: true,
  },
  {
    title: 'gitlab: offline_access is refused, and direct groups are in the ID token',
    settings: { preset: 'gitlab' },
    quirks: {
      scopes: USUAL,
      issuesRefreshToken: always,
      document: { scopes_supported: ['api', 'read_user', ...USUAL] },
      claims: { groups_direct: ['example/admins'] },
    },
    sent: { scope: 'openid profile email' },
    rule: { groups_direct: ['example/admins'] },
    refreshes: true,
  },
  {
    title: 'zitadel: a rule names the role and the organization',
    settings: {},
    quirks: {
      ...offline,
      document: { ...offline.document, token_endpoint: '/oauth/v2/token' },
      claims: { 'urn:zitadel:iam:org:project:roles': { admin: { '2847': 'example.zitadel.cloud' } } },
    },
    sent: { scope: 'openid profile email offline_access' },
    rule: { 'urn:zitadel:iam:org:project:roles.admin.2847': ['example.zitadel.cloud'] },
    refreshes: true,
  },
  {
    title: 'authentik: without its scope mapping, offline_access is not in the document and is not requested',
    settings: {},
    quirks: {
      path: '/application/o/orders',
      scopes: USUAL,
      issuesRefreshToken: ifOffline,
      document: { token_endpoint: '/application/o/token/', scopes_supported: USUAL },
      claims: { groups: ['Orders Admins'] },
    },
    sent: { scope: 'openid profile email' },
    rule: { groups: ['Orders Admins'] },
    refreshes: false,
  },
  {
    title: 'authelia: offline_access is in the document, but a client does not have it by default',
    settings: {},
    quirks: {
      scopes: [...USUAL, 'groups'],
      issuesRefreshToken: ifOffline,
      document: { token_endpoint: '/api/oidc/token', scopes_supported: ['offline_access', ...USUAL, 'groups'] },
    },
    sent: { scope: 'openid profile email' },
    refreshes: false,
  },
  {
    title: 'authelia: with offline_access on both sides, the session is refreshed',
    settings: { scopes: [...USUAL, 'groups', 'offline_access'] },
    quirks: {
      scopes: [...USUAL, 'groups', 'offline_access'],
      issuesRefreshToken: ifOffline,
      document: { token_endpoint: '/api/oidc/token', scopes_supported: ['offline_access', ...USUAL, 'groups'] },
      claims: { groups: ['admins'] },
    },
    sent: { scope: 'openid profile email groups offline_access' },
    rule: { groups: ['admins'] },
    refreshes: true,
  },
  {
    title: 'dex: groups come with the scope groups',
    settings: { scopes: [...USUAL, 'groups', 'offline_access'] },
    quirks: {
      path: '/dex',
      scopes: [...USUAL, 'groups', 'offline_access'],
      issuesRefreshToken: ifOffline,
      document: { token_endpoint: '/dex/token', scopes_supported: [...USUAL, 'groups', 'offline_access'] },
      claims: { groups: ['example:admins'] },
    },
    sent: { scope: 'openid profile email groups offline_access' },
    rule: { groups: ['example:admins'] },
    refreshes: true,
  },
  {
    title: 'onelogin: a refresh token comes without offline_access, for the client authentication of the application',
    settings: { preset: 'onelogin', clientAuthentication: 'client_secret_basic' },
    quirks: {
      scopes: [...USUAL, 'groups'],
      issuesRefreshToken: always,
      document: {
        scopes_supported: ['openid', 'name', 'profile', 'groups', 'email', 'params', 'phone'],
        token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
      },
      clientAuthentication: 'client_secret_basic',
    },
    sent: { scope: 'openid profile email' },
    refreshes: true,
  },
  {
    title: 'slack: the secret is in the form, and there is no refresh token',
    settings: { preset: 'slack' },
    quirks: {
      scopes: USUAL,
      issuesRefreshToken: never,
      document: { scopes_supported: USUAL },
      clientAuthentication: 'client_secret_post',
      claims: { 'https://slack.com/team_id': 'T0123ABCD' },
      members: () => ({ ok: true, expires_in: undefined }),
    },
    sent: { scope: 'openid profile email' },
    rule: { 'https://slack.com/team_id': ['T0123ABCD'] },
    refreshes: false,
  },
  ...['ping', 'jumpcloud', 'salesforce', 'ory-hydra', 'entra-external'].map((preset): Case => ({
    title: `${preset}: offline_access is requested, because the document lists it`,
    settings: { preset },
    quirks: offline,
    sent: { scope: 'openid profile email offline_access' },
    refreshes: true,
  })),
]

for (const { title, quirks, settings, sent, rule, refreshes } of cases) {
  void t.test(title, async (t) => {
    const allowed = { path: '/**', require: { claims: rule ?? {} } }
    const refused = { path: '/api/echo/admin', require: { claims: { ...rule, sub: ['bob'] } } }
    const gateway = await reenact(t, quirks, settings, { routes: [allowed, refused] })
    t.equal((await gateway.visit('/api/echo')).status, 200)
    t.equal((await gateway.visit('/api/echo/admin')).status, 403, 'a rule that the claims do not satisfy refuses')
    const [authorization, ...others] = gateway.authorizations
    t.same(others, [])
    for (const [name, value] of Object.entries(sent)) t.equal(authorization?.get(name) ?? null, value, name)
    t.equal(await gateway.refresh(), 200, 'refresh')
    t.same(
      gateway.tokenRequests.map((form) => form.get('grant_type')),
      ['authorization_code', ...(refreshes ? ['refresh_token'] : [])],
    )
  })
}
