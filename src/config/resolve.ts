import type { TSchema } from 'typebox'
import { interpolate, type Sources } from './interpolate.ts'
import { formatKeyPath, isMapping, type KeyPath } from './key-path.ts'
import type { Finding } from './problems.ts'
import { type Leaf, type NamePattern, type SectionOptions, shapeOf } from './schema-nodes.ts'
import { suggest } from './suggest.ts'
import { routeSynonymOf, synonymOf, valueSynonymOf } from './synonyms.ts'
import type { ConfigFile, LocatedFile } from './value-type.ts'

export interface ResolveContext {
  /** Returns the values for `${…}` at a path; null where `${…}` is not filled in. */
  sources(path: KeyPath): Sources | null
  /** Reads a file named at a path; returns the reason as a string when the file cannot be read. */
  readFile(name: string, at: KeyPath): ConfigFile | string
  /** Locates a file named at a path, without making it a part of the configuration. */
  locateFile(name: string, at: KeyPath): LocatedFile
  variable(path: KeyPath): string | null
}

/** The resolved value, all problems with it, and the paths that have no value because of a problem. */
export interface Resolved {
  readonly value: unknown
  readonly findings: readonly Finding[]
  readonly broken: readonly KeyPath[]
}

/** Stands for a value that could not be read. The problem has already been reported. */
export const UNREADABLE = Symbol('unreadable')

export function resolve(root: TSchema, written: unknown, context: ResolveContext): Resolved {
  const findings: Finding[] = []
  const broken: KeyPath[] = []
  const sections = sectionsByKey(root)

  function refuse(path: KeyPath, part: 'key' | 'value', message: string, instead: string | null = null): undefined {
    findings.push({ path, part, message, instead })
    return undefined
  }

  function noteBroken(path: KeyPath, value: unknown): unknown {
    if (value === undefined) broken.push(path)
    return value
  }

  function missing(path: KeyPath): undefined {
    const variable = context.variable(path)
    return refuse(path, 'key', 'is required', variable === null ? null : `set it here, or set ${variable}`)
  }

  function fill(value: unknown, path: KeyPath): unknown {
    const sources = context.sources(path)
    if (sources === null) return value
    if (typeof value === 'string') {
      const filled = interpolate(value, sources)
      if ('text' in filled) return filled.text
      for (const { message, instead } of filled.problems) refuse(path, 'value', message, instead)
      return undefined
    }
    if (Array.isArray(value)) {
      const items = value.map((item, index) => fill(item, [...path, index]))
      return items.includes(undefined) ? undefined : items
    }
    if (!isMapping(value)) return value
    const entries = Object.entries(value).map(([key, item]) => [key, fill(item, [...path, key])] as const)
    return entries.some(([, item]) => item === undefined) ? undefined : Object.fromEntries(entries)
  }

  function parse(leaf: Leaf, value: unknown, path: KeyPath): unknown {
    return leaf.valueType.parse(value, {
      refuse: (message, instead = null, at = []) =>
        refuse([...path, ...at], 'value', message, (at.length === 0 ? valueSynonymOf(value, path) : null) ?? instead),
      warn: (message, instead) => {
        findings.push({ path, message, instead, warning: true })
      },
      read: (name) => context.readFile(name, path),
      locate: (name) => context.locateFile(name, path),
    })
  }

  function resolveLeaf(leaf: Leaf, raw: unknown, path: KeyPath): unknown {
    if (raw === undefined || raw === null) {
      if (leaf.default === undefined) return missing(path)
      if (leaf.default === null) return null
      // The default may be an empty list where a written list must not be empty.
      return Array.isArray(leaf.default) && leaf.default.length === 0 ? [] : parse(leaf, leaf.default, [])
    }
    const value = fill(raw, path)
    if (value === undefined) return undefined
    return parse(leaf, value, path)
  }

  function resolveGroup(
    section: SectionOptions,
    properties: Record<string, TSchema>,
    raw: unknown,
    path: KeyPath,
  ): unknown {
    if (raw === undefined || raw === null) {
      if (section.absent === 'null') return null
      raw = {}
    }
    const value = isMapping(raw) ? raw : fill(raw, path)
    if (value === undefined) return undefined
    if (section.off && (value === false || value === 'false' || value === 'off')) return null
    if (section.word !== undefined && value === section.word) return value
    if (!isMapping(value)) {
      const others = [...(section.word === undefined ? [] : [section.word]), ...(section.off ? ['false'] : [])]
      const message = ['must be a map', ...others].join(', or ')
      const keys = `keys: ${Object.keys(properties).join(', ')}`
      return refuse(path, 'value', message, valueSynonymOf(value, path) ?? keys)
    }
    const known = Object.keys(properties)
    for (const key of Object.keys(value)) {
      // The rules that compare keys do not read a section in which a key is missing.
      if (!Object.hasOwn(properties, key))
        noteBroken([...path, key], refuse([...path, key], 'key', ...unknownKey(key, path, known)))
    }
    const keys = Object.entries(properties).map(([key, schema]) => {
      const given = Object.hasOwn(value, key) ? value[key] : undefined
      if ((given ?? null) === null && isReplaced(schema, value)) return [key, null] as const
      return [key, resolveAny(schema, given, [...path, key])] as const
    })
    return Object.fromEntries(keys)
  }

  function unknownKey(key: string, path: KeyPath, siblings: string[]): [string, string] {
    const message = 'is not a key of the configuration'
    const elsewhere = sections.get(key)
    // A key of another section is probably spelled as intended, unless it is one edit away from a key of this section.
    const near = suggest(key, siblings, elsewhere === undefined ? undefined : 1)
    const instead =
      synonymOf(key, path) ??
      (near === null ? null : `did you mean ${near}?`) ??
      (elsewhere === undefined ? null : `it belongs to ${listOf(elsewhere)}`) ??
      (path.length === 0 ? routeSynonymOf(key) : null)
    if (instead !== null) return [message, instead]
    return [message, `keys ${path.length === 0 ? 'at the top' : `of ${formatKeyPath(path)}`}: ${siblings.join(', ')}`]
  }

  function resolveList(items: TSchema, defaultList: unknown, raw: unknown, path: KeyPath): unknown {
    const value = raw ?? defaultList
    if (value === null) return null
    if (defaultList === null && Array.isArray(value) && value.length === 0)
      return refuse(path, 'value', 'must not be an empty list', 'give an item, or leave the key out')
    if (!Array.isArray(value)) return refuse(path, 'value', 'must be a list', 'begin each item with "- "')
    return value.map((item: unknown, index) => {
      const at = [...path, index]
      if (!isMapping(item)) return noteBroken(at, refuse(at, 'value', 'must be a map'))
      return resolveAny(items, item, at)
    })
  }

  function resolveMap(entries: TSchema, names: NamePattern, raw: unknown, path: KeyPath): unknown {
    if (raw === undefined || raw === null) return null
    if (!isMapping(raw) || Object.keys(raw).length === 0)
      return refuse(path, 'value', 'must be a map from names to maps', `write ${formatKeyPath([...path, 'NAME'])}`)
    const resolved = Object.entries(raw).map(([name, entry]) => {
      const at = [...path, name]
      if (!names.pattern.test(name)) refuse(at, 'key', 'is not a name', `use ${names.expected}`)
      if (!isMapping(entry)) return [name, noteBroken(at, refuse(at, 'value', 'must be a map'))] as const
      return [name, resolveAny(entries, entry, at)] as const
    })
    return Object.fromEntries(resolved)
  }

  function resolveAny(schema: TSchema, raw: unknown, path: KeyPath): unknown {
    if (raw === UNREADABLE) return noteBroken(path, undefined)
    const shape = shapeOf(schema)
    if (shape.type === 'leaf') return noteBroken(path, resolveLeaf(shape.leaf, raw, path))
    if (shape.type === 'list') return noteBroken(path, resolveList(shape.items, shape.defaultList, raw, path))
    if (shape.type === 'map') return noteBroken(path, resolveMap(shape.entries, shape.names, raw, path))
    return noteBroken(path, resolveGroup(shape.section, shape.properties, raw, path))
  }

  const value = resolveAny(root, written, [])
  return { value, findings, broken }
}

/** Returns whether another key of the parent takes the place of an omitted section. */
function isReplaced(schema: TSchema, parent: Readonly<Record<string, unknown>>): boolean {
  const shape = shapeOf(schema)
  const other = shape.type === 'group' ? shape.section.replacedBy : undefined
  return other !== undefined && (parent[other] ?? null) !== null
}

/** Returns a map from each key name to the sections that have such a key. */
function sectionsByKey(root: TSchema): Map<string, string[]> {
  const sections = new Map<string, string[]>()
  const walk = (schema: TSchema, section: string): void => {
    const shape = shapeOf(schema)
    if (shape.type === 'list') return walk(shape.items, `${section}[]`)
    // The keys of a map of sections are also those of the section that the map replaces.
    if (shape.type === 'leaf' || shape.type === 'map') return
    for (const [key, inner] of Object.entries(shape.properties)) {
      const name = section === '' ? 'the top level' : section
      sections.set(key, [...(sections.get(key) ?? []), name])
      walk(inner, section === '' ? key : `${section}.${key}`)
    }
  }
  walk(root, '')
  return sections
}

function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`
}
