import { suggest } from '../suggest.ts'
import { quote, type ValueType } from '../value-type.ts'

interface TextOptions {
  readonly name?: string
  /** The pattern that the text must match. By default, any text that is not empty is accepted. */
  readonly pattern?: RegExp
  /** Completes the sentence "must be …". */
  readonly expected?: string
  /** Whether messages must not quote the value. */
  readonly secret?: boolean
  readonly normalize?: (text: string) => string
}

/** Text that is not empty. Unquoted numbers are refused, because YAML drops their leading zeros. */
export function text(options: TextOptions = {}): ValueType<string> {
  const { name = 'text', pattern, expected = 'text', secret = false, normalize } = options
  return {
    name,
    json: pattern ? { type: 'string', pattern: pattern.source } : { type: 'string', minLength: 1 },
    parse(written, { refuse }) {
      const notThis = secret ? '' : `, not ${quote(written)}`
      if (typeof written === 'number' || typeof written === 'boolean') {
        return refuse(`must be text${notThis}`, 'put the value in quotes')
      }
      if (typeof written !== 'string') return refuse(`must be ${expected}${notThis}`)
      if (written === '') return refuse('must not be empty', 'give a value, or leave the key out')
      if (pattern && !pattern.test(written)) return refuse(`must be ${expected}${notThis}`)
      return normalize ? normalize(written) : written
    },
    format: (value) => value,
  }
}

/** A boolean, or the words `true` and `false`, because environment variables hold text. */
export const flag: ValueType<boolean> = {
  name: 'true or false',
  json: { type: 'boolean' },
  parse(written, { refuse }) {
    if (written === true || written === 'true') return true
    if (written === false || written === 'false') return false
    return refuse(`must be true or false, not ${quote(written)}`)
  },
  format: (value) => value,
}

/** A whole number of at least `min`, or its digits as text, because environment variables hold text. */
export function integer(min: number): ValueType<number> {
  return {
    name: 'whole number',
    json: { type: 'integer', minimum: min },
    parse(written, { refuse }) {
      const value = typeof written === 'string' && /^\d{1,15}$/.test(written) ? Number(written) : written
      if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) return value
      return refuse(`must be a whole number of at least ${min}, not ${quote(written)}`)
    },
    format: (value) => value,
  }
}

/**
 * One of several words. Booleans are accepted for `on` and `off` and for the words `true` and `false`, and numbers for
 * words that are numbers.
 */
export function choice<const T extends string>(words: readonly T[]): ValueType<T> {
  const aliases = new Map<unknown, T>(words.map((word) => [word, word]))
  const spellings: unknown[] = [...words]
  const alias = (value: boolean | number, word: T): void => {
    aliases.set(value, word)
    spellings.push(value)
    aliases.set(String(value), word)
  }
  for (const word of words) {
    if (word === 'on' || word === 'true') alias(true, word)
    if (word === 'off' || word === 'false') alias(false, word)
    if (/^\d+(?:\.\d+)?$/.test(word)) alias(Number(word), word)
  }
  return {
    name: words.map((word) => `\`${word}\``).join(', '),
    json: { enum: spellings },
    parse(written, { refuse }) {
      const word = aliases.get(written)
      if (word !== undefined) return word
      const near = typeof written === 'string' ? suggest(written, words) : null
      const instead = near === null ? null : `did you mean ${near}?`
      return refuse(`must be one of ${words.join(', ')}, not ${quote(written)}`, instead)
    },
    format: (value) => (value === 'true' || value === 'false' ? value === 'true' : value),
  }
}

/** A number of processes, or `auto` for one per core. */
export const workers: ValueType<number | 'auto'> = {
  name: 'whole number or `auto`',
  json: { anyOf: [{ const: 'auto' }, { type: 'integer', minimum: 1 }] },
  parse(written, context) {
    if (written === 'auto') return 'auto'
    return integer(1).parse(written, {
      ...context,
      refuse: () => context.refuse(`must be auto or a whole number of at least 1, not ${quote(written)}`),
    })
  },
  format: (value) => value,
}
