import { type Kind, quote } from '../kind.ts'

interface TextRules {
  name?: string
  /** What a well-formed text looks like; without it any text that is not empty will do. */
  pattern?: RegExp
  /** Ends the sentence "must be …". */
  expected?: string
  /** Never quote the value in a message. */
  secret?: boolean
  /** How the text is kept, when not as it is written. */
  normalize?: (text: string) => string
}

/** A text that is not empty; a bare number is refused, because YAML has lost its leading zeros by then. */
export function text(rules: TextRules = {}): Kind<string> {
  const { name = 'text', pattern, expected = 'text', secret = false, normalize } = rules
  return {
    name,
    json: pattern ? { type: 'string', pattern: pattern.source } : { type: 'string', minLength: 1 },
    parse(written, { refuse }) {
      const but = secret ? '' : `, not ${quote(written)}`
      if (typeof written === 'number' || typeof written === 'boolean') {
        return refuse(`must be text${but}`, 'put the value in quotes')
      }
      if (typeof written !== 'string') return refuse(`must be ${expected}${but}`)
      if (written === '') return refuse('must not be empty', 'give a value, or leave the key out')
      if (pattern && !pattern.test(written)) return refuse(`must be ${expected}${but}`)
      return normalize ? normalize(written) : written
    },
    format: (value) => value,
  }
}

/** `true` or `false`; the words too, since a filled-in value is text. */
export const flag: Kind<boolean> = {
  name: 'true or false',
  json: { type: 'boolean' },
  parse(written, { refuse }) {
    if (written === true || written === 'true') return true
    if (written === false || written === 'false') return false
    return refuse(`must be true or false, not ${quote(written)}`)
  },
  format: (value) => value,
}

/** A whole number from `min` up; its digits as text too, since a filled-in value is text. */
export function integer(min: number): Kind<number> {
  return {
    name: 'whole number',
    json: { type: 'integer', minimum: min },
    parse(written, { refuse }) {
      const value = typeof written === 'string' && /^\d{1,15}$/.test(written) ? Number(written) : written
      if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) return value
      return refuse(`must be a whole number from ${min} up, not ${quote(written)}`)
    },
    format: (value) => value,
  }
}

/** One of a few words; where `on` or `off` is among them, `true` and `false` mean the same. */
export function choice<const T extends string>(words: readonly T[]): Kind<T> {
  const aliases = new Map<unknown, T>(words.map((word) => [word, word]))
  const spellings: unknown[] = [...words]
  const alias = (value: boolean | number, word: string): void => {
    const target = aliases.get(word)
    if (target === undefined) return
    aliases.set(value, target)
    spellings.push(value)
    aliases.set(String(value), target)
  }
  alias(true, 'on')
  alias(false, 'off')
  for (const word of words) if (/^\d+$/.test(word)) alias(Number(word), word)
  return {
    name: words.map((word) => `\`${word}\``).join(', '),
    json: { enum: spellings },
    parse: (written, { refuse }) =>
      aliases.get(written) ?? refuse(`must be one of ${words.join(', ')}, not ${quote(written)}`),
    format: (value) => value,
  }
}

/** A number of processes, or `auto` for one on each core. */
export const workers: Kind<number | 'auto'> = {
  name: 'whole number or `auto`',
  json: { anyOf: [{ const: 'auto' }, { type: 'integer', minimum: 1 }] },
  parse(written, input) {
    if (written === 'auto') return 'auto'
    return integer(1).parse(written, {
      ...input,
      refuse: () => input.refuse(`must be auto or a whole number from 1 up, not ${quote(written)}`),
    })
  },
  format: (value) => value,
}
