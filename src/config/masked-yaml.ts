import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import { isMapping } from './key-path.ts'
import { type Leaf, shapeOf } from './schema-nodes.ts'
import { hasPlaceholder } from './value-types/http.ts'
import { type Config, schema } from './schema.ts'

const MASK = '********'

function masked(secret: NonNullable<Leaf['secret']>, written: unknown): unknown {
  if (secret === 'whole') return Array.isArray(written) ? written.map(() => MASK) : MASK
  if (secret === 'password') return String(written).replace(/(:\/\/[^/@]*?):[^/]*@/, `$1:${MASK}@`)
  if (!isMapping(written)) return MASK
  return Object.fromEntries(
    Object.entries(written).map(([name, value]) => [name, hasPlaceholder(String(value)) ? value : MASK]),
  )
}

function asWritten(node: TSchema, value: unknown): unknown {
  const shape = shapeOf(node)
  if (shape.type === 'list')
    return Array.isArray(value) ? value.map((item: unknown) => asWritten(shape.items, item)) : null
  if (shape.type === 'map') {
    if (!isMapping(value)) return null
    return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, asWritten(shape.entries, entry)]))
  }
  if (shape.type === 'leaf') {
    const { valueType, secret, default: defaultValue } = shape.leaf
    if (value === null && defaultValue === null) return null
    const written = valueType.format(value)
    return secret === undefined ? written : masked(secret, written)
  }
  if (typeof value === 'string') return value
  if (!isMapping(value)) return shape.section.off ? false : null
  return Object.fromEntries(Object.entries(shape.properties).map(([key, inner]) => [key, asWritten(inner, value[key])]))
}

export function toMaskedYaml(config: Config): string {
  return stringify(asWritten(schema, config), { lineWidth: 0 })
}
