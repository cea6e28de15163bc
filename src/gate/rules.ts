import { type AddressRanges, compileRanges } from '../config/address-ranges.ts'
import { type ClaimValues, compileClaimValues, matchesOneOf, matchingValue } from '../config/claim-values.ts'
import { isMapping } from '../config/key-path.ts'
import type { Route } from '../config/schema.ts'
import { type ClaimPath, compileClaimPath, countsByKeys, isOmitted, isSet, rawValueAt } from './claims.ts'
import { type Claims, unverifiedClaims } from '../oidc/token-set.ts'
import type { ForbiddenHint } from './verdict.ts'

/** A rule as configured: the `require` of a route or of its `bearer`, or a rule of `any` or `not`. */
export type Rule = Pick<Route['require'], 'claims' | 'networks'> & {
  readonly any?: readonly Rule[] | null
  readonly not?: Rule | null
}

/**
 * Whether a rule holds. A rule is unknown if it depends on a claim that the provider omitted, or on the address of a
 * client that has none: then `not` is unknown too, and neither lets a request in.
 */
type Truth = typeof FAILS | typeof UNKNOWN | typeof HOLDS

// In this order, a rule is as true as the least of its parts, and `any` as the greatest of its rules.
const FAILS = 0
const UNKNOWN = 1
const HOLDS = 2

interface ClaimTest {
  readonly path: ClaimPath
  readonly values: ClaimValues
}

interface CompiledRule {
  readonly claims: readonly ClaimTest[]
  readonly networks: AddressRanges | null
  readonly any: readonly CompiledRule[] | null
  readonly not: CompiledRule | null
}

const compiledRules = new WeakMap<Rule, CompiledRule>()

/** Returns whether a rule holds for a user's claims and a client's address. Allocates nothing on the usual path. */
export function ruleHolds(rule: Rule, claims: Claims, address: string): boolean {
  return truthOf(compiledOf(rule), claims, address) === HOLDS
}

/** Compiles a rule once. Requests of a route always have the same rule object. */
function compiledOf(rule: Rule): CompiledRule {
  const known = compiledRules.get(rule)
  if (known !== undefined) return known
  const compiled = compileRule(rule)
  compiledRules.set(rule, compiled)
  return compiled
}

function compileRule({ claims, networks, any = null, not = null }: Rule): CompiledRule {
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

function negated(truth: Truth): Truth {
  return truth === UNKNOWN ? UNKNOWN : truth === HOLDS ? FAILS : HOLDS
}

function networkTruth(networks: AddressRanges, address: string): Truth {
  if (networks.contains(address)) return HOLDS
  return address === '' ? UNKNOWN : FAILS
}

function claimTruth({ path, values }: ClaimTest, user: Claims): Truth {
  const value = rawValueAt(user, path)
  if (value === undefined || (Array.isArray(value) && value.length === 0))
    return isOmitted(user, path) ? UNKNOWN : FAILS
  if (!Array.isArray(value)) return accepts(values, value) ? HOLDS : FAILS
  for (const item of value) if (accepts(values, item)) return HOLDS
  return FAILS
}

function accepts(values: ClaimValues, item: unknown): boolean {
  if (!isMapping(item)) return matchesOneOf(values, item)
  if (!countsByKeys(item)) return false
  for (const key in item) if (isSet(item, key) && matchesOneOf(values, key)) return true
  return false
}

/** What a rule is evaluated for. */
export interface RuleInput {
  readonly claims: Claims
  /** The client's address, or an empty string if it has none. */
  readonly address: string
  /** The access token of the session. */
  readonly accessToken?: string | undefined
}

export interface Explanation {
  readonly holds: boolean
  /** The decisive parts of the rule, each with its path and the reason. Quotes configured values, never the user's. */
  readonly reasons: readonly string[]
  /** What the user may learn about the decisive parts, or `null`. */
  readonly hint: ForbiddenHint | null
  /** Whether the decision depends on a claim that the provider omitted. */
  readonly isOmission: boolean
}

interface Part {
  readonly truth: Truth
  readonly reasons: readonly string[]
  readonly hint?: ForbiddenHint | null
  readonly isOmission?: boolean
}

/** Returns which parts of a rule decide whether it holds. `at` is the path of the rule, such as `require`. */
export function explainRule(rule: Rule, input: RuleInput, at: string): Explanation {
  const parts = partsOf(rule, input, at)
  const all = least(parts)
  // The first part that does not hold is reason enough, in the order of the configuration.
  const { reasons, hint = null, isOmission = false } = parts.find(({ truth }) => truth !== HOLDS) ?? all
  return { holds: all.truth === HOLDS, reasons, hint, isOmission }
}

function partsOf(rule: Rule, input: RuleInput, at: string): Part[] {
  const { claims, networks } = compiledOf(rule)
  const { any = null, not = null } = rule
  const parts = claims.map((test) => explainClaim(test, rule.claims[test.path.name] ?? [], input, at))
  if (networks !== null) parts.push(explainNetworks(networks, rule.networks ?? [], input, at))
  if (any !== null) parts.push(greatest(any.map((one, index) => least(partsOf(one, input, `${at}.any[${index}]`)))))
  if (not !== null) {
    const part = least(partsOf(not, input, `${at}.not`))
    // The sentence for a group asks for another one, which would not help a user whose group is excluded.
    parts.push({ ...part, truth: negated(part.truth), hint: part.hint === 'group' ? null : (part.hint ?? null) })
  }
  return parts
}

/** Returns what decides if all parts must hold: the first part that is least true, or all parts. */
function least(parts: readonly Part[]): Part {
  const truth = parts.reduce<Truth>((lowest, part) => (part.truth < lowest ? part.truth : lowest), HOLDS)
  const decisive = parts.find((part) => part.truth === truth)
  return truth !== HOLDS && decisive !== undefined
    ? decisive
    : { truth, reasons: parts.flatMap(({ reasons }) => reasons), hint: hintOfAll(parts) }
}

/** Returns what decides if one part must hold: the first part that does, or all parts that come closest. */
function greatest(parts: readonly Part[]): Part {
  const truth = parts.reduce<Truth>((highest, part) => (part.truth > highest ? part.truth : highest), FAILS)
  const decisive = parts.filter((part) => part.truth === truth)
  return {
    truth,
    reasons: (truth === HOLDS ? decisive.slice(0, 1) : decisive).flatMap(({ reasons }) => reasons),
    hint: hintOfAll(decisive),
    isOmission: decisive.some(({ isOmission }) => isOmission),
  }
}

/** Returns the hint that all parts have, or `null`. */
function hintOfAll([first, ...others]: readonly Part[]): ForbiddenHint | null {
  const hint = first?.hint ?? null
  return others.every((part) => part.hint === hint) ? hint : null
}

function hintOfClaim(name: string): ForbiddenHint | null {
  if (/e-?mail(?!_verified)/i.test(name)) return 'email'
  return /group|role/i.test(name) ? 'group' : null
}

function explainClaim(
  test: ClaimTest,
  configured: Rule['claims'][string],
  { claims, accessToken = '' }: RuleInput,
  at: string,
): Part {
  const { path } = test
  const { name } = path
  const truth = claimTruth(test, claims)
  // The reasons of a session's claims need no path, because most routes require nothing else.
  const prefix = at === 'require' ? '' : `${at}.claims: `
  const reason = (text: string): readonly string[] => [prefix + text]
  const hint = hintOfClaim(name)
  if (truth === HOLDS) return { truth, hint, reasons: reason(`the claim ${name} ${acceptedIn(test, claims)}`) }
  if (truth === UNKNOWN) {
    const advice = name === 'groups' ? '; provider.groupsFrom reads them from an API' : ''
    const text = `the provider left the claim ${name} out of the ID token (too many values)${advice}`
    return { truth, reasons: reason(text), isOmission: true }
  }
  if (rawValueAt(claims, path) !== undefined) {
    const values = prefix === '' ? 'the values that this route requires' : listed(configured)
    return { truth, hint, reasons: reason(`the claim ${name} has none of ${values}`) }
  }
  // By default Keycloak puts roles into the access token only.
  const isInAccessToken = rawValueAt(unverifiedClaims(accessToken), path) !== undefined
  const advice = isInAccessToken ? '; the access token has it: let the provider add it to the ID token' : ''
  return { truth, hint, reasons: reason(`the claim ${name} is missing${advice}`) }
}

/** Returns the value with which a claim matches, or the pattern. */
function acceptedIn({ path, values }: ClaimTest, claims: Claims): string {
  const items = [rawValueAt(claims, path)].flat().flatMap((item) => {
    if (!isMapping(item)) return [item]
    return Object.keys(item).filter((key) => isSet(item, key))
  })
  return matchingValue(
    values,
    items.find((item) => accepts(values, item)),
  )
}

const MAX_LISTED = 5

function listed(values: readonly unknown[]): string {
  const some = values.slice(0, MAX_LISTED).map((value) => JSON.stringify(value))
  return [...some, ...(values.length > MAX_LISTED ? ['…'] : [])].join(', ')
}

function explainNetworks(
  networks: AddressRanges,
  configured: readonly string[],
  { address }: RuleInput,
  at: string,
): Part {
  const truth = networkTruth(networks, address)
  const text =
    truth === UNKNOWN
      ? 'the client has no address'
      : truth === HOLDS
        ? `${address} is in ${networks.find(address) ?? ''}`
        : `${address} is in none of ${configured.slice(0, MAX_LISTED).join(', ')}`
  return { truth, hint: 'network', reasons: [`${at}.networks: ${text}`] }
}
