/** A value of a claim in a rule: text, which may have wildcards, a number, `true` or `false`. */
export type ClaimValue = string | number | boolean

/** Values, one of which a claim must match. */
export interface ClaimValues {
  /** Whether the comparison ignores the case of the letters A to Z. */
  readonly ignoresCase: boolean
  /** The values without a wildcard. Includes `true` and `false` as text too, because some providers send text. */
  readonly exact: ReadonlySet<unknown>
  readonly patterns: readonly Pattern[]
}

interface Pattern {
  /** The value as configured. */
  readonly text: string
  /** The texts before, between and after the wildcards. */
  readonly parts: readonly string[]
  readonly minLength: number
}

/** Returns the segments of a claim's name or path. A segment in quotes may contain dots, and keeps its quotes. */
export function claimSegments(name: string): string[] {
  return name.match(/"[^"]+"(?=\.|$)|[^.]+|(?<=^|\.)(?=\.|$)/g) ?? []
}

/** Returns a text that is the same for each spelling of a claim's path: `realm_access.roles` and `realm_access."roles"`. */
export function claimKey(name: string): string {
  return claimSegments(name)
    .map((segment) => segment.replace(/^"(.+)"$/, '$1'))
    .join('\0')
}

/** Compiles the values that a rule lists for a claim. */
export function compileClaimValues(name: string, configured: readonly ClaimValue[]): ClaimValues {
  const ignoresCase = claimKey(name) === 'email'
  const exact = new Set<unknown>()
  const patterns: Pattern[] = []
  for (const value of configured) {
    if (typeof value === 'string') {
      const parts = splitPattern(ignoresCase ? withoutCase(value) : value)
      if (parts.length === 1) exact.add(parts[0])
      else patterns.push({ text: value, parts, minLength: parts.join('').length })
    } else {
      exact.add(value)
      if (typeof value === 'boolean') exact.add(String(value))
    }
  }
  return { ignoresCase, exact, patterns }
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

/** Returns whether a claim's text, number, `true` or `false` is one of the values. */
export function matchesOneOf(values: ClaimValues, value: unknown): boolean {
  if (typeof value !== 'string') return values.exact.has(value)
  const text = values.ignoresCase ? withoutCase(value) : value
  if (values.exact.has(text)) return true
  for (const pattern of values.patterns) if (matches(pattern, text)) return true
  return false
}

/** Returns how one of the values matches, for a message. Quotes the configured value, not that of the claim. */
export function matchingValue(values: ClaimValues, value: unknown): string {
  const text = values.ignoresCase && typeof value === 'string' ? withoutCase(value) : value
  if (values.exact.has(text)) return `has ${JSON.stringify(text)}`
  const pattern = values.patterns.find((one) => typeof text === 'string' && matches(one, text))
  return `matches ${JSON.stringify(pattern?.text)}`
}

/** Stands for a wildcard in a text that is matched: only another wildcard matches it. */
const ANY_TEXT = '\0'

/** Returns whether every claim that matches one of the values `narrow` matches one of `wide` too. */
export function coversValues(wide: ClaimValues, narrow: readonly ClaimValue[]): boolean {
  return narrow.every((value) =>
    matchesOneOf(wide, typeof value === 'string' ? splitPattern(value).join(ANY_TEXT) : value),
  )
}

/** Returns whether one claim may match values of both lists. May return `true` although none can. */
export function mayOverlap(some: ClaimValues, others: ClaimValues): boolean {
  const matchesExact = (exact: ClaimValues, values: ClaimValues): boolean =>
    [...exact.exact].some((value) => matchesOneOf(values, value))
  return (
    matchesExact(some, others) ||
    matchesExact(others, some) ||
    some.patterns.some((one) => others.patterns.some((other) => haveFittingEnds(one, other)))
  )
}

function haveFittingEnds({ parts }: Pattern, { parts: others }: Pattern): boolean {
  const [first = '', otherFirst = ''] = [parts[0], others[0]]
  const [last = '', otherLast = ''] = [parts.at(-1), others.at(-1)]
  return (
    (first.startsWith(otherFirst) || otherFirst.startsWith(first)) &&
    (last.endsWith(otherLast) || otherLast.endsWith(last))
  )
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
