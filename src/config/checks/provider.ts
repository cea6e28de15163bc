import type { Finding, PlacedRoute, Rule } from './rule.ts'
import { isForAllTenants } from '../known-providers.ts'
import { isLoopback } from '../kinds/address.ts'
import type { Config } from '../schema.ts'

function findIssuer({ provider }: Config): Finding[] {
  const url = new URL(provider.issuer)
  if (url.protocol === 'https:' || provider.allowHttp || isLoopback(url.hostname)) return []
  return [
    {
      path: ['provider', 'issuer'],
      message: 'is plain http: tokens and the client secret would travel in clear',
      instead: 'use https, or say provider.allowHttp: true if the network is trusted',
    },
  ]
}

function findTenants({ provider }: Config, routes: readonly PlacedRoute[]): Finding[] {
  if (!isForAllTenants(provider.issuer)) return []
  if (routes.some(({ route }) => Object.hasOwn(route.require.claims, 'tid'))) return []
  return [
    {
      path: ['provider', 'issuer'],
      message: 'stands for all tenants, and no route requires tid: users of any tenant are let in',
      instead: 'add require: { claims: { tid: [TENANT-ID] } } to the routes, or name one tenant here',
      warning: true,
    },
  ]
}

function findScopes({ provider }: Config): Finding[] {
  if (provider.scopes?.includes('openid') !== false) return []
  return [{ path: ['provider', 'scopes'], message: 'must have openid among them', instead: 'add openid' }]
}

function findResponseMode({ provider, publicUrl }: Config): Finding[] {
  if (provider.responseMode === 'query' || publicUrl.every((url) => url.startsWith('https:'))) return []
  return [
    {
      path: ['provider', 'responseMode'],
      message: 'form_post needs an https publicUrl, because its login cookie is SameSite=None',
      instead: 'use query',
    },
  ]
}

function findCredentials({ provider }: Config): Finding[] {
  const { clientAuthentication: method, clientSecret, privateKey } = provider
  if (method === 'none') return []
  if (method === 'private_key_jwt') {
    if (privateKey !== null) return []
    const instead = 'give provider.privateKey, such as ${file:/run/secrets/key.pem}'
    return [{ path: ['provider', 'clientAuthentication'], message: 'private_key_jwt needs a privateKey', instead }]
  }
  if (clientSecret !== null || (method === 'auto' && privateKey !== null)) return []
  return [
    {
      path: ['provider', 'clientSecret'],
      part: 'key',
      message: 'is required: the provider would not know this gateway without it',
      instead: 'give it, such as ${OIDC_CLIENT_SECRET}; for a public client say clientAuthentication: none',
    },
  ]
}

const owned: Readonly<Record<string, string>> = {
  client_id: 'use provider.clientId',
  scope: 'use provider.scopes',
  response_mode: 'use provider.responseMode',
  redirect_uri: 'it follows from publicUrl and basePath',
  response_type: 'it is always code',
  state: 'each login has its own',
  nonce: 'each login has its own',
  code_challenge: 'each login has its own',
  code_challenge_method: 'it is always S256',
  request: 'use provider.pushedAuthorization',
  request_uri: 'use provider.pushedAuthorization',
}

function findParameters({ provider }: Config): Finding[] {
  return Object.keys(provider.authorizationParameters).flatMap((name): Finding[] =>
    Object.hasOwn(owned, name)
      ? [
          {
            path: ['provider', 'authorizationParameters', name],
            part: 'key',
            message: 'is set by the gateway itself',
            instead: owned[name] ?? null,
          },
        ]
      : [],
  )
}

/** The rules about the provider and the credentials for it. */
export const checkProvider: readonly Rule[] = [
  { reads: ['provider.issuer', 'provider.allowHttp'], find: findIssuer },
  { reads: ['provider.issuer'], routeReads: ['require'], find: findTenants },
  { reads: ['provider.scopes'], find: findScopes },
  { reads: ['provider.responseMode', 'publicUrl'], find: findResponseMode },
  { reads: ['provider.clientAuthentication', 'provider.clientSecret', 'provider.privateKey'], find: findCredentials },
  { reads: ['provider.authorizationParameters'], find: findParameters },
]
