import type { TSchema } from 'typebox'
import { interpolate, type Sources } from './interpolate.ts'
import type { ConfigFile } from './kind.ts'
import { type Leaf, type Section, shapeOf } from './leaf.ts'
import { formatPath, type Path } from './problems.ts'
import { suggest } from './suggest.ts'
import { isMapping } from './tree.ts'

/** Something wrong at a key, not yet at a line. */
export interface Mistake {
  path: Path
  /** Whether the key itself or its value is meant. */
  part: 'key' | 'value'
  message: string
  instead: string | null
}

/** What resolving a written value needs beside the schema. */
export interface Resolving {
  /** Where `${…}` at a path takes its values from; null where texts are taken as they are. */
  sources: (path: Path) => Sources | null
  readFile: (path: string, at: Path) => ConfigFile | string
  /** The variable that could set a key that must be given; null where there is none. */
  variable: (path: Path) => string | null
}

/** The resolved value, every mistake on the way to it, and the paths that have no value because of one. */
export interface Resolved {
  value: unknown
  mistakes: Mistake[]
  broken: Path[]
}

/** Stands for a value that was given but could not be had; the one who put it there has said why. */
export const unreadable = Symbol('unreadable')

/** Turns the written configuration into the resolved one: fills in, converts, adds defaults, refuses the unknown. */
export function resolve(root: TSchema, written: unknown, resolving: Resolving): Resolved {
  const mistakes: Mistake[] = []
  const broken: Path[] = []
  const places = keyPlaces(root)

  function refuse(path: Path, part: Mistake['part'], message: string, instead: string | null = null): undefined {
    mistakes.push({ path, part, message, instead })
    return undefined
  }

  function breaks(path: Path, value: unknown): unknown {
    if (value === undefined) broken.push(path)
    return value
  }

  function missing(path: Path): undefined {
    const variable = resolving.variable(path)
    return refuse(path, 'key', 'is required', variable === null ? null : `give it here, or as ${variable}`)
  }

  function fill(value: unknown, path: Path): unknown {
    const sources = resolving.sources(path)
    if (sources === null) return value
    if (typeof value === 'string') {
      const filled = interpolate(value, sources)
      if ('text' in filled) return filled.text
      for (const gap of filled.gaps) refuse(path, 'value', gap.message, gap.instead)
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

  function parse(leaf: Leaf, value: unknown, path: Path, note: typeof refuse): unknown {
    return leaf.kind.parse(value, {
      refuse: (message, instead = null, at = []) => note([...path, ...at], 'value', message, instead),
      read: (name) => resolving.readFile(name, path),
    })
  }

  const standard = (leaf: Leaf): unknown => (leaf.default === null ? null : parse(leaf, leaf.default, [], refuse))

  function resolveLeaf(leaf: Leaf, raw: unknown, path: Path): unknown {
    if (raw === undefined || raw === null) {
      if (leaf.inherits) return null
      if (leaf.default === undefined) return missing(path)
      // An empty list stands for "none given", which a written list may not be.
      return Array.isArray(leaf.default) && leaf.default.length === 0 ? [] : standard(leaf)
    }
    const value = fill(raw, path)
    if (value === undefined) return undefined
    return parse(leaf, value, path, refuse)
  }

  function resolveGroup(section: Section, properties: Record<string, TSchema>, raw: unknown, path: Path): unknown {
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
      return refuse(path, 'value', message, `keys: ${Object.keys(properties).join(', ')}`)
    }
    const known = Object.keys(properties)
    for (const key of Object.keys(value)) {
      if (!Object.hasOwn(properties, key)) refuse([...path, key], 'key', ...unknownKey(key, path, known))
    }
    const keys = Object.entries(properties).map(([key, schema]) => {
      const given = Object.hasOwn(value, key) ? value[key] : undefined
      return [key, resolveAny(schema, given, [...path, key])] as const
    })
    return Object.fromEntries(keys)
  }

  function unknownKey(key: string, path: Path, siblings: string[]): [string, string] {
    const message = 'is not a key of the configuration'
    const near = suggest(key, siblings)
    if (near !== null) return [message, `did you mean ${near}?`]
    const elsewhere = places.get(key)
    if (elsewhere !== undefined) return [message, `it belongs to ${elsewhere}`]
    return [message, `keys ${path.length === 0 ? 'at the top' : `of ${formatPath(path)}`}: ${siblings.join(', ')}`]
  }

  function resolveList(items: TSchema, standardList: unknown, raw: unknown, path: Path): unknown {
    const value = raw ?? standardList
    if (!Array.isArray(value)) return refuse(path, 'value', 'must be a list', 'begin each item with "- "')
    return value.map((item: unknown, index) => {
      const at = [...path, index]
      if (!isMapping(item)) return breaks(at, refuse(at, 'value', 'must be a map'))
      return resolveAny(items, item, at)
    })
  }

  function resolveAny(schema: TSchema, raw: unknown, path: Path): unknown {
    if (raw === unreadable) return breaks(path, undefined)
    const shape = shapeOf(schema)
    if (shape.type === 'leaf') return breaks(path, resolveLeaf(shape.leaf, raw, path))
    if (shape.type === 'list') return breaks(path, resolveList(shape.items, shape.standard, raw, path))
    return breaks(path, resolveGroup(shape.section, shape.properties, raw, path))
  }

  const value = resolveAny(root, written, [])
  return { value, mistakes, broken }
}

/** Where each key's name is at home, for those that are at home in one place only. */
function keyPlaces(root: TSchema): Map<string, string> {
  const places = new Map<string, string>()
  const ambiguous = new Set<string>()
  const walk = (schema: TSchema, path: Path): void => {
    const shape = shapeOf(schema)
    if (shape.type === 'list') return walk(shape.items, path)
    if (shape.type === 'leaf') return
    for (const [key, inner] of Object.entries(shape.properties)) {
      if (places.has(key)) ambiguous.add(key)
      if (path.length > 0) places.set(key, formatPath(path))
      walk(inner, [...path, key])
    }
  }
  walk(root, [])
  for (const key of ambiguous) places.delete(key)
  return places
}
