import { isDeepStrictEqual } from 'node:util'

/** Which users another gateway lets in, as far as it depends on claims and on the address of the client. */
export type Condition =
  | { readonly kind: 'claim'; readonly name: string; readonly values: readonly ClaimValue[] }
  | { readonly kind: 'networks'; readonly ranges: readonly string[] }
  | { readonly kind: 'all' | 'any'; readonly of: readonly Condition[] }
  | { readonly kind: 'not'; readonly of: Condition }

export type ClaimValue = string | number | boolean

/** The keys of a rule under `require`. */
export interface AccessRule {
  claims?: Record<string, ClaimValue[]>
  networks?: string[]
  any?: AccessRule[]
  not?: AccessRule
}

/** The condition that every user meets. */
export const EVERY_USER: Condition = { kind: 'all', of: [] }

/** A claim that no token has. A route that requires this claim lets no user in until the operator has decided. */
export const UNDECIDED_CLAIM = 'not_migrated'

/** Returns the condition that no user meets until the operator has decided about a setting. */
export function undecided(setting: string): Condition {
  return claimIn(UNDECIDED_CLAIM, [setting])
}

/** Returns the condition that a claim has one of the values, in which `*` stands for any characters. */
export function claimIn(name: string, values: readonly ClaimValue[]): Condition {
  return { kind: 'claim', name, values: [...new Set(values)] }
}

/** Returns a text as a value of a rule that matches only this text. */
export function exactly(text: string): string {
  return valueOf([text])
}

/** Returns the value of a rule that matches these texts in order, with any characters in place of `null`. */
export function valueOf(parts: readonly (string | null)[]): string {
  return parts
    .map((part) => part ?? WILDCARD)
    .join('')
    .replace(ESCAPED, (_, backslashes: string, star: string) => {
      // Before a star, a backslash would escape the star.
      return backslashes + backslashes + (star === WILDCARD ? '*' : '\\*')
    })
    .replace(/\$\{(?![A-Za-z_]\w*\})/g, () => '$${')
}

/** A character that no configuration contains. */
const WILDCARD = '\0'
const ESCAPED = /(\\*)(\*|\0)/g

/** Returns the condition that all of the conditions hold. */
export function allOf(conditions: readonly Condition[]): Condition {
  const all = conditions.flatMap((one) => (one.kind === 'all' ? one.of : [one]))
  const open = all.flatMap((one) => (one.kind === 'claim' && one.name === UNDECIDED_CLAIM ? one.values : []))
  // One claim is enough to keep all users out, and easier to remove.
  const of = [
    ...(open.length === 0 ? [] : [claimIn(UNDECIDED_CLAIM, open)]),
    ...all.filter((one, index) => {
      const isFirst = all.findIndex((other) => isDeepStrictEqual(other, one)) === index
      return isFirst && !(one.kind === 'claim' && one.name === UNDECIDED_CLAIM)
    }),
  ]
  const [only] = of
  return only !== undefined && of.length === 1 ? only : { kind: 'all', of }
}

/** Returns the condition that at least one of the conditions holds. Values of the same claim become one list. */
export function anyOf(conditions: readonly Condition[]): Condition {
  const flat = conditions.flatMap((one) => (one.kind === 'any' ? one.of : [one]))
  if (flat.some(isMetByEveryUser)) return EVERY_USER
  const claims = new Map<string, ClaimValue[]>()
  const ranges: string[] = []
  const others: Condition[] = []
  for (const one of flat) {
    if (one.kind === 'claim') claims.set(one.name, [...(claims.get(one.name) ?? []), ...one.values])
    else if (one.kind === 'networks') ranges.push(...one.ranges)
    else others.push(one)
  }
  const of = [
    ...(ranges.length === 0 ? [] : [{ kind: 'networks' as const, ranges: [...new Set(ranges)] }]),
    ...[...claims].map(([name, values]) => claimIn(name, values)),
    ...others,
  ]
  const [only] = of
  return only !== undefined && of.length === 1 ? only : { kind: 'any', of }
}

/** Returns the condition that a condition does not hold. An undecided condition stays undecided, so no user meets it. */
export function notOf(condition: Condition): Condition {
  if (isUndecided(condition)) return undecidedPartOf(condition)
  return condition.kind === 'not' ? condition.of : { kind: 'not', of: condition }
}

/** Returns whether a condition requires nothing. */
export function isMetByEveryUser(condition: Condition): boolean {
  return condition.kind === 'all' && condition.of.length === 0
}

/** Returns whether a condition contains a part about which the operator has to decide. */
function isUndecided(condition: Condition): boolean {
  if (condition.kind === 'claim') return condition.name === UNDECIDED_CLAIM
  if (condition.kind === 'networks') return false
  return condition.kind === 'not' ? isUndecided(condition.of) : condition.of.some(isUndecided)
}

/** Returns whether a condition depends on the address of the client. */
export function namesNetworks(condition: Condition): boolean {
  if (condition.kind === 'networks') return true
  if (condition.kind === 'claim') return false
  return condition.kind === 'not' ? namesNetworks(condition.of) : condition.of.some(namesNetworks)
}

function undecidedPartOf(condition: Condition): Condition {
  if (condition.kind === 'not') return undecidedPartOf(condition.of)
  if (condition.kind !== 'all' && condition.kind !== 'any') return condition
  return condition.of.filter(isUndecided).map(undecidedPartOf)[0] ?? undecided('rule')
}

/** How deep `any` and `not` nest in a rule. */
const MAX_DEPTH = 2
const MAX_ALTERNATIVES = 64

/**
 * Returns a condition as a rule, without keys if every user meets the condition. Returns `null` if `any` and `not` would
 * nest too deep.
 */
export function accessRuleOf(condition: Condition): AccessRule | null {
  const direct = ruleAt(condition, MAX_DEPTH)
  if (direct !== null) return direct
  const alternatives = alternativesOf(condition, false)
  return alternatives === null ? null : ruleAt(anyOf(alternatives.map(allOf)), MAX_DEPTH)
}

/** `depth`: how deep `any` and `not` may still nest. */
function ruleAt(condition: Condition, depth: number): AccessRule | null {
  const rule: AccessRule = {}
  const rest: Condition[] = []
  const negated: Condition[] = []
  let alternatives: readonly Condition[] | null = null
  for (const one of condition.kind === 'all' ? condition.of : [condition]) {
    if (one.kind === 'claim' && rule.claims?.[one.name] === undefined) {
      rule.claims = { ...rule.claims, [one.name]: [...one.values] }
    } else if (one.kind === 'networks' && rule.networks === undefined) rule.networks = [...one.ranges]
    else if (one.kind === 'any' && alternatives === null) alternatives = one.of
    else if (one.kind === 'not') negated.push(one.of)
    else rest.push(one)
  }
  if (alternatives !== null || rest.length > 0) {
    // `any` with a single rule holds what would need the same key twice, such as a second list for one claim.
    const rules = (alternatives ?? [EVERY_USER]).map((one) =>
      depth === 0 ? null : ruleAt(allOf([one, ...rest]), depth - 1),
    )
    const known = rules.filter((one) => one !== null)
    if (known.length < rules.length) return null
    rule.any = known
  }
  if (negated.length > 0) {
    const not = depth === 0 ? null : ruleAt(anyOf(negated), depth - 1)
    if (not === null) return null
    rule.not = not
  }
  return rule
}

/** Returns a condition as alternatives, each a list of claims and networks, negated or not; `null` for too many. */
function alternativesOf(condition: Condition, isNegated: boolean): Condition[][] | null {
  switch (condition.kind) {
    case 'claim':
    case 'networks':
      return [[isNegated ? notOf(condition) : condition]]
    case 'not':
      return alternativesOf(condition.of, !isNegated)
    case 'all':
    case 'any': {
      const parts = condition.of.map((one) => alternativesOf(one, isNegated))
      const known = parts.filter((part) => part !== null)
      if (known.length < parts.length) return null
      const isDisjunction = (condition.kind === 'any') !== isNegated
      let found: Condition[][] = isDisjunction ? known.flat() : [[]]
      if (!isDisjunction) {
        for (const part of known) {
          found = found.flatMap((before) => part.map((one) => [...before, ...one]))
          if (found.length > MAX_ALTERNATIVES) return null
        }
      }
      return found.length > MAX_ALTERNATIVES ? null : found
    }
  }
}
