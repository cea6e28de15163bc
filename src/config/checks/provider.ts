import { X509Certificate } from 'node:crypto'
import { formatKeyPath, type KeyPath } from '../key-path.ts'
import { LOGIN_QUERY } from '../login-query.ts'
import { isForAllTenants, methodOfCredential, presetOf, userApiOf } from '../presets/apply.ts'
import { readPrivateKey } from '../private-key.ts'
import type { Finding } from '../problems.ts'
import type { ProviderSection, ResolvedConfig } from '../schema.ts'
import { isLoopback } from '../value-types/address.ts'
import { requiresClaim } from './requirements.ts'
import { findKeyMismatch, perProvider, routesFor, type PlacedRoute, type Rule } from './rule.ts'

function findBoth({ provider, providers }: ResolvedConfig): Finding[] {
  if (provider === null || providers === null) return []
  const instead = 'move the keys of provider to an entry of providers'
  return [{ path: ['providers'], part: 'key', message: 'cannot be combined with provider', instead }]
}

function findIssuer(provider: ProviderSection, at: KeyPath): Finding[] {
  // If another key of the provider is invalid, the preset has not been applied.
  if (provider.issuer !== null || presetOf(provider)?.issuer !== undefined) return []
  const instead = at.length === 1 ? 'set it here, or set GATEHOUSE_PROVIDER_ISSUER' : 'set it here'
  return [{ path: [...at, 'issuer'], part: 'key', message: 'is required', instead }]
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
    return findKeyMismatch(clientCertificate.certFile, clientCertificate.keyFile, [...at, 'clientCertificate'])
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
  if (!isForAllTenants(provider) && provider.issuer?.includes('{tenantid}') !== true) return []
  if (routesFor(at, routes).some(({ route }) => requiresClaim(route.require, 'tid'))) return []
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
  if (provider.scopes?.includes('openid') !== false || userApiOf(provider) !== null) return []
  return [{ path: [...at, 'scopes'], message: 'must contain openid', instead: 'add openid' }]
}

function findResponseMode(provider: ProviderSection, at: KeyPath, { publicUrl }: ResolvedConfig): Finding[] {
  if (provider.responseMode?.startsWith('form_post') !== true || publicUrl.every((url) => url.startsWith('https:')))
    return []
  return [
    {
      path: [...at, 'responseMode'],
      message: `${provider.responseMode} needs an https publicUrl, because its login cookie is SameSite=None`,
      instead: provider.responseMode === 'form_post' ? 'use query' : 'use query.jwt',
    },
  ]
}

function findCredentials(provider: ProviderSection, at: KeyPath): Finding[] {
  const { clientAuthentication: method, clientSecret } = provider
  if (method === 'none' || method === 'tls_client_auth' || method === 'self_signed_tls_client_auth') return []
  if (method === 'private_key_jwt') {
    if (provider.privateKey !== null || provider.clientAssertionFile !== null) return []
    const instead = `set ${formatKeyPath(at)}.privateKey, for example to \${file:/run/secrets/key.pem}`
    return [{ path: [...at, 'clientAuthentication'], message: 'private_key_jwt needs a privateKey', instead }]
  }
  if (clientSecret !== null) return []
  const preset = presetOf(provider)
  if (preset?.clientSecretJwt !== undefined) return findSecretJwt(provider, at)
  if (method === 'auto' && methodOfCredential(provider, preset) !== null) return []
  return [
    {
      path: [...at, 'clientSecret'],
      part: 'key',
      message: 'is required: the gateway cannot authenticate to the provider without it',
      instead: 'set it, for example to ${OIDC_CLIENT_SECRET}; for a public client set clientAuthentication: none',
    },
  ]
}

/** Finds what is missing to make the client secret of a provider whose client secrets are JWTs. */
function findSecretJwt(provider: ProviderSection, at: KeyPath): Finding[] {
  const { privateKey, teamId } = provider
  const key = privateKey === null ? null : readPrivateKey(privateKey, 'sign')
  const keyId = provider.keyId ?? key?.id ?? null
  const missing = Object.entries({ privateKey, keyId, teamId }).flatMap(([name, value]): Finding[] =>
    value === null
      ? [
          {
            path: [...at, name],
            part: 'key',
            message: 'is required: the client secret is a JWT made from privateKey, keyId and teamId',
            instead: 'set all three, or clientSecret',
          },
        ]
      : [],
  )
  if (key === null || key.algorithms.includes('ES256')) return missing
  const instead = 'use the .p8 file that Apple issued'
  return [...missing, { path: [...at, 'privateKey'], message: 'must be a key for ES256 (EC, P-256)', instead }]
}

/** Finds keys that accompany a private key and do not fit it, or have no effect. */
function findKeyDetails(provider: ProviderSection, at: KeyPath): Finding[] {
  const { privateKey, certificate, clientAssertionFile, clientAuthentication: method } = provider
  const findings: Finding[] = []
  const add = (name: keyof ProviderSection, message: string, instead: string): void => {
    findings.push({ path: [...at, name], message, instead })
  }
  if (privateKey === null) {
    const instead = `set ${formatKeyPath(at)}.privateKey to the key that it belongs to`
    if (provider.keyId !== null) add('keyId', 'is the id of a privateKey, and there is none', instead)
    if (certificate !== null) add('certificate', 'is the certificate of a privateKey, and there is none', instead)
    if (provider.requestObjects === 'signed')
      add('requestObjects', 'signed needs a privateKey', `set ${formatKeyPath(at)}.privateKey, or requestObjects: off`)
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

function findTolerance({ tolerate }: ProviderSection, at: KeyPath): Finding[] {
  if (!tolerate.includes('missing-nonce') || !tolerate.includes('no-pkce')) return []
  return [
    {
      path: [...at, 'tolerate'],
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

const CREDENTIALS = [
  'issuer',
  'preset',
  'clientAuthentication',
  'privateKey',
  'keyId',
  'teamId',
  'clientAssertionFile',
] as const

/**
 * Parameters that a link must not set. Of the parameters of the protocols, a link may set only `ui_locales`.
 * @see https://www.iana.org/assignments/oauth-parameters/oauth-parameters.xhtml#parameters
 */
const NOT_IN_A_LINK = new Set([
  ...Object.keys(OWN_PARAMETERS),
  ...LOGIN_QUERY,
  // Authorization requests: OpenID Connect Core, RFC 8707, RFC 9396, and `audience`, which names an API at some
  // providers.
  'id_token_hint',
  'display',
  'claims_locales',
  'registration',
  'resource',
  'audience',
  'authorization_details',
  // The authentication of the client: RFC 6749 and RFC 7521.
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  // Token requests.
  'grant_type',
  'code_verifier',
  'assertion',
  'username',
  'password',
  'refresh_token',
  'token',
  // Responses.
  'response',
  'code',
  'error',
  'error_description',
  'error_uri',
  'access_token',
  'token_type',
  'expires_in',
  'id_token',
  'session_state',
])

function findLoginParameters({ loginParameters }: ProviderSection, at: KeyPath): Finding[] {
  return loginParameters.flatMap((name, index): Finding[] =>
    NOT_IN_A_LINK.has(name)
      ? [
          {
            path: [...at, 'loginParameters', index],
            message: `${name} is a parameter of the protocol or of the login endpoint itself`,
            instead: 'remove it',
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
  { reads: [], providerReads: ['scopes', 'preset', 'issuer'], find: perProvider(findScopes) },
  { reads: ['publicUrl'], providerReads: ['responseMode'], find: perProvider(findResponseMode) },
  {
    reads: [],
    providerReads: [...CREDENTIALS, 'clientSecret', 'clientCertificate'],
    find: perProvider(findCredentials),
  },
  {
    reads: [],
    providerReads: [...CREDENTIALS, 'certificate', 'requestObjects'],
    find: perProvider(findKeyDetails),
  },
  { reads: [], providerReads: ['tolerate'], find: perProvider(findTolerance) },
  { reads: [], providerReads: ['loginParameters'], find: perProvider(findLoginParameters) },
  { reads: [], providerReads: ['authorizationParameters'], find: perProvider(findParameters) },
]
