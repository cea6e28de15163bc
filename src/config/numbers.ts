/**
 * The latest time that a `Date` can represent, in ms since the epoch.
 * @see https://tc39.es/ecma262/#sec-time-values-and-time-range
 */
const MAX_DATE_MS = 8.64e15

/** Returns an untrusted number or string of decimal digits as a number of at least 0; otherwise `null`. */
export function numberFrom(value: unknown): number | null {
  const number = typeof value === 'string' && /^\d{1,20}(?:\.\d{1,20})?$/.test(value) ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) && number >= 0 ? number : null
}

/** Returns an untrusted value as a time in ms since the epoch that a `Date` can represent; otherwise `null`. */
export function timeFrom(value: unknown): number | null {
  const time = numberFrom(value)
  return time === null || time > MAX_DATE_MS ? null : time
}

/** Returns an untrusted time in ms since the epoch in ISO 8601; `null` when the value is not a valid time. */
export function isoDate(value: unknown): string | null {
  const time = timeFrom(value)
  return time === null ? null : new Date(time).toISOString()
}
