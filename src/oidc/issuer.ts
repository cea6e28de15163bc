import type { JWTPayload } from 'jose'

/** Stands for a tenant's id in the issuer of a provider that speaks for many, as Entra's does. */
const TENANT = '{tenantid}'

/** Whether the issuer in a provider's metadata is a template, so that tokens of many issuers are its own. */
export function isTemplate(issuer: string): boolean {
  return issuer.includes(TENANT)
}

/**
 * The `iss` that a token of these claims must have: the provider's issuer, a template filled from the token's `tid`.
 * Throws where there is no `tid` to fill it from.
 */
export function issuerOf(issuer: string, { tid }: JWTPayload): string {
  if (!isTemplate(issuer)) return issuer
  if (typeof tid !== 'string' || !/^[\w.-]+$/.test(tid)) throw new Error('the token has no tid, which its issuer needs')
  return issuer.replace(TENANT, tid)
}

/** Whether a token's `iss` can be one of a provider with this issuer, where the token itself is not at hand. */
export function mayHaveIssued(issuer: string, iss: string): boolean {
  const [before = '', behind] = issuer.split(TENANT)
  if (behind === undefined) return iss === before
  const isFramed = iss.startsWith(before) && iss.endsWith(behind)
  return isFramed && /^[\w.-]+$/.test(iss.slice(before.length, iss.length - behind.length))
}
