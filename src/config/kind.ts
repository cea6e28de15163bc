import type { Path } from './problems.ts'

/** A file named in the configuration, with what it held when the configuration was loaded. */
export interface ConfigFile {
  path: string
  content: Buffer
}

/** What a kind gets beside the written value: a way to refuse it, and the only way to the disk. */
export interface Input {
  /** Notes what is wrong, at a place within the value; returns undefined, which is what a refused value resolves to. */
  refuse: (message: string, instead?: string | null, at?: Path) => undefined
  /** Reads a file; a string is the reason why it cannot be read. */
  read: (path: string) => ConfigFile | string
}

/** One kind of value: what an editor accepts, how the written value becomes the resolved one, and how it is spelled. */
export interface Kind<T> {
  /** The word that the documentation uses for it. */
  name: string
  /** How an environment variable holds it; a scalar unless said otherwise. */
  shape?: 'list' | 'map'
  /** JSON Schema of the value as written. */
  json: Record<string, unknown>
  /** The resolved value, or undefined once `input.refuse` has been told why not. Never called with null. */
  parse: (written: unknown, input: Input) => T | undefined
  /** The resolved value in the operator's spelling, as plain YAML data. */
  format: (value: T) => unknown
}

/** Lets a string with `${…}` stand in for whatever a JSON Schema asks for, since only loading fills it in. */
export function fillable(json: Record<string, unknown>): Record<string, unknown> {
  const free = json['type'] === 'string' && !['pattern', 'minLength', 'enum'].some((rule) => rule in json)
  return free || json['type'] === 'array' || json['type'] === 'object'
    ? json
    : { anyOf: [json, { type: 'string', pattern: '\\$\\{' }] }
}

/** Quotes a value for a message: short, on one line, and without the credentials of a URL. */
export function quote(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'a map'
  const text = String(value).replace(/(:\/\/).*@/s, '$1***@')
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text
  return typeof value === 'string' ? JSON.stringify(short) : short
}
