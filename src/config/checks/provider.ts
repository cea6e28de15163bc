import { isForAllTenants } from '../presets/apply.ts'
import type { KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig } from '../schema.ts'
import { isLoopback } from '../value-types/address.ts'
import { belongTogether } from '../value-types/secret.ts'
import type { PlacedRoute, Rule } from './rule.ts'

function findIssuer({ provider }: ResolvedConfig): Finding[] {
  if (provider.issuer === null) {
    const instead = 'set it here, or set GATEHOUSE_PROVIDER_ISSUER'
    return [{ path: ['provider', 'issuer'], part: 'key', message: 'is required', instead }]
  }
  return []
}

function findPlainHttp({ provider }: ResolvedConfig): Finding[] {
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
        path: ['provider', ...path],
        message: 'is plain http: tokens and the client secret would be sent unencrypted',
        instead: 'use https, or set provider.allowHttp: true if the network is trusted',
      },
    ]
  })
}

/** Finds keys without an effect, because the gateway reads no discovery document. */
function findUnreadMetadata({ provider: { metadataUrl, endpoints } }: ResolvedConfig): Finding[] {
  const { authorization, token, jwks } = endpoints
  if (metadataUrl === null || [authorization, token, jwks].includes(null)) return []
  return [
    {
      path: ['provider', 'metadataUrl'],
      message: 'is not read, because endpoints has authorization, token and jwks',
      instead: 'leave out metadataUrl, or one of these endpoints',
      warning: true,
    },
  ]
}

const LONG_TOLERANCE_MS = 600_000

function findClockTolerance({ provider: { clockTolerance } }: ResolvedConfig): Finding[] {
  if (clockTolerance <= LONG_TOLERANCE_MS) return []
  return [
    {
      path: ['provider', 'clockTolerance'],
      message: 'is more than ten minutes: expired tokens are accepted for that long',
      instead: 'synchronize the clocks of the gateway and the provider',
      warning: true,
    },
  ]
}

function findClientCertificate({ provider }: ResolvedConfig): Finding[] {
  const { clientAuthentication: method, clientCertificate } = provider
  if (clientCertificate !== null) {
    const { certFile, keyFile } = clientCertificate
    if (belongTogether(certFile.content, keyFile.content)) return []
    const instead = 'use a certificate and a key that belong together'
    const path = ['provider', 'clientCertificate', 'keyFile']
    return [{ path, message: 'is not the key of the certificate in certFile', instead }]
  }
  if (method !== 'tls_client_auth' && method !== 'self_signed_tls_client_auth') return []
  return [
    {
      path: ['provider', 'clientAuthentication'],
      message: `${method} needs a clientCertificate`,
      instead: 'set provider.clientCertificate.certFile and keyFile',
    },
  ]
}

function findTenants({ provider }: ResolvedConfig, routes: readonly PlacedRoute[]): Finding[] {
  if (!isForAllTenants(provider)) return []
  if (routes.some(({ route }) => Object.hasOwn(route.require.claims, 'tid'))) return []
  return [
    {
      path: ['provider', 'issuer'],
      message: 'covers all tenants, and no route requires tid: users of every tenant can log in',
      instead: 'add require: { claims: { tid: [TENANT-ID] } } to the routes, or name one tenant here',
      warning: true,
    },
  ]
}

function findScopes({ provider }: ResolvedConfig): Finding[] {
  if (provider.scopes?.includes('openid') !== false) return []
  return [{ path: ['provider', 'scopes'], message: 'must contain openid', instead: 'add openid' }]
}

function findResponseMode({ provider, publicUrl }: ResolvedConfig): Finding[] {
  if (provider.responseMode?.startsWith('form_post') !== true || publicUrl.every((url) => url.startsWith('https:')))
    return []
  return [
    {
      path: ['provider', 'responseMode'],
      message: `${provider.responseMode} needs an https publicUrl, because its login cookie is SameSite=None`,
      instead: 'use query',
    },
  ]
}

function findCredentials({ provider }: ResolvedConfig): Finding[] {
  const { clientAuthentication: method, clientSecret, privateKey, clientCertificate } = provider
  if (method === 'none' || method === 'tls_client_auth' || method === 'self_signed_tls_client_auth') return []
  if (method === 'private_key_jwt') {
    if (privateKey !== null) return []
    const instead = 'set provider.privateKey, for example to ${file:/run/secrets/key.pem}'
    return [{ path: ['provider', 'clientAuthentication'], message: 'private_key_jwt needs a privateKey', instead }]
  }
  const mayUseKey = method === 'auto' || provider.preset === 'apple'
  if (clientSecret !== null || (mayUseKey && (privateKey ?? clientCertificate) !== null)) return []
  return [
    {
      path: ['provider', 'clientSecret'],
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

function findParameters({ provider }: ResolvedConfig): Finding[] {
  return Object.keys(provider.authorizationParameters).flatMap((name): Finding[] =>
    Object.hasOwn(OWN_PARAMETERS, name)
      ? [
          {
            path: ['provider', 'authorizationParameters', name],
            part: 'key',
            message: 'is set by the gateway itself',
            instead: OWN_PARAMETERS[name] ?? null,
          },
        ]
      : [],
  )
}

export const providerRules: readonly Rule[] = [
  { reads: ['provider.issuer', 'provider.preset'], find: findIssuer },
  {
    reads: [
      'provider.issuer',
      'provider.preset',
      'provider.metadataUrl',
      'provider.browserIssuerUrl',
      'provider.endpoints',
      'provider.allowHttp',
    ],
    find: findPlainHttp,
  },
  { reads: ['provider.metadataUrl', 'provider.endpoints'], find: findUnreadMetadata },
  { reads: ['provider.clockTolerance'], find: findClockTolerance },
  { reads: ['provider.clientAuthentication', 'provider.clientCertificate'], find: findClientCertificate },
  { reads: ['provider.issuer', 'provider.preset'], routeReads: ['require'], find: findTenants },
  { reads: ['provider.scopes'], find: findScopes },
  { reads: ['provider.responseMode', 'publicUrl'], find: findResponseMode },
  {
    reads: [
      'provider.clientAuthentication',
      'provider.clientSecret',
      'provider.privateKey',
      'provider.preset',
      'provider.clientCertificate',
    ],
    find: findCredentials,
  },
  { reads: ['provider.authorizationParameters'], find: findParameters },
]
