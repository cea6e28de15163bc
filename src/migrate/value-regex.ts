import { valueOf } from './condition.ts'

/** Values of a claim that match the pattern, and none of the patterns in `except`. */
export interface ValuePattern {
  readonly value: string
  readonly except: readonly string[]
}

/** `some`: whether at least one character is required; `without`: the character that does not occur. */
interface Wildcard {
  readonly some: boolean
  readonly without: string | null
}

type Part = string | Wildcard

const MAX_ALTERNATIVES = 32
const MAX_CHARACTERS = 500
const ANY_TEXT: Wildcard = { some: false, without: null }

/**
 * Returns patterns that match the values that a regular expression finds a match in, or fewer: an unescaped dot counts as
 * a dot. Returns `null` if no patterns can express the expression. Expects that values contain no line break, which `.`
 * does not match. `ignoresCase`: whether the claim is compared without case, so that `(?i)` changes nothing.
 */
export function valuePatternsOf(regex: string, ignoresCase: boolean): ValuePattern[] | null {
  const text = ignoresCase && regex.startsWith('(?i)') ? regex.slice('(?i)'.length) : regex
  if (text === '' || text.length > MAX_CHARACTERS) return null
  try {
    const reader = new Reader(text)
    const found = reader.alternatives()
    if (!reader.isAtEnd || found.length > MAX_ALTERNATIVES) return null
    const patterns = found.map(patternOf)
    const known = patterns.filter((pattern) => pattern !== null)
    return known.length < patterns.length ? null : known
  } catch (error) {
    if (error instanceof Inexpressible) return null
    throw error
  }
}

/** Returns whether a regular expression has only literal characters, anchors and `.*`, so that its patterns are exact. */
export function hasExactPatterns(regex: string): boolean {
  return /^\^?(?:[A-Za-z0-9_@:/ -]|\.\*)*\$?$/.test(regex)
}

class Inexpressible extends Error {}

/** Parts that stand for `^` and `$`: characters that no configuration contains. */
const START = '\u0002'
const END = '\u0003'

class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  get isAtEnd(): boolean {
    return this.#at === this.#text.length
  }

  /** Reads alternatives up to the end or to a closing parenthesis. */
  alternatives(): Part[][] {
    const found = [...this.#sequence()]
    while (this.#takes('|')) {
      found.push(...this.#sequence())
      if (found.length > MAX_ALTERNATIVES) throw new Inexpressible()
    }
    return found
  }

  #sequence(): Part[][] {
    let found: Part[][] = [[]]
    while (!this.isAtEnd && !'|)'.includes(this.#text[this.#at] ?? '')) {
      const next = this.#atom()
      found = found.flatMap((before) => next.map((parts) => [...before, ...parts]))
      if (found.length > MAX_ALTERNATIVES) throw new Inexpressible()
    }
    return found
  }

  #atom(): Part[][] {
    const character = this.#next()
    switch (character) {
      case '^':
        return [[START]]
      case '$':
        return [[END]]
      case '(': {
        if (this.#takes('?') && !this.#takes(':')) throw new Inexpressible()
        const inner = this.alternatives()
        if (!this.#takes(')')) throw new Inexpressible()
        return this.#optional(inner)
      }
      case '[':
        return this.#characterClass()
      case '.': {
        const wildcard = this.#repetition(null)
        return wildcard === null ? this.#optional([['.']]) : [[wildcard]]
      }
      case '\\': {
        const escaped = this.#next()
        if (/[A-Za-z0-9]/.test(escaped)) throw new Inexpressible()
        return this.#optional([[escaped]])
      }
      default:
        if ('*+?{}]'.includes(character)) throw new Inexpressible()
        return this.#optional([[character]])
    }
  }

  #characterClass(): Part[][] {
    const isNegated = this.#takes('^')
    const end = this.#text.indexOf(']', this.#at + 1)
    const characters = this.#text.slice(this.#at, end).replace(/\\([^A-Za-z0-9])/g, '$1')
    if (end === -1 || /[\\[\]]|.-./s.test(characters)) throw new Inexpressible()
    this.#at = end + 1
    if (!isNegated) return this.#optional(characters.split('').map((one) => [one]))
    const wildcard = characters.length === 1 ? this.#repetition(characters) : null
    if (wildcard === null) throw new Inexpressible()
    return [[wildcard]]
  }

  #repetition(without: string | null): Wildcard | null {
    const some = this.#takes('+')
    if (!some && !this.#takes('*')) return null
    // A lazy quantifier matches the same values.
    this.#takes('?')
    if (!this.isAtEnd && '*+?{'.includes(this.#text[this.#at] ?? '')) throw new Inexpressible()
    return { some, without }
  }

  #optional(alternatives: Part[][]): Part[][] {
    const isOptional = this.#takes('?')
    if (!this.isAtEnd && '*+?{'.includes(this.#text[this.#at] ?? '')) throw new Inexpressible()
    return isOptional ? [...alternatives, []] : alternatives
  }

  #next(): string {
    const character = this.#text[this.#at]
    if (character === undefined) throw new Inexpressible()
    this.#at += 1
    return character
  }

  #takes(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at += 1
    return true
  }
}

/** Returns the pattern of one alternative; `null` if a pattern cannot express its wildcards. */
function patternOf(alternative: readonly Part[]): ValuePattern | null {
  const isAnchored = { start: alternative[0] === START, end: alternative.at(-1) === END }
  const inner = alternative.slice(isAnchored.start ? 1 : 0, isAnchored.end ? -1 : undefined)
  if (inner.includes(START) || inner.includes(END)) return null
  const parts = merged([...(isAnchored.start ? [] : [ANY_TEXT]), ...inner, ...(isAnchored.end ? [] : [ANY_TEXT])])
  if (parts === null) return null
  const value = textOf(parts)
  const limited = parts.find((part) => typeof part !== 'string' && (part.some || part.without !== null))
  if (limited === undefined || typeof limited === 'string') return { value, except: [] }
  if (parts.filter((part) => typeof part !== 'string').length > 1) return null
  const { some, without } = limited
  const replaced = (replacement: Part[]): string =>
    textOf(parts.flatMap((part) => (part === limited ? replacement : [part])))
  return {
    value,
    except: [...(some ? [replaced([])] : []), ...(without === null ? [] : [replaced([ANY_TEXT, without, ANY_TEXT])])],
  }
}

/** Merges adjacent wildcards; `null` if the result would be another kind of wildcard. */
function merged(parts: readonly Part[]): Part[] | null {
  const found: Part[] = []
  for (const part of parts) {
    const last = found.at(-1)
    if (typeof part === 'string' || typeof last === 'string' || last === undefined) {
      found.push(part)
      continue
    }
    if (part.without !== null || last.without !== null || (part.some && last.some)) return null
    found[found.length - 1] = { some: part.some || last.some, without: null }
  }
  return found
}

function textOf(parts: readonly Part[]): string {
  return valueOf(parts.map((part) => (typeof part === 'string' ? part : null)))
}
