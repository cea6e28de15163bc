import { type AddressRanges, compileRanges } from '../config/address-ranges.ts'
import { type ClaimValues, compileClaimValues, matchesOneOf } from '../config/claim-values.ts'
import { isMapping } from '../config/key-path.ts'
import type { Route } from '../config/schema.ts'
import type { Claims } from '../oidc/token-set.ts'
import { type ClaimPath, compileClaimPath, countsByKeys, isOmitted, isSet, rawValueAt } from './claims.ts'

/** A rule as configured: the `require` of a route or of its `bearer`, or a rule of `any` or `not`. */
export type AccessRule = Pick<Route['require'], 'claims' | 'networks'> & {
  readonly any?: readonly AccessRule[] | null
  readonly not?: AccessRule | null
}

/**
 * Whether a rule holds. A rule is unknown if it depends on a claim that the provider omitted, or on the address of a
 * client that has none. Its negation is then unknown too, and neither lets a request in.
 */
export type Truth = typeof FAILS | typeof UNKNOWN | typeof HOLDS

// Ordered numbers: the truth of a rule is the minimum of its parts, and that of `any` is the maximum of its rules.
export const FAILS = 0
export const UNKNOWN = 1
export const HOLDS = 2

export interface ClaimTest {
  readonly path: ClaimPath
  readonly values: ClaimValues
}

interface CompiledRule {
  readonly claims: readonly ClaimTest[]
  readonly networks: AddressRanges | null
  readonly any: readonly CompiledRule[] | null
  readonly not: CompiledRule | null
}

const compiledRules = new WeakMap<AccessRule, CompiledRule>()

/** Returns whether a rule holds for a user's claims and a client's address. Allocates nothing on the usual path. */
export function ruleHolds(rule: AccessRule, claims: Claims, address: string): boolean {
  return truthOf(compiledOf(rule), claims, address) === HOLDS
}

/** Compiles a rule once. Requests of a route always have the same rule object. */
export function compiledOf(rule: AccessRule): CompiledRule {
  const known = compiledRules.get(rule)
  if (known !== undefined) return known
  const compiled = compileRule(rule)
  compiledRules.set(rule, compiled)
  return compiled
}

function compileRule({ claims, networks, any = null, not = null }: AccessRule): CompiledRule {
  return {
    claims: Object.entries(claims).map(([name, values]) => ({
      path: compileClaimPath(name),
      values: compileClaimValues(name, values),
    })),
    networks: networks === null ? null : compileRanges(networks),
    any: any?.map(compileRule) ?? null,
    not: not === null ? null : compileRule(not),
  }
}

function truthOf({ claims, networks, any, not }: CompiledRule, user: Claims, address: string): Truth {
  let truth: Truth = HOLDS
  for (const test of claims) {
    const one = claimTruth(test, user)
    if (one < truth) truth = one
    if (truth === FAILS) return FAILS
  }
  if (networks !== null) {
    const one = networkTruth(networks, address)
    if (one < truth) truth = one
  }
  if (any !== null && truth !== FAILS) {
    const one = anyTruth(any, user, address)
    if (one < truth) truth = one
  }
  if (not !== null && truth !== FAILS) {
    const one = negated(truthOf(not, user, address))
    if (one < truth) truth = one
  }
  return truth
}

function anyTruth(rules: readonly CompiledRule[], user: Claims, address: string): Truth {
  let truth: Truth = FAILS
  for (const rule of rules) {
    const one = truthOf(rule, user, address)
    if (one > truth) truth = one
    if (truth === HOLDS) return HOLDS
  }
  return truth
}

export function negated(truth: Truth): Truth {
  return truth === UNKNOWN ? UNKNOWN : truth === HOLDS ? FAILS : HOLDS
}

export function networkTruth(networks: AddressRanges, address: string): Truth {
  if (networks.contains(address)) return HOLDS
  return address === '' ? UNKNOWN : FAILS
}

export function claimTruth({ path, values }: ClaimTest, user: Claims): Truth {
  const value = rawValueAt(user, path)
  if (value === undefined || (Array.isArray(value) && value.length === 0))
    return isOmitted(user, path) ? UNKNOWN : FAILS
  if (!Array.isArray(value)) return accepts(values, value) ? HOLDS : FAILS
  for (const item of value) if (accepts(values, item)) return HOLDS
  return FAILS
}

export function accepts(values: ClaimValues, item: unknown): boolean {
  if (!isMapping(item)) return matchesOneOf(values, item)
  if (!countsByKeys(item)) return false
  for (const key in item) if (isSet(item, key) && matchesOneOf(values, key)) return true
  return false
}
