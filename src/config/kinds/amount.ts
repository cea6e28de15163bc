import { type Kind, quote } from '../kind.ts'
import { formatDuration, formatSize, parseDuration, parseSize } from '../units.ts'

const durationPattern = '[0-9]+(ms|s|m|h|d)'
const day = 86_400_000
// Node's timers hold 31 bits of milliseconds; a longer one would fire at once.
const longestTimer = 24 * day
const longest = 3650 * day

interface Range {
  /** In milliseconds; 1 s unless said otherwise. */
  min?: number
  /** True where a timer waits for it. */
  timer?: boolean
}

/** A duration, resolved to milliseconds. */
export function duration({ min = 1000, timer = false }: Range = {}): Kind<number> {
  const max = timer ? longestTimer : longest
  return {
    name: 'duration',
    json: { type: 'string', pattern: `^${durationPattern}$` },
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

/** A number of bytes. */
export const size: Kind<number> = {
  name: 'size',
  json: { type: 'string', pattern: '^[0-9]+(b|kb|mb|gb)$' },
  parse(written, { refuse }) {
    const count = typeof written === 'string' ? parseSize(written) : undefined
    if (count === undefined) return refuse(`must be a size such as 64kb or 1mb, not ${quote(written)}`)
    return count > 0 ? count : refuse('must be more than nothing', 'write off for no limit')
  },
  format: formatSize,
}

/** A number of bytes from `least` to `most`, both written as in a configuration. */
export function sizeWithin(least: string, most: string): Kind<number> {
  return {
    ...size,
    parse(written, input) {
      const count = size.parse(written, { ...input, refuse: (message) => input.refuse(message) })
      if (count === undefined || (count >= (parseSize(least) ?? 0) && count <= (parseSize(most) ?? 0))) return count
      return input.refuse(`must be from ${least} to ${most}, not ${quote(written)}`)
    },
  }
}

/** So many of something within a window of so many milliseconds. */
export interface RateLimit {
  max: number
  window: number
}

/** A number of requests within a duration: `300/1m`. */
export const rate: Kind<RateLimit> = {
  name: 'rate',
  json: { type: 'string', pattern: `^[1-9][0-9]*/${durationPattern}$` },
  parse(written, { refuse }) {
    const [, count, time] = typeof written === 'string' ? (/^([1-9]\d{0,8})\/(\w+)$/.exec(written) ?? []) : []
    const window = time === undefined ? undefined : parseDuration(time)
    if (window === undefined) return refuse(`must be a rate such as 300/1m, not ${quote(written)}`)
    if (window < 1000 || window > day) return refuse(`must count over 1s to 1d, not ${quote(written)}`)
    return { max: Number(count), window }
  },
  format: ({ max, window }) => `${max}/${formatDuration(window)}`,
}

/** When to refresh: once a share of the token's lifetime remains (0 to 1), or so many milliseconds before its end. */
export type RefreshBefore = { share: number } | { duration: number }

/** A percentage or a duration. */
export const refreshBefore: Kind<RefreshBefore> = {
  name: 'percentage or duration',
  json: { type: 'string', pattern: `^([1-9][0-9]?%|${durationPattern})$` },
  parse(written, { refuse }) {
    const percent = typeof written === 'string' ? /^([1-9]\d?)%$/.exec(written)?.[1] : undefined
    if (percent !== undefined) return { share: Number(percent) / 100 }
    const ms = typeof written === 'string' ? parseDuration(written) : undefined
    if (ms === undefined || ms > longest) {
      return refuse(`must be a percentage from 1% to 99% or a duration such as 30s, not ${quote(written)}`)
    }
    return { duration: ms }
  },
  format: (value) => ('share' in value ? `${Math.round(value.share * 100)}%` : formatDuration(value.duration)),
}

const withOff = (message: string): string => message.replace(/^must be (?=an? )/, 'must be off or ')

/** Lets a kind be switched off with `off` or `false`, which resolves to null. */
export function orOff<T>(kind: Kind<T>): Kind<T | null> {
  return {
    name: `${kind.name} or \`off\``,
    json: { anyOf: [{ enum: ['off', false] }, kind.json] },
    parse(written, input) {
      if (written === 'off' || written === false || written === 'false') return null
      return kind.parse(written, {
        ...input,
        refuse: (message, instead, at) => input.refuse(withOff(message), instead, at),
      })
    },
    format: (value) => (value === null ? 'off' : kind.format(value)),
  }
}
