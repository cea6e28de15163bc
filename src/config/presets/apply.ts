import type { ProviderSettings, ResolvedConfig } from '../schema.ts'
import { presets, type Preset } from './table.ts'

type Written = ResolvedConfig['provider']

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
export function withPreset(provider: Written): Written {
  const preset = presetOf(provider)
  const { endpoints, clientId } = provider
  const issuer = provider.issuer ?? preset?.issuer ?? null
  const logoutUrl = preset?.logoutUrl?.replace('{issuer}', issuer?.replace(/\/$/, '') ?? '')
  return {
    ...provider,
    preset: preset?.name ?? provider.preset,
    issuer,
    endpoints: { ...endpoints, ...definedOnly(preset?.endpoints), ...definedOnly(endpoints) },
    scopes: provider.scopes ?? preset?.scopes?.map((scope) => scope.replace('{client_id}', clientId)) ?? null,
    authorizationParameters: { ...preset?.authorizationParameters, ...provider.authorizationParameters },
    clientAuthentication:
      provider.clientAuthentication === 'auto' && !isWithoutSecret(provider, preset)
        ? (preset?.clientAuthentication ?? 'auto')
        : provider.clientAuthentication,
    responseMode: provider.responseMode ?? preset?.responseMode ?? 'query',
    logout: { ...provider.logout, url: provider.logout.url ?? logoutUrl ?? null },
    tolerate: [...new Set([...(preset?.tolerate ?? []), ...provider.tolerate])],
  }
}

/** Returns whether the operator gave a credential other than a client secret. Such a credential selects its method. */
function isWithoutSecret(provider: Written, preset: Preset | null): boolean {
  const { privateKey, clientAssertionFile, clientCertificate, clientSecret } = provider
  if (clientAssertionFile !== null || (clientCertificate !== null && clientSecret === null)) return true
  return privateKey !== null && preset?.clientSecretJwt === undefined
}

function definedOnly(endpoints: Partial<Written['endpoints']> = {}): Partial<Written['endpoints']> {
  return Object.fromEntries(Object.entries(endpoints).filter(([, url]) => url !== null))
}

/** Returns the settings with the keys that are not null once the rules have found no problem. */
export function checkedProvider(provider: Written, name?: string): ProviderSettings {
  const { issuer, responseMode } = provider
  if (issuer === null || responseMode === null) throw new TypeError('the provider has no issuer')
  return { ...provider, name, issuer, responseMode }
}

export function isForAllTenants(provider: Pick<Written, 'preset' | 'issuer'>): boolean {
  const { issuer } = provider
  return issuer !== null && presetOf(provider)?.allTenants?.test(new URL(issuer).pathname) === true
}
