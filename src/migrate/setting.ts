import { isMapping } from '../config/key-path.ts'
import { formatDuration } from '../config/units.ts'

/** Thrown for a file that is not a configuration of a known gateway, or that cannot be parsed. */
export class UnreadableFile extends Error {}

/** How much a difference matters; each grade is a section of the report. */
export type Grade = 'security' | 'differs' | 'gap' | 'builtin' | 'todo'

export interface Setting {
  /** The name of the setting in the documentation of the other gateway. */
  readonly key: string
  /** The name in the file, such as a flag or a variable. */
  readonly written: string
  readonly value: unknown
  readonly file: string
  /** The line, counted from 1. */
  readonly line: number
  /** The line of each item, if the items of a list are not all in `line`. */
  readonly lines?: readonly number[]
  /** Where the value of the variable comes from that is the whole value. */
  readonly origin?: string
  /** What the reader has to say about the setting. */
  readonly note?: { readonly grade: Grade; readonly text: string }
}

/** The key of a source that cannot be read, and of one that may contain the variables of the client. */
export const UNREAD = 'a source that cannot be read'
export const UNREAD_VARIABLES = 'variables that cannot be read'

export function positionOf({ file, line }: Setting): string {
  return `${file}:${line}`
}

/** Escapes `${`, unless it begins a variable: the old configuration then names a variable as well. */
export function literal(text: string): string {
  return text.replace(/\$\{(?![A-Za-z_]\w*\})/g, () => '$${')
}

/** Returns a text value, or the first item of a list; an empty string for other values. */
export function textOf({ value }: Setting): string {
  return scalarText(Array.isArray(value) ? value[0] : value).trim()
}

function scalarText(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
}

/** Returns the value as a list; text is split at commas. */
export function listOf({ value }: Setting): string[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : [value]
  const texts = items.map(scalarText)
  return (Array.isArray(value) ? texts : texts.flatMap((text) => text.split(',')))
    .map((text) => text.trim())
    .filter((text) => text !== '')
}

/** Returns the items of the value with their lines. */
export function itemsOf(setting: Setting): { readonly text: string; readonly line: number }[] {
  const { lines, line, value } = setting
  if (lines === undefined || !Array.isArray(value)) return listOf(setting).map((text) => ({ text, line }))
  return value
    .map((item, index) => ({ text: scalarText(item).trim(), line: lines[index] ?? line }))
    .filter(({ text }) => text !== '')
}

/** Returns the value as a flag; `null` if it is neither true nor false. */
export function flagOf(setting: Setting): boolean | null {
  const text = textOf(setting).toLowerCase()
  if (['true', 't', '1', 'on', 'yes'].includes(text)) return true
  return ['false', 'f', '0', 'off', 'no', ''].includes(text) ? false : null
}

const GO_UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** Returns a Go duration such as `1h30m` in milliseconds (a bare number counts nanoseconds); `null` for other values. */
export function goDuration(setting: Setting): number | null {
  const text = textOf(setting)
  if (/^\d+$/.test(text)) return Math.round(Number(text) / 1e6)
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return null
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)]
  return Math.round(parts.reduce((sum, [, amount, unit = '']) => sum + Number(amount) * (GO_UNITS_MS[unit] ?? 0), 0))
}

/** Formats milliseconds as a duration of a Gatehouse configuration, at least `minMs`. */
export function duration(ms: number, minMs = 1000): string {
  return formatDuration(Math.max(minMs, Math.round(ms)))
}

/**
 * Returns an address as a Gatehouse configuration spells it, from `host:port`, `:port`, `http://host:port` or
 * `unix:///path`; `null` for other text.
 */
export function listenAddress(text: string): string | null {
  const socket = /^unix:(?:\/\/)?(\/[^,]+)/.exec(text)?.[1]
  if (socket !== undefined) return `unix:${socket}`
  const [, host = '', port] = /^(?:https?:\/\/)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]*):(\d{1,5})\/?$/.exec(text) ?? []
  return port === undefined ? null : `${host === '' ? '0.0.0.0' : host}:${port}`
}

/** Returns the octal mode in `unix:/path,mode=0660`, or `null`. */
export function socketMode(text: string): string | null {
  const digits = /^unix:[^,]+,(?:.*,)?mode=0*([0-7]{3})$/.exec(text)?.[1]
  return digits === undefined ? null : `0${digits}`
}

/** Returns the members of a mapping; none for other values. */
export function membersOf(value: unknown): [string, unknown][] {
  return isMapping(value) ? Object.entries(value) : []
}

export function argumentsOf({ value }: Setting): string[] {
  return Array.isArray(value) ? value.map(String) : [String(value)]
}
