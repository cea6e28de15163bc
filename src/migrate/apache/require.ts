import { literal } from '../setting.ts'
import type { Directive } from '../readers/apache.ts'

/** Which users a set of `Require` directives lets in; `inexpressible` if a route cannot require the same. */
export type Policy =
  | { readonly kind: 'public' }
  | { readonly kind: 'users'; readonly claims: Readonly<Record<string, string[]>> }
  | { readonly kind: 'inexpressible'; readonly reason: string }

/**
 * Returns the policy of `Require` directives; `null` without directives. A user must meet one of the directives, or all
 * of them in `<RequireAll>`. The policy never lets in more users than the directives do. `userClaim` is the claim that
 * `Require user` compares.
 */
export function policyOf(directives: readonly Directive[], userClaim: string | null): Policy | null {
  const policies = directives.flatMap((directive) => policyOfOne(directive, userClaim) ?? [])
  return policies.length === 0 ? null : anyOf(policies)
}

export function isRequirement({ name }: Directive): boolean {
  return /^(Require|RequireAll|RequireAny|RequireNone)$/i.test(name)
}

function policyOfOne(directive: Directive, userClaim: string | null): Policy | null {
  const name = directive.name.toLowerCase()
  if (name === 'requireany') return policyOf(directive.inner ?? [], userClaim)
  if (name === 'requireall')
    return allOf((directive.inner ?? []).flatMap((inner) => policyOfOne(inner, userClaim) ?? []))
  if (name === 'requirenone') return inexpressible('<RequireNone> has no equivalent')
  if (name !== 'require') return null
  const [kind = '', ...rest] = directive.args
  switch (kind.toLowerCase()) {
    case 'valid-user':
      return { kind: 'users', claims: {} }
    case 'all':
      return rest[0]?.toLowerCase() === 'granted' ? { kind: 'public' } : inexpressible('it let no user in')
    case 'claim':
      return anyOf(rest.map(claimOf))
    case 'user':
      return userClaim === null
        ? inexpressible('Apache compares sub@issuer: require the claim sub')
        : { kind: 'users', claims: { [userClaim]: rest.map(literal) } }
    case 'not':
      return inexpressible('"Require not" has no equivalent')
    default:
      return inexpressible(`"Require ${kind}" has no equivalent`)
  }
}

function inexpressible(reason: string): Policy {
  return { kind: 'inexpressible', reason }
}

function claimOf(spec: string): Policy {
  const [, name, value] = /^([^:~]+):(.+)$/s.exec(spec) ?? []
  if (name === undefined || value === undefined)
    return inexpressible('an expression over a claim has no equivalent: list the values')
  return { kind: 'users', claims: { [name]: [literal(value)] } }
}

function anyOf(policies: readonly Policy[]): Policy {
  const [only] = policies
  if (only !== undefined && policies.length === 1) return only
  if (policies.some(({ kind }) => kind === 'public')) return { kind: 'public' }
  const users = policies.filter((policy) => policy.kind === 'users')
  if (users.some(({ claims }) => Object.keys(claims).length === 0)) return { kind: 'users', claims: {} }
  const unclear = policies.find((policy) => policy.kind === 'inexpressible')
  if (unclear !== undefined) return unclear
  const names = new Set(users.flatMap(({ claims }) => Object.keys(claims)))
  if (names.size > 1 || users.some(({ claims }) => Object.keys(claims).length > 1)) {
    return inexpressible('one of several claims was enough, and a route requires all of its claims')
  }
  const [name = ''] = names
  return { kind: 'users', claims: { [name]: [...new Set(users.flatMap(({ claims }) => claims[name] ?? []))] } }
}

function allOf(policies: readonly Policy[]): Policy {
  const unclear = policies.find((policy) => policy.kind === 'inexpressible')
  if (unclear !== undefined) return unclear
  const users = policies.filter((policy) => policy.kind === 'users')
  if (users.length === 0) return policies.length === 0 ? inexpressible('<RequireAll> is empty') : { kind: 'public' }
  const claims: Record<string, string[]> = {}
  for (const [name, values] of users.flatMap((user) => Object.entries(user.claims))) {
    if (Object.hasOwn(claims, name)) return inexpressible(`several values of ${name} were required at once`)
    claims[name] = values
  }
  return { kind: 'users', claims }
}
