const milliseconds: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const bytes: Record<string, number> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 }

function parseAmount(text: string, units: Record<string, number>): number | undefined {
  const [, amount, unit] = /^(\d{1,15})([a-z]{1,2})$/.exec(text) ?? []
  const factor = unit === undefined || !Object.hasOwn(units, unit) ? undefined : units[unit]
  if (factor === undefined) return undefined
  const total = Number(amount) * factor
  return Number.isSafeInteger(total) ? total : undefined
}

function formatAmount(amount: number, units: Record<string, number>): string {
  let best = ''
  for (const [unit, factor] of Object.entries(units)) {
    if (best === '' || (amount !== 0 && amount % factor === 0)) best = `${amount / factor}${unit}`
  }
  return best
}

/** Milliseconds of a duration such as `500ms`, `30s`, `15m`, `10h` or `7d`; undefined for anything else. */
export const parseDuration = (text: string): number | undefined => parseAmount(text, milliseconds)

/** The shortest spelling that `parseDuration` reads back as the same number of milliseconds. */
export const formatDuration = (ms: number): string => (ms === 0 ? '0s' : formatAmount(ms, milliseconds))

/** Bytes of a size such as `512b`, `64kb`, `1mb` or `1gb` (1 kb is 1024 bytes); undefined for anything else. */
export const parseSize = (text: string): number | undefined => parseAmount(text, bytes)

/** The shortest spelling that `parseSize` reads back as the same number of bytes. */
export const formatSize = (count: number): string => formatAmount(count, bytes)
