import { decodeJwt } from 'jose'
import type { Grant, interactionPolicy, KoaContextWithOIDC } from 'oidc-provider'
import { acrs, asksForSecondFactor } from './acr.ts'
import type { Observed } from './observed.ts'
import type { IdpSettings } from './settings.ts'

/**
 * Creates the policy that decides when the user must interact. It extends the policy of oidc-provider: the user must also
 * interact if `acr_values` requires a second factor that the session lacks, and with `prompt=select_account`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9470
 */
export function createInteractionPolicy(
  { base, Check, Prompt }: typeof interactionPolicy,
  settings: Pick<IdpSettings, 'ignoreStepUp'>,
): interactionPolicy.Prompt[] {
  const policy = base()
  policy
    .get('login')
    ?.checks.add(
      new Check(
        'acr_values',
        'a second factor is required',
        'interaction_required',
        ({ oidc }) =>
          !settings.ignoreStepUp && asksForSecondFactor(oidc.params ?? {}) && oidc.session?.acr !== acrs.mfa,
      ),
    )
  for (const check of ['max_age', 'essential_acr', 'essential_acrs']) {
    const builtIn = policy.get('login')?.checks.get(check)
    if (builtIn === undefined) throw new Error(`oidc-provider has no check ${check}`)
    const { check: isNeeded } = builtIn
    builtIn.check = async (ctx) => (settings.ignoreStepUp ? Check.NO_NEED_TO_PROMPT : isNeeded(ctx))
  }
  policy.add(new Prompt({ name: 'select_account', requestable: true }), 0)
  return policy
}

/** Returns a grant for everything that the client requests, because the demo never asks for consent. */
export async function grantEverything(
  { oidc }: KoaContextWithOIDC,
  resources: readonly string[],
): Promise<Grant | undefined> {
  const clientId = oidc.client?.clientId
  const accountId = oidc.session?.accountId
  if (clientId === undefined || accountId === undefined) return undefined
  const grantId = oidc.session?.grantIdFor(clientId)
  const known = grantId === undefined ? undefined : await oidc.provider.Grant.find(grantId)
  // The session may still name a grant of the previous user.
  const grant = known?.accountId === accountId ? known : new oidc.provider.Grant({ clientId, accountId })
  grant.addOIDCScope([...oidc.requestParamScopes].join(' '))
  grant.addOIDCClaims([...oidc.requestParamClaims])
  for (const resource of [...Object.keys(oidc.resourceServers ?? {}), ...resources]) {
    grant.addResourceScope(resource, [...oidc.requestParamScopes].join(' '))
  }
  await grant.save()
  return grant
}

type Parameters = Record<string, unknown>

function parametersAsSent(ctx: KoaContextWithOIDC): Parameters {
  const { route, body, entities } = ctx.oidc
  if (route !== 'authorization') return { ...body }
  const requestObject = entities.PushedAuthorizationRequest?.request ?? ctx.query['request']
  return { ...ctx.query, ...(typeof requestObject === 'string' ? decodeJwt(requestObject) : {}) }
}

function toTexts(params: Parameters): Record<string, string> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
}

function scopesIn({ scope }: Parameters): string[] {
  return typeof scope === 'string' ? scope.split(' ') : []
}

function withSidAndAcr(claims: unknown): string {
  const requested: { id_token?: object | null } = typeof claims === 'string' ? JSON.parse(claims) : {}
  return JSON.stringify({ ...requested, id_token: { sid: null, acr: null, amr: null, ...requested.id_token } })
}

/**
 * Records a valid authorization request, then changes it: `offline_access` needs no `prompt=consent`, and every ID token
 * contains `sid`, `acr` and `amr`.
 */
export function completeAuthorizationRequest(ctx: KoaContextWithOIDC, observed: Observed): void {
  const { route, params = {} } = ctx.oidc
  const sent = parametersAsSent(ctx)
  if (route === 'authorization') observed.lastAuthorizationRequest = toTexts(sent)

  const scopes = scopesIn(params)
  if (scopesIn(sent).includes('offline_access') && !scopes.includes('offline_access')) {
    params.scope = [...scopes, 'offline_access'].join(' ')
  }
  if (scopes.includes('openid')) params.claims = withSidAndAcr(params.claims)
}
