/** What is known of a provider beside what its metadata says. */
export interface KnownProvider {
  readonly name: string
  /** The hosts that are its own, or `null` where it is run by its users. */
  readonly hosts: RegExp | null
  /** The path of its token endpoint, for one that is run by its users. */
  readonly tokenPath: RegExp | null
  /** Which issuers its documents may have when they are not the one that was asked for. */
  readonly issuers: RegExp | null
  /** The paths of issuers that stand for all its tenants. */
  readonly allTenants: RegExp | null
  /** Whether it gives refresh tokens only to a login that asks for `offline_access`. */
  readonly needsOfflineAccess: boolean
  /** The parameters that it loses in a pushed authorization request. */
  readonly lostWhenPushed: readonly string[]
}

const ENTRA_HOSTS = 'login\\.microsoftonline\\.(?:com|us)|login\\.partner\\.microsoftonline\\.cn'

/** One row a provider; a provider that has none is what its metadata says. */
const knownProviders: readonly KnownProvider[] = [
  {
    name: 'entra',
    hosts: new RegExp(`^(?:${ENTRA_HOSTS})$`),
    tokenPath: null,
    // A tenant may be asked for by its domain; its tokens name it by its id, those of version 1 at another host.
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
    // Asked for offline_access first, it ends the user's single sign-on; refresh tokens it gives without.
    name: 'keycloak',
    hosts: null,
    tokenPath: /\/realms\/[^/]+\/protocol\/openid-connect\/token$/,
    issuers: null,
    allTenants: null,
    needsOfflineAccess: false,
    lostWhenPushed: ['acr_values', 'kc_idp_hint'],
  },
]

/** The row of a provider, by its issuer and, once its metadata is known, its token endpoint. Both must be URLs. */
export function knownProvider(issuer: string, tokenEndpoint: string | null = null): KnownProvider | null {
  const { hostname } = new URL(issuer)
  const path = tokenEndpoint === null ? null : new URL(tokenEndpoint).pathname
  const isOne = ({ hosts, tokenPath }: KnownProvider): boolean =>
    hosts?.test(hostname) === true || (path !== null && tokenPath?.test(path) === true)
  return knownProviders.find(isOne) ?? null
}

/** Whether an issuer stands for all tenants of its provider, as far as its URL tells. */
export function isForAllTenants(issuer: string): boolean {
  return knownProvider(issuer)?.allTenants?.test(new URL(issuer).pathname) ?? false
}
