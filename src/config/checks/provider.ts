import { isForAllTenants } from '../presets/apply.ts'
import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ProviderSection, ResolvedConfig } from '../schema.ts'
import { isLoopback } from '../value-types/address.ts'
import type { PlacedRoute, Rule } from './rule.ts'

type Find = (
  provider: ProviderSection,
  at: KeyPath,
  config: ResolvedConfig,
  routes: readonly PlacedRoute[],
) => Finding[]

function perProvider(find: Find): Rule['find'] {
  return (config, routes, providers = []) => providers.flatMap(({ provider, at }) => find(provider, at, config, routes))
}

function findBoth({ provider, providers }: ResolvedConfig): Finding[] {
  if (provider === null || providers === null) return []
  const instead = 'move the keys of provider to an entry of providers'
  return [{ path: ['providers'], part: 'key', message: 'cannot be combined with provider', instead }]
}

function findIssuer(provider: ProviderSection, at: KeyPath): Finding[] {
  if (provider.issuer === null) {
    const instead = at.length === 1 ? 'set it here, or set GATEHOUSE_PROVIDER_ISSUER' : 'set it here'
    return [{ path: [...at, 'issuer'], part: 'key', message: 'is required', instead }]
  }
  const url = new URL(provider.issuer)
  if (url.protocol === 'https:' || provider.allowHttp || isLoopback(url.hostname)) return []
  return [
    {
      path: [...at, 'issuer'],
      message: 'is plain http: tokens and the client secret would be sent unencrypted',
      instead: `use https, or set ${formatKeyPath(at)}.allowHttp: true if the network is trusted`,
    },
  ]
}

function findTenants(
  provider: ProviderSection,
  at: KeyPath,
  _config: ResolvedConfig,
  routes: readonly PlacedRoute[],
): Finding[] {
  if (!isForAllTenants(provider)) return []
  const name = String(at.at(-1))
  const own = routes.filter(({ route }) => route.provider === null || route.provider.includes(name))
  if (own.some(({ route }) => Object.hasOwn(route.require.claims, 'tid'))) return []
  return [
    {
      path: [...at, 'issuer'],
      message: 'covers all tenants, and no route requires tid: users of every tenant can log in',
      instead: 'add require: { claims: { tid: [TENANT-ID] } } to the routes, or name one tenant here',
      warning: true,
    },
  ]
}

function findScopes(provider: ProviderSection, at: KeyPath): Finding[] {
  if (provider.scopes?.includes('openid') !== false) return []
  return [{ path: [...at, 'scopes'], message: 'must contain openid', instead: 'add openid' }]
}

function findResponseMode(provider: ProviderSection, at: KeyPath, { publicUrl }: ResolvedConfig): Finding[] {
  if (provider.responseMode?.startsWith('form_post') !== true || publicUrl.every((url) => url.startsWith('https:')))
    return []
  return [
    {
      path: [...at, 'responseMode'],
      message: `${provider.responseMode} needs an https publicUrl, because its login cookie is SameSite=None`,
      instead: 'use query',
    },
  ]
}

function findCredentials(provider: ProviderSection, at: KeyPath): Finding[] {
  const { clientAuthentication: method, clientSecret, privateKey } = provider
  if (method === 'none') return []
  if (method === 'private_key_jwt') {
    if (privateKey !== null) return []
    const instead = `set ${formatKeyPath(at)}.privateKey, for example to \${file:/run/secrets/key.pem}`
    return [{ path: [...at, 'clientAuthentication'], message: 'private_key_jwt needs a privateKey', instead }]
  }
  if (clientSecret !== null || (method === 'auto' && privateKey !== null)) return []
  return [
    {
      path: [...at, 'clientSecret'],
      part: 'key',
      message: 'is required: the gateway cannot authenticate to the provider without it',
      instead: 'set it, for example to ${OIDC_CLIENT_SECRET}; for a public client set clientAuthentication: none',
    },
  ]
}

const OWN_PARAMETERS: Readonly<Record<string, string>> = {
  client_id: 'use provider.clientId',
  scope: 'use provider.scopes',
  response_mode: 'use provider.responseMode',
  redirect_uri: 'it is derived from publicUrl and basePath',
  response_type: 'it is always code',
  state: 'each login has its own',
  nonce: 'each login has its own',
  code_challenge: 'each login has its own',
  code_challenge_method: 'it is always S256',
  request: 'use provider.pushedAuthorization',
  request_uri: 'use provider.pushedAuthorization',
}

function findParameters(provider: ProviderSection, at: KeyPath): Finding[] {
  return Object.keys(provider.authorizationParameters).flatMap((name): Finding[] =>
    Object.hasOwn(OWN_PARAMETERS, name)
      ? [
          {
            path: [...at, 'authorizationParameters', name],
            part: 'key',
            message: 'is set by the gateway itself',
            instead: OWN_PARAMETERS[name] ?? null,
          },
        ]
      : [],
  )
}

export const providerRules: readonly Rule[] = [
  { reads: ['provider', 'providers'], find: findBoth },
  { reads: [], providerReads: ['issuer', 'preset', 'allowHttp'], find: perProvider(findIssuer) },
  {
    reads: [],
    providerReads: ['issuer', 'preset'],
    routeReads: ['require', 'provider'],
    find: perProvider(findTenants),
  },
  { reads: [], providerReads: ['scopes'], find: perProvider(findScopes) },
  { reads: ['publicUrl'], providerReads: ['responseMode'], find: perProvider(findResponseMode) },
  {
    reads: [],
    providerReads: ['clientAuthentication', 'clientSecret', 'privateKey'],
    find: perProvider(findCredentials),
  },
  { reads: [], providerReads: ['authorizationParameters'], find: perProvider(findParameters) },
]
