import type { ResolvedConfig } from '../schema.ts'
import type { ApiBases, UserApi } from './apis.ts'

type Provider = ResolvedConfig['provider']

/**
 * What is known about a provider. A row names only what the provider's metadata does not say. The members after
 * `allTenants` are values of configuration keys; what the operator writes takes precedence.
 */
export interface Preset {
  readonly name: Exclude<Provider['preset'], 'auto' | 'none'>
  /** The name of the provider or product. */
  readonly title: string
  /** What is special about the provider, for docs/providers.md: sentences in Markdown. */
  readonly note: string
  /** The provider's hosts. A self-hosted product has none. */
  readonly hosts?: RegExp
  /** The path of the token endpoint of a self-hosted product. */
  readonly tokenPath?: RegExp
  /** Issuers that the provider's metadata may contain in place of the configured one. */
  readonly issuers?: RegExp
  /** The paths of issuers that cover all tenants. */
  readonly allTenants?: RegExp
  /** `false` if the provider issues refresh tokens without the scope `offline_access`. */
  readonly needsOfflineAccess?: boolean
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
  /** The issuer of a provider that has only one. */
  readonly issuer?: string
  /** Templates with `{issuer}`, `{api}` (by `apiBases`) and `{userinfo}`. */
  readonly endpoints?: Partial<Provider['endpoints']>
  readonly scopes?: readonly string[]
  readonly authorizationParameters?: Provider['authorizationParameters']
  readonly clientAuthentication?: Exclude<Provider['clientAuthentication'], null>
  readonly responseMode?: NonNullable<Provider['responseMode']>
  readonly logoutUrl?: string
  readonly tolerate?: Provider['tolerate']
}

const ENTRA_HOSTS = 'login\\.microsoftonline\\.(?:com|us)|login\\.partner\\.microsoftonline\\.cn'

/** Providers that are not in this list behave as their metadata says. */
export const presets: readonly Preset[] = [
  {
    name: 'entra',
    title: 'Microsoft Entra ID',
    note: '',
    hosts: new RegExp(`^(?:${ENTRA_HOSTS})$`),
    // The configured issuer may name a tenant by its domain, but tokens name the tenant id. Version 1 tokens also name
    // another host.
    issuers: new RegExp(`^https://(?:${ENTRA_HOSTS}|sts\\.windows\\.net|sts\\.chinacloudapi\\.cn)/`),
    allTenants: /^\/(?:common|organizations|consumers|\{tenantid\}|%7Btenantid%7D)(?:\/v2\.0)?\/?$/,
  },
  {
    name: 'entra-external',
    title: 'Microsoft Entra External ID',
    note: '',
    hosts: /\.ciamlogin\.com$/,
    issuers: /^https:\/\/[^/]+\.ciamlogin\.com\//,
  },
  {
    name: 'b2c',
    title: 'Azure AD B2C',
    note: '',
    hosts: /\.b2clogin\.com$/,
    issuers: /^https:\/\/[^/]+\.b2clogin\.com\//,
  },
  {
    name: 'keycloak',
    title: 'Keycloak',
    // A first login that requests offline_access ends single sign-on.
    note: '',
    tokenPath: /\/realms\/[^/]+\/protocol\/openid-connect\/token$/,
    needsOfflineAccess: false,
    lostWhenPushed: ['acr_values', 'kc_idp_hint'],
  },
  {
    name: 'github',
    title: 'GitHub',
    note: '',
    hosts: /^(?:github\.com|[^.]+\.ghe\.com)$/,
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
    note: '',
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
    note: '',
    hosts: /^bitbucket\.org$/,
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
    note: '',
    hosts: /^discord\.com$/,
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
