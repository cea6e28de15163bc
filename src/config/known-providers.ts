/** Behavior of a provider that its metadata does not announce. */
export interface KnownProvider {
  readonly name: string
  /** The provider's hosts, or `null` for self-hosted products. */
  readonly hosts: RegExp | null
  /** The path of the token endpoint of a self-hosted product. */
  readonly tokenPath: RegExp | null
  /** Issuers that the provider's metadata may contain in place of the configured one. */
  readonly issuers: RegExp | null
  /** The paths of issuers that cover all tenants. */
  readonly allTenants: RegExp | null
  /** Whether the provider issues refresh tokens only with the scope `offline_access`. */
  readonly needsOfflineAccess: boolean
  /** The parameters that the provider ignores in a pushed authorization request. */
  readonly lostWhenPushed: readonly string[]
}

const ENTRA_HOSTS = 'login\\.microsoftonline\\.(?:com|us)|login\\.partner\\.microsoftonline\\.cn'

/** Providers that are not in this list behave as their metadata says. */
const knownProviders: readonly KnownProvider[] = [
  {
    name: 'entra',
    hosts: new RegExp(`^(?:${ENTRA_HOSTS})$`),
    tokenPath: null,
    // The configured issuer may name a tenant by its domain, but tokens name the tenant id. Version 1 tokens also name
    // another host.
    issuers: new RegExp(`^https://(?:${ENTRA_HOSTS}|sts\\.windows\\.net|sts\\.chinacloudapi\\.cn)/`),
    allTenants: /^\/(?:common|organizations|consumers|\{tenantid\}|%7Btenantid%7D)(?:\/v2\.0)?\/?$/,
    needsOfflineAccess: true,
    lostWhenPushed: [],
  },
  {
    name: 'entra-external',
    hosts: /\.ciamlogin\.com$/,
    tokenPath: null,
    issuers: /^https:\/\/[^/]+\.ciamlogin\.com\//,
    allTenants: null,
    needsOfflineAccess: true,
    lostWhenPushed: [],
  },
  {
    name: 'b2c',
    hosts: /\.b2clogin\.com$/,
    tokenPath: null,
    issuers: /^https:\/\/[^/]+\.b2clogin\.com\//,
    allTenants: null,
    needsOfflineAccess: true,
    lostWhenPushed: [],
  },
  {
    // Keycloak issues refresh tokens without offline_access. A first login that requests that scope ends single
    // sign-on.
    name: 'keycloak',
    hosts: null,
    tokenPath: /\/realms\/[^/]+\/protocol\/openid-connect\/token$/,
    issuers: null,
    allTenants: null,
    needsOfflineAccess: false,
    lostWhenPushed: ['acr_values', 'kc_idp_hint'],
  },
]

/**
 * Returns the known provider that the issuer's host or the token endpoint's path identifies. The token endpoint is null
 * until the provider's metadata is loaded. Both arguments must be URLs.
 */
export function knownProvider(issuer: string, tokenEndpoint: string | null = null): KnownProvider | null {
  const { hostname } = new URL(issuer)
  const path = tokenEndpoint === null ? null : new URL(tokenEndpoint).pathname
  const matches = ({ hosts, tokenPath }: KnownProvider): boolean =>
    hosts?.test(hostname) === true || (path !== null && tokenPath?.test(path) === true)
  return knownProviders.find(matches) ?? null
}

export function isForAllTenants(issuer: string): boolean {
  return knownProvider(issuer)?.allTenants?.test(new URL(issuer).pathname) ?? false
}
