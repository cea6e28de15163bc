import { Type, type Static, type TProperties, type TSchema, type TUnsafe } from 'typebox'
import type { ValueType } from './value-type.ts'

export interface LeafOptions {
  readonly description: string
  /** The default, as an operator would write it: null for no value, undefined when the key is required. */
  readonly default: unknown
  /** The documentation of a default that depends on other keys. */
  readonly defaultText?: string
  /**
   * Which part is masked when printed: the whole value, the password of a URL, or the entries of a map that have no
   * template.
   */
  readonly secret?: 'whole' | 'password' | 'constants'
}

export interface Leaf<T = unknown> extends LeafOptions {
  readonly valueType: ValueType<T>
}

export interface SectionOptions {
  /** What an omitted section becomes: its defaults, or null. */
  readonly absent: 'defaults' | 'null'
  /** Whether `false` makes the section null. */
  readonly off: boolean
  /** The word that may replace the section. */
  readonly word?: string
  /** The key next to the section that replaces it: an omitted section is null if that key is given. */
  readonly replacedBy?: string
}

/** The names that the sections of a map may have. */
export interface NamePattern {
  readonly pattern: RegExp
  readonly expected: string
}

/** Creates a key whose static type is the parsed value, or null if its default is null. */
export function leaf<T, const O extends LeafOptions>(
  valueType: ValueType<T>,
  options: O,
): TUnsafe<O['default'] extends null ? T | null : T> {
  return Type.Unsafe({ ...valueType.json, leaf: { ...options, valueType } })
}

/** Creates a section, which refuses unknown keys. */
export function group<P extends TProperties>(description: string, properties: P) {
  return Type.Object(properties, { additionalProperties: false, description })
}

/** Makes a section null if it is omitted. */
export function optional<G extends TSchema>(section: G): TUnsafe<Static<G> | null> {
  return Type.Unsafe({ ...section, section: { absent: 'null', off: false } })
}

/** Makes a section null if it is `false`. An omitted section gets its defaults. */
export function switchable<G extends TSchema>(section: G): TUnsafe<Static<G> | null> {
  return Type.Unsafe({ ...section, section: { absent: 'defaults', off: true } })
}

/** Makes a section null if it is omitted or `false`, and lets one word replace it. */
export function optionalOrWord<const W extends string, G extends TSchema>(
  word: W,
  section: G,
): TUnsafe<Static<G> | W | null> {
  return Type.Unsafe({ ...section, section: { absent: 'null', off: true, word } })
}

/** Makes a section null if it is omitted and the key `other` next to it is given. */
export function replaceableBy<G extends TSchema>(other: string, section: G): TUnsafe<Static<G> | null> {
  return Type.Unsafe({ ...section, section: { absent: 'defaults', off: false, replacedBy: other } })
}

/** Creates a map from names to sections. It is null if it is omitted. */
export function mapOf<G extends TSchema>(
  names: NamePattern,
  section: G,
  description: string,
): TUnsafe<Record<string, Static<G>> | null> {
  return Type.Unsafe({ entries: section, names, description })
}

export function listOf<G extends TSchema>(section: G, description: string, defaultList: unknown[]) {
  return Type.Array(section, { description, default: defaultList })
}

/** Creates a list of sections that is null if it is omitted, and has at least one item otherwise. */
export function optionalListOf<G extends TSchema>(section: G, description: string): TUnsafe<Static<G>[] | null> {
  return Type.Unsafe({ ...Type.Array(section, { description }), default: null })
}

interface Node {
  readonly leaf?: Leaf
  readonly section?: SectionOptions
  readonly description?: string
  readonly default?: unknown
  readonly properties?: Record<string, TSchema>
  readonly items?: TSchema
  readonly entries?: TSchema
  readonly names?: NamePattern
}

export type Shape =
  | { readonly type: 'leaf'; readonly leaf: Leaf }
  | {
      readonly type: 'group'
      readonly section: SectionOptions
      readonly description: string
      readonly properties: Record<string, TSchema>
    }
  | { readonly type: 'map'; readonly entries: TSchema; readonly names: NamePattern; readonly description: string }
  | { readonly type: 'list'; readonly items: TSchema; readonly description: string; readonly defaultList: unknown }

export function shapeOf(schema: TSchema): Shape {
  const node = schema as Node
  if (node.leaf) return { type: 'leaf', leaf: node.leaf }
  const description = node.description ?? ''
  if (node.entries && node.names) return { type: 'map', entries: node.entries, names: node.names, description }
  if (node.items) return { type: 'list', items: node.items, description, defaultList: node.default }
  const section = node.section ?? { absent: 'defaults', off: false }
  return { type: 'group', section, description, properties: node.properties ?? {} }
}
