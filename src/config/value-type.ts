import type { KeyPath } from './key-path.ts'

/** A file named in the configuration, with the content that it had when the configuration was loaded. */
export interface ConfigFile {
  readonly path: string
  readonly content: Buffer
}

export interface LocatedFile {
  readonly path: string
  readonly problem: string | null
}

export interface ParseContext {
  /** Reports a problem, at a path within the value, and returns undefined as the result of `parse`. */
  readonly refuse: (message: string, instead?: string | null, at?: KeyPath) => undefined
  /** Reports a problem that does not keep the gateway from starting. */
  readonly warn: (message: string, instead: string) => void
  /** Reads a file; returns the reason as a string when the file cannot be read. */
  readonly read: (path: string) => ConfigFile | string
  /**
   * Returns the absolute path of a file that is not part of the configuration, and why it cannot be read, or `null`.
   */
  readonly locate: (path: string) => LocatedFile
}

export interface ValueType<T> {
  /** The type's name in the documentation. */
  readonly name: string
  /** How an environment variable holds the value; a scalar by default. */
  readonly shape?: 'list' | 'map'
  readonly json: Record<string, unknown>
  /**
   * Returns the parsed value, or undefined after reporting a problem to `context.refuse`. Is never called with null.
   */
  parse(written: unknown, context: ParseContext): T | undefined
  /** Returns the value as an operator would write it, as plain YAML data. */
  format(value: T): unknown
}

/** Extends a JSON Schema to accept a string with `${…}`, because variables are filled in only on loading. */
export function fillable(json: Record<string, unknown>): Record<string, unknown> {
  const isAnyText = json['type'] === 'string' && !['pattern', 'minLength', 'enum'].some((rule) => rule in json)
  return isAnyText || json['type'] === 'array' || json['type'] === 'object'
    ? json
    : { anyOf: [json, { type: 'string', pattern: '\\$\\{' }] }
}

const MAX_QUOTED_CHARACTERS = 60

/** Quotes a value for a message: shortened, on one line, and without the credentials of a URL. */
export function quote(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'a map'
  const text = String(value).replace(/(:\/\/).*@/s, '$1***@')
  const short = text.length > MAX_QUOTED_CHARACTERS ? `${text.slice(0, MAX_QUOTED_CHARACTERS - 3)}...` : text
  return typeof value === 'string' ? JSON.stringify(short) : short
}
