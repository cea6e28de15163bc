import { quote, type ValueType } from '../value-type.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../units.ts'

const DURATION_PATTERN = '[0-9]+(ms|s|m|h|d)'
const DAY_MS = 86_400_000
/** A Node.js timer can wait at most 2^31 - 1 ms, almost 25 days. A timer with a longer delay fires at once. */
const MAX_TIMER_MS = 24 * DAY_MS
const MAX_DURATION_MS = 3650 * DAY_MS

interface DurationOptions {
  /** The minimum in ms; 1000 by default. */
  readonly min?: number
  /** Whether the duration is used for a timer. If so, it is at most `MAX_TIMER_MS`. */
  readonly timer?: boolean
}

/** A duration, stored in ms. */
export function duration({ min = 1000, timer = false }: DurationOptions = {}): ValueType<number> {
  const max = timer ? MAX_TIMER_MS : MAX_DURATION_MS
  return {
    name: 'duration',
    json: { type: 'string', pattern: `^${DURATION_PATTERN}$` },
    parse(written, { refuse }) {
      const ms = typeof written === 'string' ? parseDuration(written) : undefined
      if (ms === undefined) {
        return refuse(
          `must be a duration such as 30s or 15m, not ${quote(written)}`,
          /^\d{1,12}$/.test(String(written)) ? `add the unit, such as ${String(written)}s` : null,
        )
      }
      if (ms < min) return refuse(`must be at least ${formatDuration(min)}, not ${quote(written)}`)
      if (ms > max) return refuse(`must be at most ${formatDuration(max)}, not ${quote(written)}`)
      return ms
    },
    format: formatDuration,
  }
}

export const size: ValueType<number> = {
  name: 'size',
  json: { type: 'string', pattern: '^[0-9]+(b|kb|mb|gb)$' },
  parse(written, { refuse }) {
    const count = typeof written === 'string' ? parseSize(written) : undefined
    if (count === undefined) return refuse(`must be a size such as 64kb or 1mb, not ${quote(written)}`)
    return count > 0 ? count : refuse('must be more than 0', 'write off for no limit')
  },
  format: formatSize,
}

/** A number of bytes from `min` to `max`, which are written as in a configuration, such as `64kb`. */
export function sizeWithin(min: string, max: string): ValueType<number> {
  return {
    ...size,
    parse(written, context) {
      const count = size.parse(written, { ...context, refuse: (message) => context.refuse(message) })
      if (count === undefined || (count >= (parseSize(min) ?? 0) && count <= (parseSize(max) ?? 0))) return count
      return context.refuse(`must be from ${min} to ${max}, not ${quote(written)}`)
    },
  }
}

/** At most `max` requests within a window of `window` ms. */
export interface RateLimit {
  readonly max: number
  readonly window: number
}

export const rate: ValueType<RateLimit> = {
  name: 'rate',
  json: { type: 'string', pattern: `^[1-9][0-9]*/${DURATION_PATTERN}$` },
  parse(written, { refuse }) {
    const [, count, time] = typeof written === 'string' ? (/^([1-9]\d{0,8})\/(\w+)$/.exec(written) ?? []) : []
    const window = time === undefined ? undefined : parseDuration(time)
    if (window === undefined) return refuse(`must be a rate such as 300/1m, not ${quote(written)}`)
    if (window < 1000 || window > DAY_MS) return refuse(`must have a window from 1s to 1d, not ${quote(written)}`)
    return { max: Number(count), window }
  },
  format: ({ max, window }) => `${max}/${formatDuration(window)}`,
}

/** When to refresh a token: once a share of its lifetime remains (0 to 1), or a duration in ms before it expires. */
export type RefreshBefore = { readonly share: number } | { readonly duration: number }

export const refreshBefore: ValueType<RefreshBefore> = {
  name: 'percentage or duration',
  json: { type: 'string', pattern: `^([1-9][0-9]?%|${DURATION_PATTERN})$` },
  parse(written, { refuse }) {
    const percent = typeof written === 'string' ? /^([1-9]\d?)%$/.exec(written)?.[1] : undefined
    if (percent !== undefined) return { share: Number(percent) / 100 }
    const ms = typeof written === 'string' ? parseDuration(written) : undefined
    if (ms === undefined || ms > MAX_DURATION_MS) {
      return refuse(`must be a percentage from 1% to 99% or a duration such as 30s, not ${quote(written)}`)
    }
    return { duration: ms }
  },
  format: (value) => ('share' in value ? `${Math.round(value.share * 100)}%` : formatDuration(value.duration)),
}

/** Extends a type with `off` and `false`, which are stored as null. */
export function orOff<T>(type: ValueType<T>): ValueType<T | null> {
  return {
    name: `${type.name} or \`off\``,
    json: { anyOf: [{ enum: ['off', false] }, type.json] },
    parse(written, context) {
      if (written === 'off' || written === false || written === 'false') return null
      return type.parse(written, {
        ...context,
        refuse: (message, instead, at) =>
          context.refuse(message.replace(/^must be (?=an? )/, 'must be off or '), instead, at),
      })
    },
    format: (value) => (value === null ? 'off' : type.format(value)),
  }
}
