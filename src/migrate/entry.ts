import { isMapping } from '../config/key-path.ts'
import { formatDuration } from '../config/units.ts'

/** One key of a peer's configuration as it was written, with its place. */
export interface Entry {
  /** The name by which the peer's documentation knows it. */
  readonly key: string
  /** The name as it stands in the file, where that is another: a flag or a variable. */
  readonly written: string
  readonly value: unknown
  readonly file: string
  /** Counted from 1. */
  readonly line: number
}

/** Text for a value of ours: `${…}` of the peer's text means nothing here, unless the peer fills it in as well. */
export function literal(text: string): string {
  return text.replaceAll('${', '$${')
}

/** The value as one text, as the peer wrote it; a list's first item, empty when there is none. */
export function textOf({ value }: Entry): string {
  return spelled(Array.isArray(value) ? value[0] : value).trim()
}

function spelled(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

/** The value as a list; one text is split at its commas. */
export function listOf({ value }: Entry): string[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : [value]
  const texts = items.map(spelled)
  return (Array.isArray(value) ? texts : texts.flatMap((text) => text.split(',')))
    .map((text) => text.trim())
    .filter((text) => text !== '')
}

/** The value as a flag; `null` where it is neither true nor false. */
export function flagOf(entry: Entry): boolean | null {
  const text = textOf(entry).toLowerCase()
  if (['true', 't', '1', 'on', 'yes'].includes(text)) return true
  return ['false', 'f', '0', 'off', 'no', ''].includes(text) ? false : null
}

const goUnits: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/**
 * A duration as Go writes it, such as `1h30m` (a bare number counts nanoseconds), in milliseconds; `null` for anything
 * else.
 */
export function goDuration(entry: Entry): number | null {
  const text = textOf(entry)
  if (/^\d+$/.test(text)) return Math.round(Number(text) / 1e6)
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return null
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)]
  return Math.round(parts.reduce((sum, [, amount, unit = '']) => sum + Number(amount) * (goUnits[unit] ?? 0), 0))
}

/** Milliseconds in our spelling, not under `least`. */
export function duration(ms: number, least = 1000): string {
  return formatDuration(Math.max(least, Math.round(ms)))
}

/** The members of a value that is a map; none for anything else. */
export function membersOf(value: unknown): [string, unknown][] {
  return isMapping(value) ? Object.entries(value) : []
}
