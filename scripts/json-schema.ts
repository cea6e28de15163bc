import type { TSchema } from 'typebox'
import { type Leaf, shapeOf } from '../src/config/schema-nodes.ts'
import { schema } from '../src/config/schema.ts'
import { fillable } from '../src/config/value-type.ts'

type Json = Record<string, unknown>

function orNull(json: Json): Json {
  const options: unknown[] = Array.isArray(json['anyOf']) ? json['anyOf'] : [json]
  return { anyOf: [...options, { type: 'null' }] }
}

const isRequired = (leaf: Leaf): boolean => leaf.default === undefined

// Applies inside lists and maps only: environment variables may set any other required key.
const requiredKeys = (properties: Record<string, TSchema>): string[] =>
  Object.entries(properties)
    .filter(([, inner]) => {
      const shape = shapeOf(inner)
      return shape.type === 'leaf' && isRequired(shape.leaf)
    })
    .map(([key]) => key)

/** The JSON pointers of the keys that have been converted. A key that sections share is converted once. */
type Pointers = Map<TSchema, string>

function convert(node: TSchema, inList: boolean, at: string, pointers: Pointers): Json {
  const shape = shapeOf(node)
  if (shape.type === 'leaf') {
    const pointer = pointers.get(node)
    if (pointer !== undefined) return { $ref: pointer }
    pointers.set(node, at)
    const { valueType, description, default: defaultValue } = shape.leaf
    const json = isRequired(shape.leaf) ? fillable(valueType.json) : orNull(fillable(valueType.json))
    const known = defaultValue === undefined || defaultValue === null ? {} : { default: defaultValue }
    return { description, ...known, ...json }
  }
  if (shape.type === 'list') {
    const { description, defaultList, items } = shape
    return {
      description,
      ...(defaultList === null ? {} : { default: defaultList }),
      ...orNull({
        type: 'array',
        ...(defaultList === null ? { minItems: 1 } : {}),
        items: objectOf(propertiesOf(items), true, `${at}/anyOf/0/items`, pointers),
      }),
    }
  }
  if (shape.type === 'map') {
    const { description, entries, names } = shape
    const json = {
      type: 'object',
      minProperties: 1,
      propertyNames: { pattern: names.pattern.source },
      additionalProperties: objectOf(propertiesOf(entries), true, `${at}/anyOf/0/additionalProperties`, pointers),
    }
    return { description, ...orNull(json) }
  }
  const { description, properties, section } = shape
  const object = objectOf(properties, inList, `${at}/anyOf/0`, pointers)
  const word = section.word === undefined ? [] : [{ const: section.word }]
  const off = section.off ? [{ enum: [false, 'off', 'false'] }, { type: 'string', pattern: '\\$\\{' }] : []
  return { description, anyOf: [object, ...word, ...off, { type: 'null' }] }
}

function objectOf(properties: Record<string, TSchema>, inList: boolean, at: string, pointers: Pointers): Json {
  const required = inList ? requiredKeys(properties) : []
  return {
    type: 'object',
    additionalProperties: false,
    ...(required.length > 0 ? { required } : {}),
    properties: Object.fromEntries(
      Object.entries(properties).map(([key, inner]) => [
        key,
        convert(inner, inList, `${at}/properties/${key}`, pointers),
      ]),
    ),
  }
}

function propertiesOf(node: TSchema): Record<string, TSchema> {
  const shape = shapeOf(node)
  return shape.type === 'group' ? shape.properties : {}
}

/** Returns the JSON Schema (draft-07) of the YAML file, before placeholders are replaced. */
export function jsonSchema(): Json {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'Gatehouse configuration',
    description:
      'Environment variables may set keys too. String values may contain ${NAME}, ${NAME:-default} and ${file:/path}.',
    ...objectOf(propertiesOf(schema), false, '#', new Map()),
  }
}
