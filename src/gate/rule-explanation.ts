import type { AddressRanges } from '../config/address-ranges.ts'
import { matchingValue } from '../config/claim-values.ts'
import { isMapping } from '../config/key-path.ts'
import { type Claims, unverifiedClaims } from '../oidc/token-set.ts'
import { keysOf, rawValueAt } from './claims.ts'
import {
  accepts,
  type AccessRule,
  claimTruth,
  type ClaimTest,
  compiledOf,
  FAILS,
  HOLDS,
  negated,
  networkTruth,
  type Truth,
  UNKNOWN,
} from './rules.ts'
import type { ForbiddenHint } from './verdict.ts'

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

/** Explains which parts decide whether a rule holds. `at` is the path of the rule, such as `require`. */
export function explainRule(rule: AccessRule, input: RuleInput, at: string): Explanation {
  const parts = partsOf(rule, input, at)
  const all = least(parts)
  // In the order of the configuration, the first part that does not hold is a sufficient reason.
  const { reasons, hint = null, isOmission = false } = parts.find(({ truth }) => truth !== HOLDS) ?? all
  return { holds: all.truth === HOLDS, reasons, hint, isOmission }
}

function partsOf(rule: AccessRule, input: RuleInput, at: string): Part[] {
  const { claims, networks } = compiledOf(rule)
  const { any = null, not = null } = rule
  const parts = claims.map((test) => explainClaim(test, rule.claims[test.path.name] ?? [], input, at))
  if (networks !== null) parts.push(explainNetworks(networks, rule.networks ?? [], input, at))
  if (any !== null) parts.push(greatest(any.map((one, index) => least(partsOf(one, input, `${at}.any[${index}]`)))))
  if (not !== null) {
    const part = least(partsOf(not, input, `${at}.not`))
    // The page's sentence about groups asks for another group, which would not help a user whose group is excluded.
    parts.push({ ...part, truth: negated(part.truth), hint: part.hint === 'group' ? null : (part.hint ?? null) })
  }
  return parts
}

/** For a rule that requires all its parts: returns the first part that fails, else the first unknown one, else all. */
function least(parts: readonly Part[]): Part {
  const truth = parts.reduce<Truth>((lowest, part) => (part.truth < lowest ? part.truth : lowest), HOLDS)
  const decisive = parts.find((part) => part.truth === truth)
  return truth !== HOLDS && decisive !== undefined
    ? decisive
    : { truth, reasons: parts.flatMap(({ reasons }) => reasons), hint: hintOfAll(parts) }
}

/** For a rule that requires one of its parts: returns the first part that holds, else the unknown parts, else all. */
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
  configured: AccessRule['claims'][string],
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
    return isMapping(item) ? (keysOf(item) ?? []) : [item]
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
