import { literal } from '../entry.ts'
import type { Directive } from '../read-apache.ts'

/** Who a set of `Require` directives lets in. */
export type Policy =
  | { readonly kind: 'everybody' }
  | { readonly kind: 'users'; readonly claims: Readonly<Record<string, string[]>> }
  | { readonly kind: 'unsaid'; readonly why: string }

const unsaid = (why: string): Policy => ({ kind: 'unsaid', why })

/**
 * Reads `Require` directives as Apache does: one of them is enough, in <RequireAll> all are needed. What a route can't
 * say is `unsaid`, never less than was asked for; `null` where nothing is asked for. `userClaim` is what `Require user`
 * compares.
 */
export function policyOf(directives: readonly Directive[], userClaim: string | null): Policy | null {
  const asked = directives.flatMap((directive) => one(directive, userClaim) ?? [])
  return asked.length === 0 ? null : any(asked)
}

/** The `Require` directives within, and the sections that hold them. */
export function isRequirement({ name }: Directive): boolean {
  return /^(Require|RequireAll|RequireAny|RequireNone)$/i.test(name)
}

function one(directive: Directive, userClaim: string | null): Policy | null {
  const name = directive.name.toLowerCase()
  if (name === 'requireany') return policyOf(directive.inner ?? [], userClaim)
  if (name === 'requireall') return all((directive.inner ?? []).flatMap((inner) => one(inner, userClaim) ?? []))
  if (name === 'requirenone') return unsaid('<RequireNone> has no equal')
  if (name !== 'require') return null
  const [kind = '', ...rest] = directive.args
  switch (kind.toLowerCase()) {
    case 'valid-user':
      return { kind: 'users', claims: {} }
    case 'all':
      return rest[0]?.toLowerCase() === 'granted' ? { kind: 'everybody' } : unsaid('nobody was let in')
    case 'claim':
      return any(rest.map(claimOf))
    case 'user':
      return userClaim === null
        ? unsaid('the user is sub@issuer there: ask for the claim sub')
        : { kind: 'users', claims: { [userClaim]: rest.map(literal) } }
    case 'not':
      return unsaid('"Require not" has no equal')
    default:
      return unsaid(`"Require ${kind}" has no equal`)
  }
}

function claimOf(spec: string): Policy {
  const [, name, value] = /^([^:~]+):(.+)$/s.exec(spec) ?? []
  if (name === undefined || value === undefined)
    return unsaid('an expression over a claim has no equal: list the values')
  return { kind: 'users', claims: { [name]: [literal(value)] } }
}

function any(policies: readonly Policy[]): Policy {
  const [only] = policies
  if (only !== undefined && policies.length === 1) return only
  if (policies.some(({ kind }) => kind === 'everybody')) return { kind: 'everybody' }
  const users = policies.filter((policy) => policy.kind === 'users')
  if (users.some(({ claims }) => Object.keys(claims).length === 0)) return { kind: 'users', claims: {} }
  const strange = policies.find((policy) => policy.kind === 'unsaid')
  if (strange !== undefined) return strange
  const names = new Set(users.flatMap(({ claims }) => Object.keys(claims)))
  if (names.size > 1 || users.some(({ claims }) => Object.keys(claims).length > 1)) {
    return unsaid('one of several claims was enough, and a route asks for all of its claims')
  }
  const [name = ''] = names
  return { kind: 'users', claims: { [name]: [...new Set(users.flatMap(({ claims }) => claims[name] ?? []))] } }
}

function all(policies: readonly Policy[]): Policy {
  const strange = policies.find((policy) => policy.kind === 'unsaid')
  if (strange !== undefined) return strange
  const users = policies.filter((policy) => policy.kind === 'users')
  if (users.length === 0) return policies.length === 0 ? unsaid('an empty <RequireAll>') : { kind: 'everybody' }
  const claims: Record<string, string[]> = {}
  for (const [name, values] of users.flatMap((user) => Object.entries(user.claims))) {
    if (Object.hasOwn(claims, name)) return unsaid(`several values of ${name} were needed at once`)
    claims[name] = values
  }
  return { kind: 'users', claims }
}
