import { isRecord } from '../is-record.ts'

/** The authentication context classes of the demo's provider, weakest first. */
export const acrs = { password: 'urn:demo:password', mfa: 'urn:demo:mfa' } as const

const named = (value: unknown): string[] => {
  if (typeof value === 'string') return value.split(' ')
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

const member = (value: unknown, name: string): unknown => (isRecord(value) ? value[name] : undefined)

const idTokenAcrs = (claims: unknown): string[] => {
  if (typeof claims !== 'string') return []
  const acr = member(member(JSON.parse(claims), 'id_token'), 'acr')
  return [...named(member(acr, 'value')), ...named(member(acr, 'values'))]
}

/**
 * Whether an authorization request can only be answered with a second factor: by `acr_values`
 * (OpenID Connect Core 3.1.2.1) or the `claims` parameter (5.5.1.1) it names that class and not the weaker one.
 */
export const asksForSecondFactor = (params: Readonly<Record<string, unknown>>): boolean => {
  const asked = [...named(params.acr_values), ...idTokenAcrs(params.claims)]
  return asked.includes(acrs.mfa) && !asked.includes(acrs.password)
}
