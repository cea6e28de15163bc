import type { KoaContextWithOIDC, Provider } from 'oidc-provider'

import type { Endpoint } from './endpoints.ts'

export interface Observed {
  /** Requests by endpoint, including requests that a test made fail. */
  readonly requests: Record<Endpoint, number>
  readonly tokenRequests: number
  readonly revocations: number
  readonly parRequests: number
  /** Granted token requests by `grant_type`. */
  readonly grants: Record<string, number>
  /** Refused token requests by `grant_type`. */
  readonly refusedGrants: Record<string, number>
  /** The parameters of the latest authorization request, including pushed ones. */
  lastAuthorizationRequest: Record<string, string> | null
  /** The parameters of the latest token request, which may contain a client assertion. */
  lastTokenRequest: Record<string, string> | null
  readonly secretsIssued: string[]
  /** Internal errors of the provider: any entry is a bug of the demo. */
  readonly serverErrors: Error[]
}

export function createObserved(): Observed {
  return {
    requests: {
      discovery: 0,
      jwks: 0,
      authorization: 0,
      token: 0,
      userinfo: 0,
      revocation: 0,
      introspection: 0,
      par: 0,
      registration: 0,
      end_session: 0,
    },
    get tokenRequests() {
      return this.requests.token
    },
    get revocations() {
      return this.requests.revocation
    },
    get parRequests() {
      return this.requests.par
    },
    grants: { authorization_code: 0, refresh_token: 0 },
    refusedGrants: { authorization_code: 0, refresh_token: 0 },
    lastAuthorizationRequest: null,
    lastTokenRequest: null,
    secretsIssued: [],
    serverErrors: [],
  }
}

const SECRET_MEMBERS = ['access_token', 'refresh_token', 'id_token', 'code'] as const

function count(counters: Record<string, number>, { oidc }: KoaContextWithOIDC): void {
  const parameter = oidc.params?.grant_type
  const grantType = typeof parameter === 'string' ? parameter : 'none'
  counters[grantType] = (counters[grantType] ?? 0) + 1
}

export function observe(provider: Provider, observed: Observed): void {
  const recordSecrets = (issued: Record<string, unknown>): void => {
    for (const member of SECRET_MEMBERS) {
      const secret = issued[member]
      if (typeof secret === 'string') observed.secretsIssued.push(secret)
    }
  }
  const recordRequest = ({ oidc }: KoaContextWithOIDC): void => {
    const entries = Object.entries(oidc.body ?? {}).map(([name, value]) => [name, String(value)] as const)
    observed.lastTokenRequest = Object.fromEntries(entries)
  }
  provider.on('grant.success', (ctx) => {
    recordRequest(ctx)
    // The exchange grants refuse without throwing.
    count(ctx.status === 200 ? observed.grants : observed.refusedGrants, ctx)
    if (typeof ctx.body === 'object' && ctx.body !== null) recordSecrets({ ...ctx.body })
  })
  provider.on('grant.error', (ctx) => {
    recordRequest(ctx)
    count(observed.refusedGrants, ctx)
  })
  provider.on('authorization.success', (_ctx, response) => {
    recordSecrets(response ?? {})
  })
  provider.on('server_error', (_ctx, error) => {
    observed.serverErrors.push(error)
  })
}
