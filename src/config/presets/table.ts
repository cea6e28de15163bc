import type { ProviderSection } from '../schema.ts'
import type { ApiBases, UserApi } from './apis.ts'

type Provider = ProviderSection

/** What the provider calls the URLs to register, or `null` for a URL that it has no setting for. */
export interface RegistrationNames {
  readonly redirect?: string
  readonly postLogout?: string | null
  readonly backchannel?: string | null
  readonly frontchannel?: string | null
  /** The provider's setting for `initiate_login_uri`. */
  readonly login?: string
}

/**
 * What is known about a provider. A row names only what the provider's metadata does not say. The members from `issuer`
 * to `logoutUrl` are defaults of configuration keys, so what the operator writes takes precedence. `tolerate` adds to
 * the key.
 */
export interface Preset {
  readonly name: Exclude<Provider['preset'], 'auto' | 'none'>
  /** The name of the provider or product. */
  readonly title: string
  /** What is special about the provider, for docs/providers.md: sentences in Markdown. */
  readonly note: string
  /** Other words than those of the specifications. */
  readonly registration?: RegistrationNames
  /** The provider's hosts. A self-hosted product has none. */
  readonly hosts?: RegExp
  /** The path of the issuer, if the host has several kinds of issuers. */
  readonly issuerPath?: RegExp
  /** The path of the token endpoint of a self-hosted product. */
  readonly tokenPath?: RegExp
  /** Issuers that the provider's metadata may contain in place of the configured one. */
  readonly issuers?: RegExp
  /** The paths of issuers that cover all tenants. */
  readonly allTenants?: RegExp
  /**
   * The `iss` of access tokens if it differs from the issuer. The tenant of the issuer is filled in for `{tenantid}`.
   */
  readonly accessTokenIssuer?: string
  /** The claim that names the client in access tokens without an `aud`. */
  readonly audienceClaim?: string
  /** The claim that names the client in access tokens without `client_id` and `azp`. */
  readonly clientClaim?: string
  /**
   * `false` if the provider issues refresh tokens without the scope `offline_access` or refuses this scope. By default,
   * the provider's metadata decides.
   */
  readonly needsOfflineAccess?: false
  /** The parameters that the provider ignores in a pushed authorization request. */
  readonly lostWhenPushed?: readonly string[]
  /** The claim in which the provider puts the user's groups or roles. */
  readonly groupClaim?: string
  /** The API of a provider without OpenID Connect, which has no discovery document, keys or ID tokens. */
  readonly api?: UserApi
  readonly apiBases?: ApiBases
  /** Other issuers that an authorization response may name, as templates with `{issuer}`. */
  readonly responseIssuers?: readonly string[]
  /** The standard error that an error of the provider means, by `error` or by `error: error_description`. */
  readonly errors?: Readonly<Record<string, string>>
  /**
   * The client secret is a JWT for this audience, which the gateway signs with `privateKey` (ES256; `kid` is `keyId`,
   * `iss` is `teamId`, `sub` is `clientId`), unless `clientSecret` is set.
   */
  readonly clientSecretJwt?: { readonly audience: string }
  /** The issuer of a provider that has only one. */
  readonly issuer?: string
  /** Templates with `{issuer}`, `{api}` (by `apiBases`) and `{userinfo}`. */
  readonly endpoints?: Partial<Provider['endpoints']>
  /** `{client_id}` stands for the client ID. */
  readonly scopes?: readonly string[]
  readonly authorizationParameters?: Provider['authorizationParameters']
  readonly clientAuthentication?: Exclude<Provider['clientAuthentication'], null>
  readonly responseMode?: NonNullable<Provider['responseMode']>
  /** The template of `logout.url`. `{issuer}` stands for the issuer without a slash at the end. */
  readonly logoutUrl?: string
  readonly tolerate?: Provider['tolerate']
}

const WITHOUT_LOGOUT = { postLogout: null, backchannel: null, frontchannel: null } satisfies RegistrationNames

/** Entra sends browsers after a logout only to redirect URIs. */
const ofEntra = {
  redirect: 'Redirect URI (platform Web)',
  postLogout: 'Redirect URI (platform Web)',
  backchannel: null,
  frontchannel: 'Front-channel logout URL',
} satisfies RegistrationNames

const ENTRA_HOSTS = 'login\\.microsoftonline\\.(?:com|us)|login\\.partner\\.microsoftonline\\.cn'
const ALL_TENANTS = /^\/(?:common|organizations|consumers|\{tenantid\}|%7Btenantid%7D)(?:\/v2\.0)?\/?$/

const entraTenants = {
  hosts: new RegExp(`^(?:${ENTRA_HOSTS})$`),
  // The configured issuer may name a tenant by its domain, but tokens name the tenant id. Version 1 tokens also name
  // another host.
  issuers: new RegExp(`^https://(?:${ENTRA_HOSTS}|sts\\.windows\\.net|sts\\.chinacloudapi\\.cn)/`),
  // An API whose manifest does not ask for version 2 receives version 1 access tokens from the version 2 endpoint.
  accessTokenIssuer: 'https://sts.windows.net/{tenantid}/',
  // Version 1 access tokens name the client in `appid`.
  clientClaim: 'appid',
  groupClaim: 'groups',
} satisfies Partial<Preset>

/** Providers that are not in this list behave as their metadata says. The first row that matches applies. */
export const presets: readonly Preset[] = [
  {
    name: 'entra-multitenant',
    title: 'Microsoft Entra ID, all tenants',
    registration: ofEntra,
    note:
      'The issuer in the document is a template. Before the gateway compares the issuer of a token, it fills in the ' +
      '`tid` of the token. `gatehouse check` warns if no route requires `tid`.',
    ...entraTenants,
    issuerPath: ALL_TENANTS,
    allTenants: /^\//,
    issuer: 'https://login.microsoftonline.com/organizations/v2.0',
  },
  {
    name: 'entra',
    title: 'Microsoft Entra ID',
    registration: ofEntra,
    note:
      "Entra ends the gateway's sessions through the front-channel logout URL only, and sends `sid` without `iss`. " +
      'ID tokens have `auth_time`, which `require.maxAge` needs, only as an optional claim.',
    ...entraTenants,
    allTenants: ALL_TENANTS,
  },
  {
    name: 'entra-external',
    title: 'Microsoft Entra External ID',
    registration: ofEntra,
    note:
      "The issuer in the document has the tenant ID as its host name. If your `issuer` has the tenant's " +
      'name instead, the gateway still accepts it.',
    hosts: /^[a-z0-9-]+\.ciamlogin\.com$/,
    issuers: /^https:\/\/[a-z0-9-]+\.ciamlogin\.com\//,
    groupClaim: 'groups',
  },
  {
    name: 'b2c',
    title: 'Azure AD B2C',
    registration: { ...ofEntra, frontchannel: null },
    note:
      'Azure AD B2C returns no access token for the usual scopes, so the login requests the client ID as a scope. ' +
      'Refresh tokens need `offline_access`, which the document does not list.',
    hosts: /^[a-z0-9-]+\.b2clogin\.(?:com|us|cn)$/,
    issuers: /^https:\/\/[a-z0-9-]+\.b2clogin\.(?:com|us|cn)\//,
    scopes: ['openid', 'profile', 'offline_access', '{client_id}'],
  },
  {
    name: 'adfs',
    title: 'AD FS',
    registration: {
      redirect: 'Redirect URI',
      postLogout: 'Redirect URI',
      backchannel: null,
      frontchannel: 'LogoutUri',
    },
    note:
      'AD FS issues refresh tokens without `offline_access`. The `iss` of access tokens is ' +
      '`access_token_issuer` of the document (`…/adfs/services/trust`), which the gateway accepts for ' +
      '`bearer`.',
    tokenPath: /\/adfs\/oauth2\/token\/?$/,
    needsOfflineAccess: false,
  },
  {
    name: 'google',
    title: 'Google',
    registration: { redirect: 'Authorized redirect URIs', ...WITHOUT_LOGOUT },
    note:
      'Google answers `invalid_scope` to `offline_access`. It issues a refresh token only with ' +
      '`access_type=offline`, and at a later login of the same user only with `prompt=consent`. Google has ' +
      'no logout for applications. If a refresh token is revoked, Google revokes the whole grant of the ' +
      'user.',
    hosts: /^accounts\.google\.com$/,
    needsOfflineAccess: false,
    issuer: 'https://accounts.google.com',
    scopes: ['openid', 'profile', 'email'],
    authorizationParameters: { access_type: 'offline', prompt: 'consent' },
  },
  {
    name: 'cognito',
    title: 'Amazon Cognito',
    registration: { ...WITHOUT_LOGOUT, redirect: 'Allowed callback URLs', postLogout: 'Allowed sign-out URLs' },
    note:
      'Cognito answers `invalid_scope` to `offline_access` and to each scope that the app client does not have. Its ' +
      'logout endpoint has parameters of its own. Access tokens have `client_id` in place of `aud`.',
    hosts: /^cognito-idp\.[a-z0-9-]+\.amazonaws\.com$/,
    audienceClaim: 'client_id',
    needsOfflineAccess: false,
    groupClaim: 'cognito:groups',
    scopes: ['openid', 'email'],
    logoutUrl: '{end_session_endpoint}?client_id={client_id}&logout_uri={post_logout_redirect_uri}',
  },
  {
    name: 'auth0',
    title: 'Auth0',
    registration: { redirect: 'Allowed Callback URLs', postLogout: 'Allowed Logout URLs', frontchannel: null },
    note:
      'The logout goes to `/v2/logout`, which each tenant has, rather than to the `end_session_endpoint`, ' +
      'which a tenant may not have. Auth0 adds roles to a token only if you configure it.',
    hosts: /^(?:[a-z0-9-]+\.)+auth0\.com$/,
    logoutUrl: '{issuer}/v2/logout?client_id={client_id}&returnTo={post_logout_redirect_uri}',
    errors: { 'access_denied: Unauthorized': 'invalid_client' },
  },
  {
    name: 'okta',
    title: 'Okta',
    registration: {
      ...WITHOUT_LOGOUT,
      redirect: 'Sign-in redirect URIs',
      postLogout: 'Sign-out redirect URIs',
      login: 'Initiate login URI',
    },
    note:
      'Okta issues refresh tokens only to applications with the grant type "Refresh Token". The claim `groups` needs ' +
      'a groups claim filter and the scope `groups`.',
    hosts: /^[a-z0-9-]+\.(?:okta|oktapreview|okta-emea|okta-gov)\.com$/,
    clientClaim: 'cid',
    groupClaim: 'groups',
  },
  {
    name: 'keycloak',
    title: 'Keycloak',
    registration: {
      redirect: 'Valid redirect URIs',
      postLogout: 'Valid post logout redirect URIs',
      backchannel: 'Backchannel logout URL',
      frontchannel: null,
    },
    note:
      'Keycloak issues refresh tokens without `offline_access`. A login that requests this scope ends single sign-on. ' +
      'Keycloak ignores `acr_values` and `kc_idp_hint` in a pushed authorization request.',
    tokenPath: /\/realms\/[^/]+\/protocol\/openid-connect\/token$/,
    needsOfflineAccess: false,
    lostWhenPushed: ['acr_values', 'kc_idp_hint'],
    groupClaim: 'realm_access.roles',
  },
  {
    name: 'gitlab',
    title: 'GitLab',
    registration: { redirect: 'Redirect URI', ...WITHOUT_LOGOUT },
    note:
      'GitLab answers `invalid_scope` to `offline_access` and to scopes that the application does not ' +
      'have, and issues refresh tokens without `offline_access`. GitLab has no logout for applications.',
    hosts: /^gitlab\.com$/,
    needsOfflineAccess: false,
    groupClaim: 'groups_direct',
    issuer: 'https://gitlab.com',
  },
  {
    name: 'zitadel',
    title: 'ZITADEL',
    registration: { redirect: 'Redirect URIs', postLogout: 'Post Logout URIs', frontchannel: null },
    note:
      'ID tokens have roles, names and email addresses only if the application is configured for that. ' +
      'The roles are the keys of an object; the value of each role lists its organizations.',
    hosts: /^(?:[a-z0-9-]+\.)+zitadel\.cloud$/,
    tokenPath: /^\/oauth\/v2\/token$/,
    groupClaim: 'urn:zitadel:iam:org:project:roles',
  },
  {
    name: 'authentik',
    title: 'authentik',
    registration: {
      redirect: 'Redirect URIs (Strict)',
      backchannel: 'Logout URI (Logout Method Back-channel)',
      frontchannel: null,
    },
    note:
      'authentik issues refresh tokens only for the scope `offline_access`, which a provider in authentik ' +
      'has only after the scope mapping for it is selected.',
    tokenPath: /\/application\/o\/token\/$/,
    groupClaim: 'groups',
  },
  {
    name: 'authelia',
    title: 'Authelia',
    registration: { redirect: 'redirect_uris', ...WITHOUT_LOGOUT },
    note:
      'Authelia lists `offline_access` in its document, but answers `invalid_scope` unless the client has this scope. ' +
      'ID tokens have no `email` and no `groups` unless a claims policy puts them there. Authelia has no logout for ' +
      'applications.',
    tokenPath: /\/api\/oidc\/token$/,
    needsOfflineAccess: false,
    groupClaim: 'groups',
  },
  {
    name: 'dex',
    title: 'Dex',
    registration: { redirect: 'redirectURIs', ...WITHOUT_LOGOUT },
    note: 'The claim `groups` needs the scope `groups` and a connector that provides groups.',
    tokenPath: /\/dex\/token$/,
    groupClaim: 'groups',
  },
  {
    name: 'ping',
    title: 'PingOne and PingFederate',
    registration: { redirect: 'Redirect URIs', postLogout: 'Signoff URLs' },
    note: 'The provider issues refresh tokens only if the application has the grant type "Refresh Token".',
    hosts: /^auth\.pingone\.(?:com|eu|ca|asia|sg|com\.au)$/,
    tokenPath: /^\/as\/token\.oauth2$/,
  },
  {
    name: 'onelogin',
    title: 'OneLogin',
    registration: { ...WITHOUT_LOGOUT, redirect: "Redirect URI's", postLogout: 'Post Logout Redirect URIs' },
    note:
      'OneLogin accepts only the client authentication that the SSO page of the application names. It ' +
      'issues refresh tokens if the application has a refresh token timeout.',
    hosts: /^[a-z0-9-]+\.onelogin\.com$/,
    groupClaim: 'groups',
  },
  {
    name: 'jumpcloud',
    title: 'JumpCloud',
    registration: { redirect: 'Redirect URIs', login: 'Login URL' },
    note:
      'JumpCloud accepts only the client authentication that the SSO page of the application names. It ' +
      'refuses `offline_access` if the application does not have the grant type "Refresh Token".',
    hosts: /^oauth\.id\.jumpcloud\.com$/,
    issuer: 'https://oauth.id.jumpcloud.com/',
  },
  {
    name: 'apple',
    title: 'Sign in with Apple',
    registration: { redirect: 'Return URLs', ...WITHOUT_LOGOUT },
    note:
      'Apple requires `responseMode: form_post` if a login requests `email`. The client secret is a JWT ' +
      'that the gateway makes from `privateKey`, `keyId` and `teamId`. Apple has no logout for ' +
      'applications.',
    hosts: /^appleid\.apple\.com$/,
    needsOfflineAccess: false,
    issuer: 'https://appleid.apple.com',
    scopes: ['openid', 'email'],
    clientAuthentication: 'client_secret_post',
    clientSecretJwt: { audience: 'https://appleid.apple.com' },
    responseMode: 'form_post',
  },
  {
    name: 'slack',
    title: 'Slack',
    registration: { redirect: 'Redirect URLs', ...WITHOUT_LOGOUT },
    note:
      'Users of every workspace that may use the app can log in, so routes should require ' +
      '`https://slack.com/team_id`. Slack has no logout for applications.',
    hosts: /^slack\.com$/,
    needsOfflineAccess: false,
    issuer: 'https://slack.com',
    scopes: ['openid', 'profile', 'email'],
    clientAuthentication: 'client_secret_post',
    errors: { invalid_code: 'invalid_grant', invalid_client_id: 'invalid_client', bad_client_secret: 'invalid_client' },
  },
  {
    name: 'linkedin',
    title: 'LinkedIn',
    registration: { redirect: 'Authorized redirect URLs', ...WITHOUT_LOGOUT },
    note:
      'LinkedIn rejects PKCE together with a client secret, and its ID tokens have no `nonce`, so the ' +
      'preset turns both checks off. LinkedIn issues no refresh tokens to most applications and has no ' +
      'logout for applications.',
    hosts: /^www\.linkedin\.com$/,
    needsOfflineAccess: false,
    issuer: 'https://www.linkedin.com/oauth',
    scopes: ['openid', 'profile', 'email'],
    clientAuthentication: 'client_secret_post',
    tolerate: ['missing-nonce', 'no-pkce'],
  },
  {
    name: 'salesforce',
    title: 'Salesforce',
    registration: { redirect: 'Callback URL', backchannel: null, frontchannel: null },
    note:
      'Salesforce answers `invalid_scope` to scopes that the application does not have. Its front-channel logout names ' +
      'no session, so the gateway cannot act on it.',
    hosts: /^(?:login\.salesforce\.com|test\.salesforce\.com|(?:[a-z0-9-]+\.)+my\.(?:salesforce|site)\.com)$/,
    errors: { invalid_client_id: 'invalid_client' },
  },
  {
    name: 'oracle',
    title: 'Oracle Identity Cloud Service and OCI IAM',
    registration: { redirect: 'Redirect URL', postLogout: 'Post-logout redirect URL' },
    note:
      'The issuer in the document is `https://identity.oraclecloud.com/` for every domain. The gateway ' +
      'accepts that although `issuer` is the URL of your domain. ID tokens have several audiences without ' +
      '`azp`.',
    hosts: /^(?:[a-z0-9-]+\.)*identity\.oraclecloud\.com$/,
    issuers: /^https:\/\/(?:[a-z0-9-]+\.)*identity\.oraclecloud\.com(?::443)?\/?$/,
    tolerate: ['no-azp'],
  },
  {
    name: 'ory-hydra',
    title: 'Ory Hydra and Ory Network',
    registration: {
      redirect: 'redirect_uris',
      postLogout: 'post_logout_redirect_uris',
      backchannel: 'backchannel_logout_uri',
      frontchannel: 'frontchannel_logout_uri',
    },
    note:
      'Ory answers `invalid_scope` to scopes that the client does not have. The consent application decides which claims ' +
      'the ID token has.',
    hosts: /^[a-z0-9-]+\.projects\.oryapis\.com$/,
  },
  {
    name: 'github',
    title: 'GitHub',
    registration: { redirect: 'Callback URL', ...WITHOUT_LOGOUT },
    note:
      'GitHub has no OpenID Connect for users. The gateway reads the user, their email addresses and their ' +
      "teams from GitHub's API. If a code was used before, the token endpoint answers 200 with an `error` " +
      'that no standard defines.',
    hosts: /^(?:github\.com|[a-z0-9-]+\.ghe\.com)$/,
    groupClaim: 'groups',
    issuer: 'https://github.com',
    responseIssuers: ['{issuer}/login/oauth'],
    apiBases: [
      [/^https:\/\/github\.com$/, 'https://api.github.com'],
      [/^https:\/\/([^./]+\.ghe\.com)$/, 'https://api.$1'],
      [/$/, '/api/v3'],
    ],
    endpoints: {
      authorization: '{issuer}/login/oauth/authorize',
      token: '{issuer}/login/oauth/access_token',
      userinfo: '{api}/user',
      groups: '{userinfo}/teams',
    },
    scopes: ['read:org', 'user:email'],
    clientAuthentication: 'client_secret_post',
    errors: {
      bad_verification_code: 'invalid_grant',
      bad_refresh_token: 'invalid_grant',
      incorrect_client_credentials: 'invalid_client',
    },
    api: {
      claims: {
        sub: '{id}',
        preferred_username: '{login}',
        name: '{name}',
        email: '{email}',
        picture: '{avatar_url}',
      },
      emails: {
        path: '/emails',
        query: { per_page: '100' },
        next: 'link',
        address: 'email',
        primary: 'primary',
        verified: 'verified',
      },
      groups: {
        query: { per_page: '100' },
        next: 'link',
        group: ['{organization.login}/{slug}'],
        scopes: ['read:org', 'write:org', 'admin:org', 'repo', 'user'],
      },
    },
  },
  {
    name: 'gitea',
    title: 'Gitea and Forgejo',
    registration: { redirect: 'Redirect URIs', ...WITHOUT_LOGOUT },
    note:
      "With the preset, the gateway reads the user and the user's teams from the API, and ignores the ID " +
      'token. If a code was used before, the token endpoint answers `unauthorized_client`.',
    groupClaim: 'groups',
    apiBases: [[/$/, '/api/v1']],
    endpoints: {
      authorization: '{issuer}/login/oauth/authorize',
      token: '{issuer}/login/oauth/access_token',
      userinfo: '{api}/user',
      groups: '{userinfo}/teams',
    },
    scopes: ['read:user', 'read:organization'],
    clientAuthentication: 'client_secret_post',
    errors: {
      'unauthorized_client: client is not authorized': 'invalid_grant',
      'unauthorized_client: failed PKCE code challenge': 'invalid_grant',
      'unauthorized_client: unable to parse refresh token': 'invalid_grant',
      'unauthorized_client: token was already used': 'invalid_grant',
      'unauthorized_client: invalid client secret': 'invalid_client',
    },
    api: {
      claims: {
        sub: '{id}',
        preferred_username: '{login}',
        name: '{full_name}',
        email: '{email}',
        picture: '{avatar_url}',
      },
      emails: { path: '/emails', next: 'link', address: 'email', primary: 'primary', verified: 'verified' },
      groups: {
        query: { limit: '50' },
        next: 'link',
        group: ['{organization.name}/{name}', '{organization.username}/{name}'],
        scopes: ['read:organization', 'write:organization', 'read:user', 'write:user', 'openid', 'all'],
      },
    },
  },
  {
    name: 'bitbucket',
    title: 'Bitbucket Cloud',
    registration: { redirect: 'Callback URL', ...WITHOUT_LOGOUT },
    note:
      'Bitbucket has no OpenID Connect for users. The gateway reads the user, their email addresses and their ' +
      "workspaces from Bitbucket's API.",
    hosts: /^bitbucket\.org$/,
    groupClaim: 'groups',
    issuer: 'https://bitbucket.org',
    endpoints: {
      authorization: '{issuer}/site/oauth2/authorize',
      token: '{issuer}/site/oauth2/access_token',
      userinfo: 'https://api.bitbucket.org/2.0/user',
      groups: '{userinfo}/workspaces',
    },
    scopes: ['account', 'email'],
    clientAuthentication: 'client_secret_basic',
    api: {
      claims: {
        sub: '{uuid}',
        preferred_username: '{nickname}',
        name: '{display_name}',
        picture: '{links.avatar.href}',
      },
      emails: {
        path: '/emails',
        query: { pagelen: '100' },
        items: 'values',
        next: { url: 'next' },
        address: 'email',
        primary: 'is_primary',
        verified: 'is_confirmed',
      },
      groups: {
        query: { pagelen: '100' },
        items: 'values',
        next: { url: 'next' },
        group: ['{workspace.slug}'],
        scopes: ['account', 'account:write'],
      },
    },
  },
  {
    name: 'discord',
    title: 'Discord',
    registration: { redirect: 'Redirects', ...WITHOUT_LOGOUT },
    note:
      "The gateway reads the user and the ids of their guilds (servers) from Discord's API. It ignores the " +
      'ID token.',
    hosts: /^discord\.com$/,
    groupClaim: 'groups',
    issuer: 'https://discord.com',
    endpoints: {
      authorization: '{issuer}/oauth2/authorize',
      token: '{issuer}/api/oauth2/token',
      revocation: '{issuer}/api/oauth2/token/revoke',
      userinfo: '{issuer}/api/v10/users/@me',
      groups: '{userinfo}/guilds',
    },
    scopes: ['identify', 'email', 'guilds'],
    clientAuthentication: 'client_secret_basic',
    api: {
      claims: {
        sub: '{id}',
        preferred_username: '{username}',
        name: '{global_name}',
        email: '{email}',
        picture: 'https://cdn.discordapp.com/avatars/{id}/{avatar}.png',
      },
      emailVerified: 'verified',
      // A user can be in 200 guilds, which fit into one page.
      groups: { query: { limit: '200' }, next: 'link', group: ['{id}'], scopes: ['guilds'] },
    },
  },
]
