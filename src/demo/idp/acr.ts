/** The authentication context classes of the provider, weakest first. */
export const acrs = { password: 'urn:demo:password', mfa: 'urn:demo:mfa' } as const

function namesIn(value: unknown): string[] {
  if (typeof value === 'string') return value.split(' ')
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

interface ClaimsRequest {
  readonly id_token?: { readonly acr?: { readonly value?: unknown; readonly values?: unknown } | null } | null
}

function idTokenAcrs(claims: unknown): string[] {
  if (typeof claims !== 'string') return []
  const { id_token: idToken }: ClaimsRequest = JSON.parse(claims)
  return [...namesIn(idToken?.acr?.value), ...namesIn(idToken?.acr?.values)]
}

/**
 * Returns whether an authorization request requires a second factor: `acr_values` or the `claims` parameter names
 * `acrs.mfa`, and neither names `acrs.password`.
 *
 * @see https://openid.net/specs/openid-connect-core-1_0.html#acrSemantics
 */
export function asksForSecondFactor(params: Readonly<Record<string, unknown>>): boolean {
  const requested = [...namesIn(params.acr_values), ...idTokenAcrs(params.claims)]
  return requested.includes(acrs.mfa) && !requested.includes(acrs.password)
}
