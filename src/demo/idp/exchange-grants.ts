import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from 'jose'
import type { Provider, TokenEndpointGrantContext } from 'oidc-provider'
import type { IdpSettings } from './settings.ts'

type ExchangeContext = TokenEndpointGrantContext<Readonly<Record<string, string | undefined>>>

interface ExchangeRequest {
  readonly subjectToken: string | undefined
  readonly audience: string
  readonly scope: string
}

export const API_SCOPES = ['orders.read', 'orders.write'] as const

/** The grants that oidc-provider lacks: token exchange, and the on-behalf-of flow of Entra ID. */
export const EXCHANGE_GRANTS = {
  tokenExchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
  onBehalfOf: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
} as const

const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'

function refuse(ctx: ExchangeContext, body: Readonly<Record<string, unknown>>): void {
  ctx.status = 400
  ctx.body = body
}

/** Splits a scope of Entra ID, such as `api://orders/orders.read`; `.default` means all scopes. */
function fromEntraScope(scope: string): { audience: string; scope: string } {
  const at = scope.lastIndexOf('/')
  const name = scope.slice(at + 1)
  return { audience: scope.slice(0, Math.max(0, at)), scope: name === '.default' ? API_SCOPES.join(' ') : name }
}

/** Returns the requested exchange, or the description of an error. */
function exchangeRequestOf({ oidc: { params } }: ExchangeContext): ExchangeRequest | string {
  if (params.grant_type === EXCHANGE_GRANTS.onBehalfOf) {
    if (params.requested_token_use !== 'on_behalf_of') return 'requested_token_use must be on_behalf_of'
    return { subjectToken: params.assertion, ...fromEntraScope(params.scope ?? '') }
  }
  if (params.subject_token_type !== ACCESS_TOKEN_TYPE) return 'only access tokens are exchanged'
  return {
    subjectToken: params.subject_token,
    audience: [params.resource].flat()[0] ?? params.audience ?? '',
    scope: params.scope ?? API_SCOPES.join(' '),
  }
}

/** Returns the thumbprint of the key that signed the request's DPoP proof; `null` without a proof. */
async function keyOfProof(ctx: ExchangeContext): Promise<string | null> {
  const proof = ctx.get('dpop')
  if (proof === '') return null
  const { protectedHeader } = await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt' })
  return calculateJwkThumbprint(protectedHeader.jwk ?? {})
}

async function exchange(ctx: ExchangeContext, settings: IdpSettings): Promise<void> {
  const { provider, client } = ctx.oidc
  const request = exchangeRequestOf(ctx)
  if (typeof request === 'string' || request.audience === '') {
    refuse(ctx, {
      error: 'invalid_request',
      error_description: typeof request === 'string' ? request : 'an audience is required',
    })
    return
  }
  const refusal = settings.refuseExchange?.(request.audience) ?? null
  if (refusal !== null) {
    refuse(ctx, refusal)
    return
  }
  const subject = await provider.AccessToken.find(request.subjectToken ?? '')
  if (subject === undefined || subject.clientId !== client.clientId) {
    refuse(ctx, { error: 'invalid_grant', error_description: 'the subject token was not issued to this client' })
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
    scope: request.scope,
  })
  token.resourceServer = new provider.ResourceServer(request.audience, {
    scope: API_SCOPES.join(' '),
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'RS256' } },
  })
  const key = await keyOfProof(ctx)
  if (key !== null) token.setThumbprint('jkt', key)
  const accessToken = await token.save()
  ctx.body = {
    access_token: accessToken,
    token_type: key === null ? 'Bearer' : 'DPoP',
    expires_in: token.expiration,
    scope: request.scope,
    ...(ctx.oidc.params.grant_type === EXCHANGE_GRANTS.tokenExchange ? { issued_token_type: ACCESS_TOKEN_TYPE } : {}),
  }
}

/** Registers both grants. The new token is a JWT for the requested audience. */
export function registerExchangeGrants(provider: Provider, settings: IdpSettings): void {
  const handler = async (ctx: ExchangeContext): Promise<void> => exchange(ctx, settings)
  provider.registerGrantType<Readonly<Record<string, string | undefined>>>(EXCHANGE_GRANTS.tokenExchange, handler, [
    'subject_token',
    'subject_token_type',
    'requested_token_type',
    'audience',
    'resource',
    'scope',
  ])
  provider.registerGrantType<Readonly<Record<string, string | undefined>>>(EXCHANGE_GRANTS.onBehalfOf, handler, [
    'assertion',
    'requested_token_use',
    'scope',
  ])
}
