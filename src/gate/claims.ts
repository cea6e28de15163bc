import type { Claims } from '../oidc/token-set.ts'
import type { ForbiddenHint } from './verdict.ts'

/**
 * Returns a claim by its name, or by its path through nested objects (`realm_access.roles`), whose names may contain
 * dots (`resource_access.com.example.app.roles`).
 */
export function claimAt(claims: Claims, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name]
  for (let dot = name.indexOf('.'); dot !== -1; dot = name.indexOf('.', dot + 1)) {
    const outer = name.slice(0, dot)
    const inner = Object.hasOwn(claims, outer) ? claims[outer] : undefined
    if (!isObject(inner)) continue
    const found = claimAt(inner, name.slice(dot + 1))
    if (found !== undefined) return found
  }
  return undefined
}

function isObject(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Returns whether the provider omitted a claim because it has too many values (overage). The ID token then names
 * another source, which the gateway does not query, or only reports the omission, as Entra does with `hasgroups`.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AggregatedDistributedClaims
 */
export function isOmitted(claims: Claims, name: string): boolean {
  const sources = claimAt(claims, '_claim_names')
  const [outermost = name] = name.split('.')
  const named = typeof sources === 'object' && sources !== null ? sources : {}
  if (Object.hasOwn(named, name) || Object.hasOwn(named, outermost)) return true
  return name === 'groups' && claims['hasgroups'] === true
}

/** Returns what the user may learn about a rule for this claim, as a member of the denial. */
export function hintOf(name: string): { readonly hint?: ForbiddenHint } {
  if (/e-?mail/i.test(name)) return { hint: 'email' }
  return /group|role/i.test(name) ? { hint: 'group' } : {}
}
