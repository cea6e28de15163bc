/** The last moment that a `Date` can hold, ms since the epoch (ECMA-262, section 21.4.1.1). */
const LAST_DATE = 8.64e15

/** A number from outside that is 0 or more, as such or in decimal digits; `null` for anything else. */
export function numberFrom(value: unknown): number | null {
  const number = typeof value === 'string' && /^\d{1,20}(?:\.\d{1,20})?$/.test(value) ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) && number >= 0 ? number : null
}

/** The same for a time, ms since the epoch: `null` also for what no `Date` can hold. */
export function timeFrom(value: unknown): number | null {
  const time = numberFrom(value)
  return time === null || time > LAST_DATE ? null : time
}

/** A time in ISO 8601, or `null` where there is none. */
export function isoDate(value: unknown): string | null {
  const time = timeFrom(value)
  return time === null ? null : new Date(time).toISOString()
}
