import { type AddressRanges, compileRanges } from '../config/address-ranges.ts'
import { isMapping } from '../config/key-path.ts'
import type { Route } from '../config/schema.ts'
import { type ClaimPath, compileClaimPath, countsByKeys, isOmitted, isSet, rawValueAt } from './claims.ts'
import { type Claims, unverifiedClaims } from '../oidc/token-set.ts'

/** A rule as configured: the `require` of a route or of its `bearer`, or a rule of `any` or `not`. */
export type Rule = Pick<Route['require'], 'claims' | 'networks'> & {
  readonly any?: readonly Rule[] | null
  readonly not?: Rule | null
}

type ClaimValue = Rule['claims'][string][number]

/**
 * Whether a rule holds. A rule is unknown if it depends on a claim that the provider omitted, or on the address of a
 * client that has none: then `not` is unknown too, and neither lets a request in.
 */
type Truth = typeof FAILS | typeof UNKNOWN | typeof HOLDS

// In this order, a rule is as true as the least of its parts, and `any` as the greatest of its rules.
const FAILS = 0
const UNKNOWN = 1
const HOLDS = 2

interface CompiledRule {
  readonly claims: readonly ClaimTest[]
  readonly networks: AddressRanges | null
  readonly any: readonly CompiledRule[] | null
  readonly not: CompiledRule | null
}

interface ClaimTest {
  readonly path: ClaimPath
  /** Whether the claim is compared without the case of the letters A to Z. */
  readonly ignoresCase: boolean
  /** The values without a wildcard. `true`, `false` and numbers are also there as text. */
  readonly values: ReadonlySet<unknown>
  readonly patterns: readonly Pattern[]
}

interface Pattern {
  readonly text: string
  /** The texts before, between and after the wildcards. */
  readonly parts: readonly string[]
  readonly minLength: number
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
    claims: Object.entries(claims).map(([name, values]) => compileClaimTest(name, values)),
    networks: networks === null ? null : compileRanges(networks),
    any: any?.map(compileRule) ?? null,
    not: not === null ? null : compileRule(not),
  }
}

function compileClaimTest(name: string, configured: readonly ClaimValue[]): ClaimTest {
  const ignoresCase = name === 'email'
  const values = new Set<unknown>()
  const patterns: Pattern[] = []
  for (const value of configured) {
    if (typeof value === 'string') {
      const text = ignoresCase ? withoutCase(value) : value
      const parts = splitPattern(text)
      if (parts.length === 1) values.add(parts[0])
      else patterns.push({ text: value, parts, minLength: parts.join('').length })
    } else {
      values.add(value).add(String(value))
    }
  }
  return { path: compileClaimPath(name), ignoresCase, values, patterns }
}

/**
 * Splits a value at its wildcards. A backslash escapes a star and, before a star, a backslash; elsewhere it is an
 * ordinary character, as in `DOMAIN\user`.
 */
function splitPattern(value: string): string[] {
  const parts = ['']
  for (const token of value.match(/\\*\*|\\+|[^\\*]+/g) ?? []) {
    const last = parts.length - 1
    if (!token.endsWith('*')) {
      parts[last] += token
      continue
    }
    const backslashes = token.length - 1
    parts[last] += '\\'.repeat(backslashes >> 1)
    if (backslashes % 2 === 1) parts[last] += '*'
    else parts.push('')
  }
  return parts
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

function claimTruth(test: ClaimTest, user: Claims): Truth {
  const value = rawValueAt(user, test.path)
  if (value === undefined) return isOmitted(user, test.path) ? UNKNOWN : FAILS
  return accepts(test, value) ? HOLDS : FAILS
}

function accepts(test: ClaimTest, value: unknown): boolean {
  if (!Array.isArray(value)) return acceptsItem(test, value)
  for (const item of value) if (acceptsItem(test, item)) return true
  return false
}

function acceptsItem(test: ClaimTest, item: unknown): boolean {
  if (typeof item === 'string') return acceptsText(test, item)
  if (!isMapping(item)) return test.values.has(item)
  if (!countsByKeys(item)) return false
  for (const key in item) if (isSet(item, key) && acceptsText(test, key)) return true
  return false
}

function acceptsText({ ignoresCase, values, patterns }: ClaimTest, written: string): boolean {
  const text = ignoresCase ? withoutCase(written) : written
  if (values.has(text)) return true
  for (const pattern of patterns) if (matches(pattern, text)) return true
  return false
}

/** Returns whether a pattern matches a whole text. Each part is searched once from the left, so there is no backtracking. */
function matches({ parts, minLength }: Pattern, text: string): boolean {
  const first = parts[0] ?? ''
  const last = parts.at(-1) ?? ''
  if (text.length < minLength || !text.startsWith(first) || !text.endsWith(last)) return false
  const end = text.length - last.length
  let position = first.length
  for (let i = 1; i < parts.length - 1; i += 1) {
    const part = parts[i] ?? ''
    const found = text.indexOf(part, position)
    if (found === -1 || found + part.length > end) return false
    position = found + part.length
  }
  return true
}

/** Returns a text with the letters A to Z in lower case. `toLowerCase` turns the Kelvin sign into a `k` too. */
function withoutCase(text: string): string {
  return /[A-Z]/.test(text) ? text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()) : text
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
  /** Whether the decision depends on a claim that the provider omitted. */
  readonly isOmission: boolean
}

interface Part {
  readonly truth: Truth
  readonly reasons: readonly string[]
  readonly isOmission?: boolean
}

/** Returns which parts of a rule decide whether it holds. `at` is the path of the rule, such as `require`. */
export function explainRule(rule: Rule, input: RuleInput, at: string): Explanation {
  const { truth, reasons, isOmission = false } = explain(rule, input, at)
  return { holds: truth === HOLDS, reasons, isOmission }
}

function explain(rule: Rule, input: RuleInput, at: string): Part {
  const { claims, networks } = compiledOf(rule)
  const { any = null, not = null } = rule
  const parts = claims.map((test) => explainClaim(test, rule.claims[test.path.name] ?? [], input, at))
  if (networks !== null) parts.push(explainNetworks(networks, rule.networks ?? [], input, at))
  if (any !== null) parts.push(greatest(any.map((one, index) => explain(one, input, `${at}.any[${index}]`))))
  if (not !== null) {
    const part = explain(not, input, `${at}.not`)
    parts.push({ ...part, truth: negated(part.truth) })
  }
  return least(parts)
}

/** Returns what decides if all parts must hold: the first part that does not, or all parts. */
function least(parts: readonly Part[]): Part {
  const truth = parts.reduce<Truth>((lowest, part) => (part.truth < lowest ? part.truth : lowest), HOLDS)
  const decisive = parts.find((part) => part.truth === truth)
  return truth !== HOLDS && decisive !== undefined
    ? decisive
    : { truth, reasons: parts.flatMap(({ reasons }) => reasons) }
}

/** Returns what decides if one part must hold: the first part that does, or all parts that come closest. */
function greatest(parts: readonly Part[]): Part {
  const truth = parts.reduce<Truth>((highest, part) => (part.truth > highest ? part.truth : highest), FAILS)
  const decisive = parts.filter((part) => part.truth === truth)
  return {
    truth,
    reasons: (truth === HOLDS ? decisive.slice(0, 1) : decisive).flatMap(({ reasons }) => reasons),
    isOmission: decisive.some(({ isOmission }) => isOmission),
  }
}

function explainClaim(
  test: ClaimTest,
  configured: readonly ClaimValue[],
  { claims, accessToken = '' }: RuleInput,
  at: string,
): Part {
  const { path } = test
  const { name } = path
  const truth = claimTruth(test, claims)
  // The reasons of a session's claims need no path, because most routes require nothing else.
  const prefix = at === 'require' ? '' : `${at}.claims: `
  const reason = (text: string): readonly string[] => [prefix + text]
  if (truth === HOLDS) return { truth, reasons: reason(`the claim ${name} ${acceptedIn(test, claims)}`) }
  if (truth === UNKNOWN) {
    const advice = name === 'groups' ? '; provider.groupsFrom reads them from an API' : ''
    const text = `the provider left the claim ${name} out of the ID token (too many values)${advice}`
    return { truth, reasons: reason(text), isOmission: true }
  }
  if (rawValueAt(claims, path) !== undefined) {
    const values = prefix === '' ? 'the values that this route requires' : listed(configured)
    return { truth, reasons: reason(`the claim ${name} has none of ${values}`) }
  }
  // By default Keycloak puts roles into the access token only.
  const isInAccessToken = rawValueAt(unverifiedClaims(accessToken), path) !== undefined
  const hint = isInAccessToken ? '; the access token has it: let the provider add it to the ID token' : ''
  return { truth, reasons: reason(`the claim ${name} is missing${hint}`) }
}

/** Returns how a claim matches: with one of the values, or with a pattern. */
function acceptedIn(test: ClaimTest, claims: Claims): string {
  const items = [rawValueAt(claims, test.path)].flat().flatMap((item) => {
    if (!isMapping(item)) return [item]
    return Object.keys(item).filter((key) => isSet(item, key))
  })
  const value = items.find((item) => acceptsItem(test, item))
  const text = test.ignoresCase && typeof value === 'string' ? withoutCase(value) : value
  if (test.values.has(text)) return `has ${JSON.stringify(text)}`
  const pattern = test.patterns.find((one) => typeof text === 'string' && matches(one, text))
  return `matches ${JSON.stringify(pattern?.text)}`
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
  return { truth, reasons: [`${at}.networks: ${text}`] }
}
