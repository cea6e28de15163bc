import { isForAllTenants } from '../presets/apply.ts'
import { formatKeyPath, type KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ProviderSection, ResolvedConfig } from '../schema.ts'
import { isLoopback } from '../value-types/address.ts'
import { belongTogether } from '../value-types/secret.ts'
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
  return []
}

function findPlainHttp(provider: ProviderSection, at: KeyPath): Finding[] {
  if (provider.allowHttp) return []
  const { issuer, metadataUrl, browserIssuerUrl, endpoints } = provider
  const urls: (readonly [KeyPath, string | null])[] = [
    [['issuer'], issuer],
    [['metadataUrl'], metadataUrl],
    [['browserIssuerUrl'], browserIssuerUrl],
    ...Object.entries(endpoints).map(([name, url]) => [['endpoints', name], url] as const),
  ]
  return urls.flatMap(([path, written]): Finding[] => {
    const url = written === null ? null : new URL(written)
    if (url === null || url.protocol === 'https:' || isLoopback(url.hostname)) return []
    return [
      {
        path: [...at, ...path],
        message: 'is plain http: tokens and the client secret would be sent unencrypted',
        instead: `use https, or set ${formatKeyPath(at)}.allowHttp: true if the network is trusted`,
      },
    ]
  })
}

/** Finds keys without an effect, because the gateway reads no discovery document. */
function findUnreadMetadata({ metadataUrl, endpoints }: ProviderSection, at: KeyPath): Finding[] {
  const { authorization, token, jwks } = endpoints
  if (metadataUrl === null || [authorization, token, jwks].includes(null)) return []
  return [
    {
      path: [...at, 'metadataUrl'],
      message: 'is not read, because endpoints has authorization, token and jwks',
      instead: 'leave out metadataUrl, or one of these endpoints',
      warning: true,
    },
  ]
}

const LONG_TOLERANCE_MS = 600_000

function findClockTolerance({ clockTolerance }: ProviderSection, at: KeyPath): Finding[] {
  if (clockTolerance <= LONG_TOLERANCE_MS) return []
  return [
    {
      path: [...at, 'clockTolerance'],
      message: 'is more than ten minutes: expired tokens are accepted for that long',
      instead: 'synchronize the clocks of the gateway and the provider',
      warning: true,
    },
  ]
}

function findClientCertificate(provider: ProviderSection, at: KeyPath): Finding[] {
  const { clientAuthentication: method, clientCertificate } = provider
  if (clientCertificate !== null) {
    const { certFile, keyFile } = clientCertificate
    if (belongTogether(certFile.content, keyFile.content)) return []
    const instead = 'use a certificate and a key that belong together'
    const path = [...at, 'clientCertificate', 'keyFile']
    return [{ path, message: 'is not the key of the certificate in certFile', instead }]
  }
  if (method !== 'tls_client_auth' && method !== 'self_signed_tls_client_auth') return []
  return [
    {
      path: [...at, 'clientAuthentication'],
      message: `${method} needs a clientCertificate`,
      instead: `set ${formatKeyPath(at)}.clientCertificate.certFile and keyFile`,
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
  const { clientAuthentication: method, clientSecret, privateKey, clientCertificate } = provider
  if (method === 'none' || method === 'tls_client_auth' || method === 'self_signed_tls_client_auth') return []
  if (method === 'private_key_jwt') {
    if (privateKey !== null) return []
    const instead = `set ${formatKeyPath(at)}.privateKey, for example to \${file:/run/secrets/key.pem}`
    return [{ path: [...at, 'clientAuthentication'], message: 'private_key_jwt needs a privateKey', instead }]
  }
  const mayUseKey = method === 'auto' || provider.preset === 'apple'
  if (clientSecret !== null || (mayUseKey && (privateKey ?? clientCertificate) !== null)) return []
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
  dpop_jkt: 'use provider.dpop',
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
  { reads: [], providerReads: ['issuer', 'preset'], find: perProvider(findIssuer) },
  {
    reads: [],
    providerReads: ['issuer', 'preset', 'metadataUrl', 'browserIssuerUrl', 'endpoints', 'allowHttp'],
    find: perProvider(findPlainHttp),
  },
  { reads: [], providerReads: ['metadataUrl', 'endpoints'], find: perProvider(findUnreadMetadata) },
  { reads: [], providerReads: ['clockTolerance'], find: perProvider(findClockTolerance) },
  {
    reads: [],
    providerReads: ['clientAuthentication', 'clientCertificate'],
    find: perProvider(findClientCertificate),
  },
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
    providerReads: ['clientAuthentication', 'clientSecret', 'privateKey', 'preset', 'clientCertificate'],
    find: perProvider(findCredentials),
  },
  { reads: [], providerReads: ['authorizationParameters'], find: perProvider(findParameters) },
]
