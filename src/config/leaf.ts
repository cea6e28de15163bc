import { Type, type Static, type TProperties, type TSchema, type TUnsafe } from 'typebox'
import type { Kind } from './kind.ts'

/** What the schema says about one key beside its kind. */
export interface Marks {
  /** One or two sentences for the documentation and for editors. */
  description: string
  /** The value as written that holds where none is given: null for none, undefined where one must be given. */
  default: unknown
  /** What the documentation says in place of the default, where the default depends on something. */
  defaultText?: string
  /** Null until a value from elsewhere takes its place, so that its type is never null. */
  inherits?: true
  /** What must not be shown: the whole value, a URL's password, or a map's texts that nothing is filled into. */
  secret?: 'whole' | 'password' | 'constants'
}

/** One key that holds a value: its marks and its kind. */
export interface Leaf<T = unknown> extends Marks {
  kind: Kind<T>
}

/** How a section may be left out: filled with its defaults, or null; `off` where `false` makes it null. */
export interface Section {
  absent: 'defaults' | 'null'
  off: boolean
  /** The word that may stand in place of its keys, and resolves to itself. */
  word?: string
}

/** A key with a value, whose static type is the resolved one; it may be null exactly where its default is. */
export function leaf<T, const M extends Marks>(
  kind: Kind<T>,
  marks: M,
): TUnsafe<M['default'] extends null ? T | null : T> {
  return Type.Unsafe({ ...kind.json, leaf: { ...marks, kind } })
}

/** A section: keys of which no other is known. */
export function group<P extends TProperties>(description: string, properties: P) {
  return Type.Object(properties, { additionalProperties: false, description })
}

/** A section that is null when it is not written. */
export function maybe<G extends TSchema>(section: G): TUnsafe<Static<G> | null> {
  return Type.Unsafe({ ...section, section: { absent: 'null', off: false } })
}

/** A section that has its defaults when it is not written, and is null when it is `false`. */
export function switchable<G extends TSchema>(section: G): TUnsafe<Static<G> | null> {
  return Type.Unsafe({ ...section, section: { absent: 'defaults', off: true } })
}

/** A section that is null when it is not written or `false`, and in whose place one word may stand. */
export function wordOr<const W extends string, G extends TSchema>(word: W, section: G): TUnsafe<Static<G> | W | null> {
  return Type.Unsafe({ ...section, section: { absent: 'null', off: true, word } })
}

/** A list of sections, with the list as written that holds where none is given. */
export function many<G extends TSchema>(section: G, description: string, standard: unknown[]) {
  return Type.Array(section, { description, default: standard })
}

interface Node {
  leaf?: Leaf
  section?: Section
  description?: string
  default?: unknown
  properties?: Record<string, TSchema>
  items?: TSchema
}

/** What stands at a place of the schema, for those who walk it. */
export type Shape =
  | { type: 'leaf'; leaf: Leaf }
  | { type: 'group'; section: Section; description: string; properties: Record<string, TSchema> }
  | { type: 'list'; items: TSchema; description: string; standard: unknown }

/** Reads one node of the schema. */
export function shapeOf(schema: TSchema): Shape {
  const node = schema as Node
  if (node.leaf) return { type: 'leaf', leaf: node.leaf }
  const description = node.description ?? ''
  if (node.items) return { type: 'list', items: node.items, description, standard: node.default }
  const section = node.section ?? { absent: 'defaults', off: false }
  return { type: 'group', section, description, properties: node.properties ?? {} }
}
