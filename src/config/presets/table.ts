import type { ProviderSection } from '../schema.ts'

type Provider = ProviderSection

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
  /** The issuer of a provider that has only one. */
  readonly issuer?: string
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
]
