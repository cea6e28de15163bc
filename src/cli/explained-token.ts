import { isForAllTenants, presetOf } from '../config/presets/apply.ts'
import type { ProviderSettings } from '../config/schema.ts'
import type { TokenRequirements } from '../oidc/access-token.ts'
import { accessTokenIssuers, issuerOfTenant, mayHaveIssued, templateOf } from '../oidc/issuer.ts'
import { audienceClaimOf, clientClaimOf, checkToken, type AcceptedTokens } from '../oidc/token-rules.ts'
import type { Claims } from '../oidc/token-set.ts'

/**
 * Returns whether the provider may issue tokens with the `iss` of these claims. Fills in the `tid` of the claims in the
 * issuers of a provider for all tenants, as far as they are known without its metadata.
 */
export function mayIssue(provider: ProviderSettings, { iss, tid }: Claims): boolean {
  if (iss === undefined) return true
  if (typeof iss !== 'string') return false
  const preset = presetOf(provider)
  const ofAllTenants = isForAllTenants(provider)
  if (!ofAllTenants && preset?.issuers?.test(iss) === true) return true
  const issuer = ofAllTenants ? templateOf(provider.issuer) : provider.issuer
  return accessTokenIssuers({ issuer }, preset).some(
    (one) => mayHaveIssued(one, iss) && (typeof tid !== 'string' || issuerOfTenant(one, tid) === iss),
  )
}

/** Why a client's own token is refused, or what makes it acceptable. */
export type TokenExplanation = { readonly refused: string } | { readonly accepted: readonly string[] }

interface Issuing extends AcceptedTokens {
  readonly clockTolerance: number
  /** The key that names the issuer. */
  readonly issuerKey: string
  /** The keys that accept a token, each with the values that it accepts. */
  readonly keys: readonly (readonly [key: string, values: readonly string[]])[]
}

/** Explains a token with these claims, which is assumed to be signed. Claims that are not given are not checked. */
export function explainToken(
  claims: Claims,
  requirements: TokenRequirements,
  providers: readonly ProviderSettings[],
  now: number,
): TokenExplanation {
  const { iss, exp, nbf, iat } = claims
  const issuing = issuingFor(claims, requirements, providers)
  if (issuing === null) {
    const known = [...providers, ...requirements.settings.issuers].map(({ issuer }) => issuer)
    return { refused: `the token’s iss is ${JSON.stringify(iss)}, but the route accepts only ${known.join(' or ')}` }
  }
  const refused = whyRefused(claims, issuing)
  if (refused !== null) return { refused }
  const [seconds, tolerance] = [now / 1000, issuing.clockTolerance / 1000]
  if (typeof exp === 'number' && exp <= seconds - tolerance) return { refused: 'the token has expired' }
  const isAhead = [nbf, iat].some((time) => typeof time === 'number' && time > seconds + tolerance)
  return isAhead ? { refused: 'the token is not valid yet' } : { accepted: whyAccepted(claims, issuing) }
}

function issuingFor(
  claims: Claims,
  { settings, audiences }: TokenRequirements,
  providers: readonly ProviderSettings[],
): Issuing | null {
  const index = settings.issuers.findIndex(({ issuer }) => issuer === claims['iss'])
  const other = settings.issuers[index]
  const provider = other === undefined ? providers.find((one) => mayIssue(one, claims)) : providers[0]
  if (provider === undefined) return null
  const own = other?.audience ?? null
  const resource = audiences.filter((one) => settings.audience?.includes(one) !== true)
  const clientIds = own === null ? (settings.clientIds ?? []) : []
  return {
    audiences: own ?? audiences,
    clientIds,
    substitutes: presetOf(other === undefined ? provider : { preset: 'auto', issuer: other.issuer }) ?? {},
    ownClientIds: other === undefined ? [provider.clientId] : [],
    clockTolerance: provider.clockTolerance,
    issuerKey: other === undefined ? 'the provider’s' : `bearer.issuers[${index}]`,
    keys:
      own === null
        ? [
            ['bearer.audience', settings.audience ?? []],
            ['bearer.metadata', resource],
            ['bearer.clientIds', clientIds],
          ]
        : [[`bearer.issuers[${index}].audience`, own]],
  }
}

function whyRefused(claims: Claims, issuing: Issuing): string | null {
  const { audiences, clientIds, substitutes } = issuing
  const isUnknown =
    (audiences.length > 0 && claims[audienceClaimOf(claims, substitutes)] === undefined) ||
    (clientIds.length > 0 && claims[clientClaimOf(claims, substitutes)] === undefined)
  // Claims that are not given count as accepted.
  const assumed = isUnknown ? { aud: audiences, client_id: clientIds[0] ?? '' } : {}
  const mismatch = checkToken({ ...assumed, ...claims }, 'jwt', issuing)
  if (mismatch === 'other-kind') return 'the token is an ID token or of another kind'
  if (mismatch === null) return null
  return mismatch
    .map(
      ({ claim, value, accepted }) =>
        `the token’s ${claim} is ${JSON.stringify(value)}, but the route accepts only ${accepted.join(', ')}`,
    )
    .join('; ')
}

function whyAccepted(claims: Claims, { issuerKey, keys, substitutes }: Issuing): string[] {
  const names = [audienceClaimOf(claims, substitutes), clientClaimOf(claims, substitutes)]
  const found = keys.flatMap(([key, values]) => {
    const claim = names[key === 'bearer.clientIds' ? 1 : 0] ?? ''
    const value = values.find((accepted) => [claims[claim]].flat().includes(accepted))
    const accepted = key === 'bearer.metadata' ? 'the URL of the resource (bearer.metadata)' : `in ${key}`
    return value === undefined ? [] : [`the token’s ${claim} ${value} is ${accepted}`]
  })
  const unknown = keys.flatMap(([key, values]) => (values.length === 0 ? [] : [`${key} (${values.join(', ')})`]))
  return [
    ...(claims['iss'] === undefined ? [] : [`the token’s iss is ${issuerKey}`]),
    ...(found.length > 0
      ? found
      : [`the claims do not show the token’s audience: the token must match ${unknown.join(' or ')}`]),
  ]
}
