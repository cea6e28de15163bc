import { X509Certificate } from 'node:crypto'
import type { KeyPath } from '../key-path.ts'
import { isForAllTenants, presetOf, userApiOf } from '../presets/apply.ts'
import { readPrivateKey } from '../private-key.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig } from '../schema.ts'
import { isLoopback } from '../value-types/address.ts'
import { belongTogether } from '../value-types/secret.ts'
import type { PlacedRoute, Rule } from './rule.ts'

type Provider = ResolvedConfig['provider']

function findIssuer({ provider }: ResolvedConfig): Finding[] {
  // If another key of the provider is invalid, the preset has not been applied.
  if (provider.issuer !== null || presetOf(provider)?.issuer !== undefined) return []
  const instead = 'set it here, or set GATEHOUSE_PROVIDER_ISSUER'
  return [{ path: ['provider', 'issuer'], part: 'key', message: 'is required', instead }]
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
  if (provider.scopes?.includes('openid') !== false || userApiOf(provider) !== null) return []
  return [{ path: ['provider', 'scopes'], message: 'must contain openid', instead: 'add openid' }]
}

function findResponseMode({ provider, publicUrl }: ResolvedConfig): Finding[] {
  if (provider.responseMode?.startsWith('form_post') !== true || publicUrl.every((url) => url.startsWith('https:')))
    return []
  return [
    {
      path: ['provider', 'responseMode'],
      message: `${provider.responseMode} needs an https publicUrl, because its login cookie is SameSite=None`,
      instead: provider.responseMode === 'form_post' ? 'use query' : 'use query.jwt',
    },
  ]
}

function findCredentials({ provider }: ResolvedConfig): Finding[] {
  const { clientAuthentication: method, clientSecret, clientCertificate } = provider
  if (method === 'none' || method === 'tls_client_auth' || method === 'self_signed_tls_client_auth') return []
  const hasAssertion = provider.privateKey !== null || provider.clientAssertionFile !== null
  if (method === 'private_key_jwt') {
    if (hasAssertion) return []
    const instead = 'set provider.privateKey, for example to ${file:/run/secrets/key.pem}'
    return [{ path: ['provider', 'clientAuthentication'], message: 'private_key_jwt needs a privateKey', instead }]
  }
  if (clientSecret !== null) return []
  if (presetOf(provider)?.clientSecretJwt !== undefined) return findSecretJwt(provider)
  if (method === 'auto' && (hasAssertion || clientCertificate !== null)) return []
  return [
    {
      path: ['provider', 'clientSecret'],
      part: 'key',
      message: 'is required: the gateway cannot authenticate to the provider without it',
      instead: 'set it, for example to ${OIDC_CLIENT_SECRET}; for a public client set clientAuthentication: none',
    },
  ]
}

/** Finds what is missing to make the client secret of a provider whose client secrets are JWTs. */
function findSecretJwt(provider: Provider): Finding[] {
  const { privateKey, teamId } = provider
  const key = privateKey === null ? null : readPrivateKey(privateKey, 'sign')
  const keyId = provider.keyId ?? key?.id ?? null
  const missing = Object.entries({ privateKey, keyId, teamId }).flatMap(([name, value]): Finding[] =>
    value === null
      ? [
          {
            path: ['provider', name],
            part: 'key',
            message: 'is required: the client secret is a JWT made from privateKey, keyId and teamId',
            instead: 'set all three, or clientSecret',
          },
        ]
      : [],
  )
  if (key === null || key.algorithms.includes('ES256')) return missing
  const instead = 'use the .p8 file that Apple issued'
  return [...missing, { path: ['provider', 'privateKey'], message: 'must be a key for ES256 (EC, P-256)', instead }]
}

/** Finds keys that accompany a private key and do not fit it, or have no effect. */
function findKeyDetails({ provider }: ResolvedConfig): Finding[] {
  const { privateKey, certificate, clientAssertionFile, clientAuthentication: method } = provider
  const findings: Finding[] = []
  const add = (name: keyof Provider, message: string, instead: string): void => {
    findings.push({ path: ['provider', name], message, instead })
  }
  if (privateKey === null) {
    const instead = 'set provider.privateKey to the key that it belongs to'
    if (provider.keyId !== null) add('keyId', 'is the id of a privateKey, and there is none', instead)
    if (certificate !== null) add('certificate', 'is the certificate of a privateKey, and there is none', instead)
    if (provider.requestObjects === 'signed')
      add('requestObjects', 'signed needs a privateKey', 'set provider.privateKey, or requestObjects: off')
  } else if (
    certificate !== null &&
    !new X509Certificate(certificate).checkPrivateKey(readPrivateKey(privateKey, 'sign').key)
  ) {
    add('certificate', 'belongs to another key than privateKey', 'give the certificate that was issued for privateKey')
  }
  if (clientAssertionFile !== null && method !== 'auto' && method !== 'private_key_jwt')
    add('clientAssertionFile', `has no effect with ${method}`, 'use clientAuthentication: private_key_jwt, or auto')
  if (provider.teamId !== null && presetOf(provider)?.clientSecretJwt === undefined)
    add('teamId', 'is only for preset: apple', 'leave it out')
  return findings
}

function findTolerance({ provider }: ResolvedConfig): Finding[] {
  const { tolerate } = provider
  if (!tolerate.includes('missing-nonce') || !tolerate.includes('no-pkce')) return []
  return [
    {
      path: ['provider', 'tolerate'],
      message: 'without nonce and PKCE, only the state binds a code to the browser that requested it',
      instead: 'tolerate only what this provider needs',
      warning: true,
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
  request: 'use provider.requestObjects',
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

const CREDENTIALS = [
  'provider.issuer',
  'provider.preset',
  'provider.clientAuthentication',
  'provider.privateKey',
  'provider.keyId',
  'provider.teamId',
  'provider.clientAssertionFile',
] as const

const LOGIN_OWN_PARAMETERS = new Set([
  ...Object.keys(OWN_PARAMETERS),
  // Parameters that the login endpoint reads.
  'acr_values',
  'claims',
  'login_hint',
  'max_age',
  'prompt',
  'redirect',
  'rd',
  'target_link_uri',
  'iss',
  'provider',
  'choose_account',
  'fragment',
  'moved',
  'refused',
  'tries',
  // Parameters with which the client authenticates or names the user.
  'client_assertion',
  'client_assertion_type',
  'client_secret',
  'dpop_jkt',
  'id_token_hint',
])

function findLoginParameters({ provider }: ResolvedConfig): Finding[] {
  return provider.loginParameters.flatMap((name, index): Finding[] =>
    LOGIN_OWN_PARAMETERS.has(name)
      ? [
          {
            path: ['provider', 'loginParameters', index],
            message: `${name} is a parameter of the protocol or of the login endpoint itself`,
            instead: 'remove it',
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
  { reads: ['provider.scopes', 'provider.preset', 'provider.issuer'], find: findScopes },
  { reads: ['provider.responseMode', 'publicUrl'], find: findResponseMode },
  { reads: [...CREDENTIALS, 'provider.clientSecret', 'provider.clientCertificate'], find: findCredentials },
  { reads: [...CREDENTIALS, 'provider.certificate', 'provider.requestObjects'], find: findKeyDetails },
  { reads: ['provider.tolerate'], find: findTolerance },
  { reads: ['provider.authorizationParameters'], find: findParameters },
  { reads: ['provider.loginParameters'], find: findLoginParameters },
]
