const DURATION_UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZE_UNITS_BYTES: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 }

function parseAmount(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, amount, unit] = /^(\d{1,15})([a-z]{1,2})$/.exec(text) ?? []
  const factor = unit === undefined || !Object.hasOwn(units, unit) ? undefined : units[unit]
  if (factor === undefined) return undefined
  const total = Number(amount) * factor
  return Number.isSafeInteger(total) ? total : undefined
}

function formatAmount(amount: number, units: Readonly<Record<string, number>>): string {
  let best = ''
  for (const [unit, factor] of Object.entries(units)) {
    if (best === '' || (amount !== 0 && amount % factor === 0)) best = `${amount / factor}${unit}`
  }
  return best
}

/** Parses a duration such as `500ms`, `30s`, `15m`, `10h` or `7d` into ms; returns undefined for other text. */
export function parseDuration(text: string): number | undefined {
  return parseAmount(text, DURATION_UNITS_MS)
}

export function formatDuration(ms: number): string {
  return ms === 0 ? '0s' : formatAmount(ms, DURATION_UNITS_MS)
}

/**
 * Parses a size such as `512b`, `64kb`, `1mb` or `1gb` (1 kb is 1024 bytes) into bytes; returns undefined for other
 * text.
 */
export function parseSize(text: string): number | undefined {
  return parseAmount(text, SIZE_UNITS_BYTES)
}

export function formatSize(bytes: number): string {
  return formatAmount(bytes, SIZE_UNITS_BYTES)
}
