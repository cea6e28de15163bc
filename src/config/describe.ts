import type { TSchema } from 'typebox'
import { stringify } from 'yaml'
import { type Leaf, shapeOf } from './leaf.ts'
import { type Config, schema } from './schema.ts'
import { isMapping } from './tree.ts'

const mask = '********'

function masked(secret: NonNullable<Leaf['secret']>, spelled: unknown): unknown {
  if (secret === 'whole') return Array.isArray(spelled) ? spelled.map(() => mask) : mask
  if (secret === 'password') return String(spelled).replace(/(:\/\/[^/@]*?):[^/]*@/, `$1:${mask}@`)
  if (!isMapping(spelled)) return mask
  return Object.fromEntries(
    Object.entries(spelled).map(([name, value]) => [name, String(value).includes('{claims.') ? value : mask]),
  )
}

function spell(node: TSchema, value: unknown): unknown {
  const shape = shapeOf(node)
  if (shape.type === 'list') return Array.isArray(value) ? value.map((item: unknown) => spell(shape.items, item)) : []
  if (shape.type === 'leaf') {
    const { kind, secret, default: standard } = shape.leaf
    if (value === null && standard === null) return null
    const spelled = kind.format(value)
    return secret === undefined ? spelled : masked(secret, spelled)
  }
  if (typeof value === 'string') return value
  if (!isMapping(value)) return shape.section.off ? false : null
  return Object.fromEntries(Object.entries(shape.properties).map(([key, inner]) => [key, spell(inner, value[key])]))
}

/** The resolved configuration as YAML in the operator's spelling, every secret masked; a file shows as its path. */
export function describeConfig(config: Config): string {
  return stringify(spell(schema, config), { lineWidth: 0 })
}
