import type { JWTPayload } from 'jose'

/** The placeholder for a tenant's id in the issuer of a multi-tenant provider, such as Entra. */
const TENANT = '{tenantid}'

/** Returns whether the issuer in a provider's metadata is a template, so that its tokens have one issuer per tenant. */
export function isTemplate(issuer: string): boolean {
  return issuer.includes(TENANT)
}

/** Returns the issuer of one tenant if `issuer` is a template, otherwise `issuer` itself. */
export function issuerOfTenant(issuer: string, tenant: string): string {
  return issuer.replace(TENANT, tenant)
}

/**
 * Returns the `iss` that a token with these claims must have: the provider's issuer, a template filled in with the
 * token's `tid`. Throws if a template needs a `tid` and the token has none.
 */
export function issuerOf(issuer: string, { tid }: JWTPayload): string {
  if (!isTemplate(issuer)) return issuer
  if (typeof tid !== 'string' || !/^[\w.-]+$/.test(tid)) throw new Error('the token has no tid, which its issuer needs')
  return issuerOfTenant(issuer, tid)
}

/** Returns whether a provider with this issuer can have issued tokens with this `iss`; for use without the token. */
export function mayHaveIssued(issuer: string, iss: string): boolean {
  const [before = '', behind] = issuer.split(TENANT)
  if (behind === undefined) return iss === before
  const isFramed = iss.startsWith(before) && iss.endsWith(behind)
  return isFramed && /^[\w.-]+$/.test(iss.slice(before.length, iss.length - behind.length))
}
