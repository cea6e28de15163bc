import { fillable, type Input, type Kind, quote } from '../kind.ts'
import type { Path } from '../problems.ts'
import { isMapping } from '../tree.ts'

/** The same input for a value that sits deeper. */
const within = (input: Input, ...steps: Path): Input => ({
  ...input,
  refuse: (message, instead, at = []) => input.refuse(message, instead, [...steps, ...at]),
})

/** What was written, without its text: that may be a key or a password. */
function nounOf(written: unknown): string {
  if (Array.isArray(written)) return 'a list'
  return typeof written === 'object' ? 'a map' : typeof written === 'string' ? 'text' : `a ${typeof written}`
}

interface ListRules {
  /** How few items are refused as too few; 0 unless said otherwise. */
  min?: number
  /** True where one item may stand without a list around it. */
  single?: boolean
}

/** A list; refused as a whole when one item is. */
export function list<T>(item: Kind<T>, { min = 0, single = false }: ListRules = {}): Kind<T[]> {
  const json = { type: 'array', items: fillable(item.json), ...(min > 0 ? { minItems: min } : {}) }
  return {
    name: single ? `${item.name}, or a list` : `list of ${item.name}`,
    shape: 'list',
    json: single ? { anyOf: [item.json, json] } : json,
    parse(written, input) {
      const items: unknown = single && !Array.isArray(written) && typeof written !== 'object' ? [written] : written
      if (!Array.isArray(items)) {
        const instead = typeof written === 'string' ? '[item, item]' : null
        return input.refuse(`must be a list, not ${nounOf(written)}`, instead)
      }
      if (items.length < min) return input.refuse('must not be an empty list', 'give a value, or leave the key out')
      const values = items.map((value: unknown, index) => {
        const place = items === written ? within(input, index) : input
        return value === null ? place.refuse('must not be empty') : item.parse(value, place)
      })
      const resolved = values.filter((value) => value !== undefined)
      return resolved.length === values.length ? resolved : undefined
    },
    format: (values) => values.map((value) => item.format(value)),
  }
}

/** A map from names to values of one kind; refused as a whole when one entry is. */
export function map<T>(key: Kind<string>, item: Kind<T>): Kind<Record<string, T>> {
  return {
    name: `map to ${item.name}`,
    shape: 'map',
    json: { type: 'object', additionalProperties: fillable(item.json) },
    parse(written, input) {
      if (!isMapping(written)) return input.refuse(`must be a map, not ${nounOf(written)}`, '{ name: value }')
      const entries = Object.entries(written).map(([name, value]) => {
        const place = within(input, name)
        const resolvedName = key.parse(name, place)
        const resolved = value === null ? place.refuse('must not be empty') : item.parse(value, place)
        return resolvedName === undefined || resolved === undefined ? undefined : ([resolvedName, resolved] as const)
      })
      const resolved = entries.filter((entry) => entry !== undefined)
      return resolved.length === entries.length ? Object.fromEntries(resolved) : undefined
    },
    format: (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, item.format(value)])),
  }
}

/** Text in a map, where whole numbers and booleans are taken for their spelling. */
export function textual(kind: Kind<string>): Kind<string> {
  return {
    ...kind,
    json: { anyOf: [kind.json, { type: ['integer', 'boolean'] }] },
    parse: (written, input) =>
      kind.parse(Number.isSafeInteger(written) || typeof written === 'boolean' ? String(written) : written, input),
  }
}

/** A claim's value to compare with. */
export const claimValue: Kind<string | number | boolean> = {
  name: 'text, number, true or false',
  json: { type: ['string', 'number', 'boolean'] },
  parse(written, { refuse }) {
    if (typeof written === 'string' || typeof written === 'boolean') return written
    if (typeof written === 'number' && Number.isFinite(written)) return written
    return refuse(`must be text, a number, true or false, not ${quote(written)}`)
  },
  format: (value) => value,
}
