import type { Provider, TokenEndpointGrantContext } from 'oidc-provider'
import { apiScopes } from './api-scopes.ts'
import type { IdpSettings } from './settings.ts'

type ExchangeContext = TokenEndpointGrantContext<Readonly<Record<string, string | undefined>>>

type Asked = { subjectToken: string | undefined; audience: string; scope: string }

/** The grants beside those that oidc-provider has: token exchange (RFC 8693), and on-behalf-of as Entra does it. */
export const exchangeGrants = {
  tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
  onBehalfOf: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
} as const

const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'

const refuse = (ctx: ExchangeContext, body: Readonly<Record<string, unknown>>): void => {
  ctx.status = 400
  ctx.body = body
}

/** `api://orders/orders.read` is the scope `orders.read` of `api://orders`; `.default` is all of them. */
const fromEntraScope = (scope: string): { audience: string; scope: string } => {
  const at = scope.lastIndexOf('/')
  const name = scope.slice(at + 1)
  return { audience: scope.slice(0, Math.max(0, at)), scope: name === '.default' ? apiScopes.join(' ') : name }
}

const askedFor = ({ oidc: { params } }: ExchangeContext): Asked | string => {
  if (params.grant_type === exchangeGrants.onBehalfOf) {
    if (params.requested_token_use !== 'on_behalf_of') return 'requested_token_use must be on_behalf_of'
    return { subjectToken: params.assertion, ...fromEntraScope(params.scope ?? '') }
  }
  if (params.subject_token_type !== accessTokenType) return 'only access tokens are exchanged'
  return {
    subjectToken: params.subject_token,
    audience: [params.resource].flat()[0] ?? params.audience ?? '',
    scope: params.scope ?? apiScopes.join(' '),
  }
}

const exchange = async (ctx: ExchangeContext, settings: IdpSettings): Promise<void> => {
  const { provider, client } = ctx.oidc
  const asked = askedFor(ctx)
  if (typeof asked === 'string' || asked.audience === '') {
    refuse(ctx, { error: 'invalid_request', error_description: typeof asked === 'string' ? asked : 'which audience?' })
    return
  }
  const refusal = settings.refuseExchange?.(asked.audience) ?? null
  if (refusal !== null) {
    refuse(ctx, refusal)
    return
  }
  const subject = await provider.AccessToken.find(asked.subjectToken ?? '')
  if (subject === undefined || subject.clientId !== client.clientId) {
    refuse(ctx, { error: 'invalid_grant', error_description: 'the subject token is not one of this client’s' })
    return
  }
  const { accountId, grantId, sessionUid, sid } = subject
  const token = new provider.AccessToken({
    accountId,
    grantId,
    sessionUid,
    sid,
    client,
    gty: 'exchange',
    scope: asked.scope,
  })
  token.resourceServer = new provider.ResourceServer(asked.audience, {
    scope: apiScopes.join(' '),
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'RS256' } },
  })
  const accessToken = await token.save()
  ctx.body = {
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: token.expiration,
    scope: asked.scope,
    ...(ctx.oidc.params.grant_type === exchangeGrants.tokenExchange ? { issued_token_type: accessTokenType } : {}),
  }
}

/** Teaches a provider both grants; the new token is a JWT for the audience that was asked for. */
export const registerExchangeGrants = (provider: Provider, settings: IdpSettings): void => {
  const handler = async (ctx: ExchangeContext): Promise<void> => exchange(ctx, settings)
  provider.registerGrantType<Readonly<Record<string, string | undefined>>>(exchangeGrants.tokenExchange, handler, [
    'subject_token',
    'subject_token_type',
    'requested_token_type',
    'audience',
    'resource',
    'scope',
  ])
  provider.registerGrantType<Readonly<Record<string, string | undefined>>>(exchangeGrants.onBehalfOf, handler, [
    'assertion',
    'requested_token_use',
    'scope',
  ])
}
