import { coversRanges, EVERY_ADDRESS, intersection } from '../address-ranges.ts'
import {
  claimKey,
  type ClaimValue,
  compileClaimValues,
  coversValues,
  matchesOneOf,
  mayOverlap,
} from '../claim-values.ts'
import type { ResolvedRoute } from '../schema.ts'

/** A rule about the user and the client: `require` of a route or of its `bearer`, or a rule of `any` or `not`. */
export type Requirement = Pick<ResolvedRoute['require'], 'claims' | 'networks'> & {
  readonly any?: readonly Requirement[] | null
  readonly not?: Requirement | null
  readonly acr?: readonly string[] | null
}

type ClaimTest = { readonly claim: string; readonly values: readonly ClaimValue[]; readonly holds: boolean }
type NetworkTest = { readonly networks: readonly string[]; readonly holds: boolean }
type Compound = ({ readonly rule: Requirement } | { readonly any: readonly Requirement[] }) & {
  readonly holds: boolean
}

/** A test, a rule or the rules of `any`, and whether it holds. */
export type Part = ClaimTest | NetworkTest | Compound

/** Returns the parts of a rule, without those of `any` and `not`. */
export function testsOf({ claims, networks, acr = null }: Requirement): Part[] {
  return [
    ...Object.entries(claims).map(([claim, values]) => ({ claim, values, holds: true })),
    ...(networks === null ? [] : [{ networks, holds: true }]),
    // `acr` has no wildcards.
    ...(acr === null ? [] : [{ claim: 'acr', values: acr.map((one) => one.replace(/[\\*]/g, '\\$&')), holds: true }]),
  ]
}

function partsOf(rule: Requirement): Part[] {
  const { any = null, not = null } = rule
  return [
    ...testsOf(rule),
    ...(any === null ? [] : [{ any, holds: true }]),
    ...(not === null ? [] : [{ rule: not, holds: false }]),
  ]
}

/** Limits the time for rules with very many combinations of alternatives. */
const MAX_CHOICES = 1_000

/** Returns whether all parts can hold for one request. May return `true` although they cannot. */
export function canHold(parts: readonly Part[]): boolean {
  return canHoldWithin(parts, { choices: MAX_CHOICES })
}

function canHoldWithin(parts: readonly Part[], left: { choices: number }): boolean {
  const tests: (ClaimTest | NetworkTest)[] = []
  const choices: Compound[] = []
  const pending = [...parts]
  // The loop also visits the parts that it appends.
  for (const part of pending) {
    if ('claim' in part || 'networks' in part) tests.push(part)
    else {
      const [first, ...others] = alternativesOf(part)
      if (first !== undefined && others.length === 0) pending.push(...first)
      else choices.push(part)
    }
  }
  if (!areConsistent(tests)) return false
  const [choice, ...others] = choices
  if (choice === undefined) return true
  left.choices -= 1
  if (left.choices < 0) return true
  return alternativesOf(choice).some((one) => canHoldWithin([...tests, ...others, ...one], left))
}

/** Returns the lists of parts of which one list must hold. */
function alternativesOf(part: Compound): Part[][] {
  if ('rule' in part) {
    const parts = partsOf(part.rule)
    return part.holds ? [parts] : parts.map((one) => [{ ...one, holds: !one.holds }])
  }
  const rules = part.any.map((rule) => ({ rule, holds: part.holds }))
  return part.holds ? rules.map((rule) => [rule]) : [rules]
}

function areConsistent(tests: readonly (ClaimTest | NetworkTest)[]): boolean {
  const networks = tests.filter((test) => 'networks' in test)
  const within = networks
    .filter(({ holds }) => holds)
    .reduce<readonly string[]>((ranges, test) => intersection(ranges, test.networks), EVERY_ADDRESS)
  const outside = networks.filter(({ holds }) => !holds).flatMap((test) => test.networks)
  if (coversRanges(outside, within)) return false
  const byClaim = new Map<string, ClaimTest[]>()
  for (const test of tests) {
    if (!('claim' in test)) continue
    const key = claimKey(test.claim)
    const others = byClaim.get(key)
    if (others === undefined) byClaim.set(key, [test])
    else others.push(test)
  }
  return [...byClaim].every(([key, some]) => canHaveValues(some, isSingleValue(key)))
}

/** Returns whether a claim can have the values that these tests require, and none that they exclude. */
function canHaveValues(tests: readonly ClaimTest[], isSingle: boolean): boolean {
  const excluded = tests.filter(({ holds }) => !holds).map(({ claim, values }) => compileClaimValues(claim, values))
  const required = tests
    .filter(({ holds }) => holds)
    .map(({ claim, values }) => ({
      claim,
      values: values.filter((value) => !excluded.some((one) => coversValues(one, [value]))),
    }))
  if (required.some(({ values }) => values.length === 0)) return false
  if (!isSingle || required.length < 2) return true
  const compiled = required.map(({ claim, values }) => compileClaimValues(claim, values))
  const exact = compiled.find(({ patterns }) => patterns.length === 0)
  if (exact !== undefined) return [...exact.exact].some((value) => compiled.every((one) => matchesOneOf(one, value)))
  return compiled.every((one, index) => compiled.slice(index + 1).every((other) => mayOverlap(one, other)))
}

/**
 * Claims that are a single text.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#IDToken
 * @see https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims
 * @see https://www.rfc-editor.org/rfc/rfc8693#section-4.3
 * @see https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
 * @see https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload
 */
const SINGLE_TEXTS = new Set(
  (
    'iss sub azp acr sid client_id name given_name family_name nickname preferred_username email phone_number locale ' +
    'hd tid oid upn'
  ).split(' '),
)

const SINGLE_FLAGS = new Set(['email_verified', 'phone_number_verified'])

/** Returns whether a claim, by its key, is a single text by definition. */
export function isSingleText(key: string): boolean {
  return SINGLE_TEXTS.has(key)
}

/** Returns whether a claim, by its key, has a single value by definition. A list is possible for all others. */
function isSingleValue(key: string): boolean {
  return SINGLE_TEXTS.has(key) || SINGLE_FLAGS.has(key)
}
