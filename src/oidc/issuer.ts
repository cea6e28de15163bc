import type { JWTPayload } from 'jose'
import type { ServerMetadata } from 'openid-client'
import type { Preset } from '../config/presets/table.ts'

/** The placeholder for the tenant id in the issuer of a multi-tenant provider, such as Entra. */
const TENANT = '{tenantid}'

const TENANT_ID = /^https?:\/\/[^/]+\/([0-9a-f-]{36})\//

/**
 * Returns whether the issuer in a provider's metadata is a template. The tokens then contain the issuer of their
 * tenant.
 */
export function isTemplate(issuer: string): boolean {
  return issuer.includes(TENANT)
}

/** Returns the template for an issuer of Microsoft Entra ID that covers several tenants, such as `…/common/v2.0`. */
export function templateOf(issuer: string): string {
  return issuer.replace(/(?<=^https?:\/\/[^/]+\/)[^/]+/, TENANT)
}

/** Returns the issuer of one tenant if `issuer` is a template, otherwise `issuer` itself. */
export function issuerOfTenant(issuer: string, tenant: string): string {
  return issuer.replace(TENANT, tenant)
}

/**
 * Returns the `iss` that a token with these claims must have. If the provider's issuer is a template, the token's `tid`
 * is filled in. Throws if the template needs a `tid` and the token has none.
 */
export function issuerOf(issuer: string, { tid }: JWTPayload): string {
  if (!isTemplate(issuer)) return issuer
  if (typeof tid !== 'string' || !/^[\w.-]+$/.test(tid)) throw new Error('the token has no tid, which its issuer needs')
  return issuerOfTenant(issuer, tid)
}

/** Returns a URL with another origin. The rest is unchanged, even the `{tenantid}` of a template. */
export function withOrigin(url: string, origin: string): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, origin)
}

/** Returns whether a provider with this issuer or template may issue tokens with this `iss`. */
export function mayHaveIssued(issuer: string, iss: string): boolean {
  const [prefix = '', suffix] = issuer.split(TENANT)
  if (suffix === undefined) return iss === prefix
  const matches = iss.startsWith(prefix) && iss.endsWith(suffix)
  return matches && /^[\w.-]+$/.test(iss.slice(prefix.length, iss.length - suffix.length))
}

/**
 * Returns the issuers or templates that access tokens of a provider may name: its own, `access_token_issuer` of the
 * metadata, and the one of its preset for the same tenant.
 * @see https://learn.microsoft.com/openspecs/windows_protocols/ms-oidce/586de7dd-3385-47c7-93a2-935d9e90441c
 */
export function accessTokenIssuers(server: ServerMetadata, preset: Preset | null): string[] {
  const { issuer, access_token_issuer: other } = server
  const tenant = TENANT_ID.exec(issuer)?.[1] ?? (isTemplate(issuer) ? TENANT : null)
  const ofPreset = preset?.accessTokenIssuer
  return [
    issuer,
    ...(typeof other === 'string' ? [other] : []),
    ...(ofPreset === undefined || tenant === null ? [] : [issuerOfTenant(ofPreset, tenant)]),
  ]
}
