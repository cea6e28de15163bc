import { decodeJwt } from 'jose'
import type { KoaContextWithOIDC } from 'oidc-provider'
import { isRecord } from '../is-record.ts'
import type { Observed } from './observed.ts'

type Parameters = Record<string, unknown>

const asSent = (ctx: KoaContextWithOIDC): Parameters => {
  const { route, body, entities } = ctx.oidc
  if (route !== 'authorization') return { ...body }
  const pushed = entities.PushedAuthorizationRequest
  return { ...ctx.query, ...(pushed === undefined ? {} : decodeJwt(pushed.request)) }
}

const asText = (params: Parameters): Record<string, string> =>
  Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )

const scopesIn = ({ scope }: Parameters): string[] => (typeof scope === 'string' ? scope.split(' ') : [])

const withSidAndAcr = (claims: unknown): string => {
  const parsed: unknown = typeof claims === 'string' ? JSON.parse(claims) : {}
  const asked = isRecord(parsed) ? parsed : {}
  const idToken = isRecord(asked.id_token) ? asked.id_token : {}
  return JSON.stringify({ ...asked, id_token: { sid: null, acr: null, amr: null, ...idToken } })
}

/**
 * A last look at a valid authorization request: notes it, then makes the provider as obliging as the demo wants it.
 * `offline_access` counts without `prompt=consent`, and every ID token carries `sid`, `acr` and `amr`.
 */
export const completeAuthorizationRequest = (ctx: KoaContextWithOIDC, observed: Observed): void => {
  const { route, params = {} } = ctx.oidc
  const sent = asSent(ctx)
  if (route === 'authorization') observed.lastAuthorizationRequest = asText(sent)

  const scopes = scopesIn(params)
  if (scopesIn(sent).includes('offline_access') && !scopes.includes('offline_access')) {
    params.scope = [...scopes, 'offline_access'].join(' ')
  }
  if (scopes.includes('openid')) params.claims = withSidAndAcr(params.claims)
}
