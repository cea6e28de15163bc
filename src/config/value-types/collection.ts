import { isMapping, type KeyPath } from '../key-path.ts'
import { fillable, type ParseContext, quote, type ValueType } from '../value-type.ts'

function nested(context: ParseContext, ...path: KeyPath): ParseContext {
  return { ...context, refuse: (message, instead, at = []) => context.refuse(message, instead, [...path, ...at]) }
}

/** Returns the type of a written value for a message. Never quotes the value, which may be a key or a password. */
function nounOf(written: unknown): string {
  if (Array.isArray(written)) return 'a list'
  return typeof written === 'object' ? 'a map' : typeof written === 'string' ? 'text' : `a ${typeof written}`
}

interface ListOptions {
  readonly min?: number
  /** Whether a single item may be written without a list. */
  readonly single?: boolean
  /** Whether the single item may be a map. */
  readonly singleMap?: boolean
}

/** A list; one invalid item invalidates the list. */
export function list<T>(
  item: ValueType<T>,
  { min = 0, single = false, singleMap = false }: ListOptions = {},
): ValueType<T[]> {
  const json = { type: 'array', items: fillable(item.json), ...(min > 0 ? { minItems: min } : {}) }
  return {
    name: single ? `${item.name}, or a list` : `list of ${item.name}`,
    shape: 'list',
    json: single ? { anyOf: [item.json, json] } : json,
    parse(written, context) {
      const isItem = typeof written !== 'object' || (singleMap && isMapping(written))
      const items: unknown = single && isItem ? [written] : written
      if (!Array.isArray(items)) {
        const instead = typeof written === 'string' ? '[item, item]' : null
        return context.refuse(`must be a list, not ${nounOf(written)}`, instead)
      }
      if (items.length < min) return context.refuse('must not be an empty list', 'give a value, or leave the key out')
      const values = items.map((value: unknown, index) => {
        const placed = items === written ? nested(context, index) : context
        return value === null ? placed.refuse('must not be empty') : item.parse(value, placed)
      })
      const resolved = values.filter((value) => value !== undefined)
      return resolved.length === values.length ? resolved : undefined
    },
    format: (values) => values.map((value) => item.format(value)),
  }
}

/** A map from names to values of one type; one invalid entry invalidates the map. */
export function map<T>(key: ValueType<string>, item: ValueType<T>): ValueType<Record<string, T>> {
  return {
    name: `map to ${item.name}`,
    shape: 'map',
    json: { type: 'object', additionalProperties: fillable(item.json) },
    parse(written, context) {
      if (!isMapping(written)) return context.refuse(`must be a map, not ${nounOf(written)}`, '{ name: value }')
      const entries = Object.entries(written).map(([name, value]) => {
        const placed = nested(context, name)
        const resolvedName = key.parse(name, placed)
        const resolved = value === null ? placed.refuse('must not be empty') : item.parse(value, placed)
        return resolvedName === undefined || resolved === undefined ? undefined : ([resolvedName, resolved] as const)
      })
      const resolved = entries.filter((entry) => entry !== undefined)
      return resolved.length === entries.length ? Object.fromEntries(resolved) : undefined
    },
    format: (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, item.format(value)])),
  }
}

/** Extends a text type to accept whole numbers and booleans as text. */
export function textual(type: ValueType<string>): ValueType<string> {
  return {
    ...type,
    json: { anyOf: [type.json, { type: ['integer', 'boolean'] }] },
    parse: (written, context) =>
      type.parse(Number.isSafeInteger(written) || typeof written === 'boolean' ? String(written) : written, context),
  }
}

/** A claim's name, or its path, in which quotes enclose a segment with dots. */
export const claimName: ValueType<string> = {
  name: 'text',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse }) {
    const name = String(written)
    if (name === '') return refuse('must not be empty')
    if (!name.includes('"') || /^(?:"[^"]+"|[^".]+)(?:\.(?:"[^"]+"|[^".]+))*$/.test(name)) return name
    return refuse(
      'must have its quotes around whole segments of a path',
      'write the path such as resource_access."my.app".roles',
    )
  },
  format: (value) => value,
}

export const claimValue: ValueType<string | number | boolean> = {
  name: 'text, number, true or false',
  json: { type: ['string', 'number', 'boolean'] },
  parse(written, { refuse }) {
    if (typeof written === 'string' || typeof written === 'boolean') return written
    if (typeof written === 'number' && Number.isInteger(written) && !Number.isSafeInteger(written))
      return refuse(`must be at most ${Number.MAX_SAFE_INTEGER} as a number`, 'put the value in quotes')
    if (typeof written === 'number' && Number.isFinite(written)) return written
    return refuse(`must be text, a number, true or false, not ${quote(written)}`)
  },
  format: (value) => value,
}
