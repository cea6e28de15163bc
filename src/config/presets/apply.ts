import type { ProviderSection, ProviderSettings } from '../schema.ts'
import { apiBase, groupSources, type GroupSource, type UserApi } from './apis.ts'
import { presets, type Preset } from './table.ts'

type Written = ProviderSection

/**
 * Returns the preset of a provider: the one that `preset` names, or with `auto` the one that the issuer's host or the
 * path of the token endpoint identifies. The token endpoint is unknown until the provider's metadata is loaded.
 */
export function presetOf(
  { preset, issuer }: Pick<Written, 'preset' | 'issuer'>,
  tokenEndpoint: string | null = null,
): Preset | null {
  if (preset === 'none') return null
  if (preset !== 'auto') return presets.find(({ name }) => name === preset) ?? null
  const { hostname, pathname } = new URL(issuer ?? 'https://issuer.invalid')
  const path = tokenEndpoint === null ? '' : new URL(tokenEndpoint).pathname
  const matches = ({ hosts, issuerPath, tokenPath }: Preset): boolean =>
    (hosts?.test(hostname) === true && issuerPath?.test(pathname) !== false) || tokenPath?.test(path) === true
  return presets.find(matches) ?? null
}

/**
 * Fills in what the operator left to the preset or to the defaults. `preset` becomes the name of the preset if the
 * issuer identifies it.
 */
export function withPreset<P extends Written>(provider: P): P {
  const preset = presetOf(provider)
  const { clientId } = provider
  const issuer = provider.issuer ?? preset?.issuer ?? null
  const logoutUrl = preset?.logoutUrl?.replace('{issuer}', issuer?.replace(/\/$/, '') ?? '')
  const scopes = preset?.scopes?.map((scope) => scope.replace('{client_id}', clientId))
  return {
    ...provider,
    preset: preset?.name ?? provider.preset,
    issuer,
    endpoints: endpointsOf(provider, issuer, preset),
    scopes: provider.scopes ?? (scopes === undefined ? null : [...scopes, ...groupScopes(provider.groupsFrom)]),
    authorizationParameters: { ...preset?.authorizationParameters, ...provider.authorizationParameters },
    clientAuthentication:
      provider.clientAuthentication === 'auto' && methodOfCredential(provider, preset) === null
        ? (preset?.clientAuthentication ?? 'auto')
        : provider.clientAuthentication,
    responseMode: provider.responseMode ?? preset?.responseMode ?? 'query',
    logout: { ...provider.logout, url: provider.logout.url ?? logoutUrl ?? null },
    tolerate: [...new Set([...(preset?.tolerate ?? []), ...provider.tolerate])],
  }
}

/**
 * Returns the client authentication that a credential other than a client secret selects, or `null` if the operator gave
 * no such credential.
 */
export function methodOfCredential(
  { privateKey, clientAssertionFile, clientCertificate, clientSecret }: Written,
  preset: Preset | null,
): 'private_key_jwt' | 'tls_client_auth' | null {
  const isForSecret = preset?.clientSecretJwt !== undefined
  if (clientAssertionFile !== null || (privateKey !== null && !isForSecret)) return 'private_key_jwt'
  // A request is the same for tls_client_auth and self_signed_tls_client_auth.
  return clientSecret === null && clientCertificate !== null ? 'tls_client_auth' : null
}

/** Returns the written endpoints, and for the others those of the preset and of `groupsFrom`. */
function endpointsOf(
  { endpoints, groupsFrom }: Written,
  issuer: string | null,
  preset: Preset | null,
): Written['endpoints'] {
  if (issuer === null) return endpoints
  const values = { issuer: baseOf(issuer), api: apiBase(preset?.apiBases ?? [], baseOf(issuer)) }
  const known = preset?.endpoints ?? {}
  const userinfo = endpoints.userinfo ?? withValues(known.userinfo ?? '', values)
  const templates = Object.entries(known).map(([name, template]) => [name, template ?? ''] as const)
  const fromPreset: Partial<Written['endpoints']> = Object.fromEntries(
    templates.map(([name, template]) => [name, withValues(template, { ...values, userinfo })]),
  )
  const source = groupsFrom === null ? null : groupSources[groupsFrom]
  const groups = source === null ? null : apiBase(source.bases, issuer) + source.path
  return { ...endpoints, groups, ...fromPreset, ...definedOnly(endpoints) }
}

function definedOnly(endpoints: Partial<Written['endpoints']>): Partial<Written['endpoints']> {
  return Object.fromEntries(Object.entries(endpoints).filter(([, url]) => url !== null))
}

/** Returns an issuer as the base of endpoints. GitHub's issuer in authorization responses has a path of its own. */
function baseOf(issuer: string): string {
  return issuer.replace(/\/(?:login\/oauth\/?)?$/, '')
}

/** Returns the issuers, besides the configured one, that an authorization response of this provider may name. */
export function responseIssuersOf(provider: Pick<ProviderSettings, 'preset' | 'issuer'>): string[] {
  const issuer = baseOf(provider.issuer)
  return (presetOf(provider)?.responseIssuers ?? []).map((template) => withValues(template, { issuer }))
}

function withValues(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '')
}

/** Returns the API of a provider without OpenID Connect, or `null` for an OpenID Connect provider. */
export function userApiOf(provider: Pick<Written, 'preset' | 'issuer'>): UserApi | null {
  return presetOf(provider)?.api ?? null
}

/**
 * Returns whether a login at a provider without OpenID Connect reads the user's groups: only if its scopes allow it.
 */
export function readsGroups({ groups }: UserApi, scopes: readonly string[] | null): boolean {
  return scopes === null || groups.scopes.some((scope) => scopes.includes(scope))
}

/** Returns the scopes that `groupsFrom` needs. */
export function groupScopes(groupsFrom: Written['groupsFrom']): readonly string[] {
  return groupsFrom === null ? [] : groupSources[groupsFrom].scopes
}

/** The resource that Microsoft Graph is in scopes, besides its URL. */
const GRAPH_RESOURCES = ['00000003-0000-0000-c000-000000000000', 'https://graph.microsoft.com']

/**
 * Returns the scope of a token for the API with the groups if the login's access token is for another API, otherwise
 * `null`. An access token of Entra is for one API, which the scopes name. Scopes without a name are those of Graph.
 */
export function groupTokenScope({
  groupsFrom,
  issuer,
  endpoints,
  scopes,
}: Pick<Written, 'groupsFrom' | 'endpoints' | 'scopes' | 'issuer'>): string | null {
  if (groupsFrom === null || issuer === null) return null
  const source: GroupSource = groupSources[groupsFrom]
  if (!source.hasOwnTokens) return null
  const base = apiBase(source.bases, issuer)
  const own = [base, ...GRAPH_RESOURCES, ...(endpoints.groups === null ? [] : [new URL(endpoints.groups).origin])]
  const isOther = (scope: string): boolean =>
    scope.includes('/') && !own.some((resource) => scope.startsWith(`${resource}/`))
  return scopes?.some(isOther) === true ? source.scopes.map((scope) => `${base}/${scope}`).join(' ') : null
}

/** Returns the settings with the keys that are not null once the rules have found no problem. */
export function checkedProvider(provider: Written, name?: string): ProviderSettings {
  const { issuer, responseMode } = provider
  if (issuer === null || responseMode === null) throw new TypeError('the provider has no issuer')
  return { ...provider, name, issuer, responseMode }
}

/**
 * Returns whether the issuer covers all tenants, by the preset or, with any other preset, by an Entra host and its
 * path.
 */
export function isForAllTenants(provider: Pick<Written, 'preset' | 'issuer'>): boolean {
  const { issuer } = provider
  if (issuer === null) return false
  const { allTenants } = presetOf(provider) ?? presetOf({ preset: 'auto', issuer }) ?? {}
  return allTenants?.test(new URL(issuer).pathname) === true
}
