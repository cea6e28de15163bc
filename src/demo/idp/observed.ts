import type { KoaContextWithOIDC, Provider } from 'oidc-provider'
import { isRecord } from '../is-record.ts'
import type { Endpoint } from './endpoints.ts'

/** What the provider has seen and given out since it started. */
export type Observed = {
  /** Requests by endpoint, those answered by a failure included. */
  requests: Record<Endpoint, number>
  readonly tokenRequests: number
  readonly revocations: number
  readonly parRequests: number
  /** Granted token requests by `grant_type`. */
  grants: Record<string, number>
  /** Refused token requests by `grant_type`. */
  refusedGrants: Record<string, number>
  /** The parameters of the latest authorization request, those that were pushed (RFC 9126) included. */
  lastAuthorizationRequest: Record<string, string> | null
  /** Every access token, refresh token, ID token and code that was ever issued. */
  secretsIssued: string[]
  /** Errors that the provider blames on itself: empty, or there is a mistake in the demo. */
  serverErrors: Error[]
}

/** Nothing seen yet. */
export const createObserved = (): Observed => ({
  requests: {
    discovery: 0,
    jwks: 0,
    authorization: 0,
    token: 0,
    userinfo: 0,
    revocation: 0,
    par: 0,
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
  secretsIssued: [],
  serverErrors: [],
})

const secretMembers = ['access_token', 'refresh_token', 'id_token', 'code'] as const

const count = (counters: Record<string, number>, { oidc }: KoaContextWithOIDC): void => {
  const asked = oidc.params?.grant_type
  const grantType = typeof asked === 'string' ? asked : 'none'
  counters[grantType] = (counters[grantType] ?? 0) + 1
}

/** Keeps the record of what the provider grants, refuses and gives out. */
export const observe = (provider: Provider, observed: Observed): void => {
  const keep = (issued: Record<string, unknown>): void => {
    for (const member of secretMembers) {
      const secret = issued[member]
      if (typeof secret === 'string') observed.secretsIssued.push(secret)
    }
  }
  provider.on('grant.success', (ctx) => {
    // What the demo's own grants refuse has not thrown.
    count(ctx.status === 200 ? observed.grants : observed.refusedGrants, ctx)
    if (isRecord(ctx.body)) keep(ctx.body)
  })
  provider.on('grant.error', (ctx) => {
    count(observed.refusedGrants, ctx)
  })
  provider.on('authorization.success', (_ctx, response) => {
    keep(response ?? {})
  })
  provider.on('server_error', (_ctx, error) => {
    observed.serverErrors.push(error)
  })
}
