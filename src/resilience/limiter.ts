/**
 * Creates a limiter that returns `true` for the first `max` calls within `windowMs` and `false` for the others. A window
 * begins with the first call after the previous window has ended. `clock` returns ms and is monotonic.
 */
export function createLimiter(
  max: number,
  windowMs: number,
  clock: () => number = () => performance.now(),
): () => boolean {
  let windowStart = Number.NEGATIVE_INFINITY
  let count = 0

  return () => {
    const now = clock()
    if (now - windowStart >= windowMs) [windowStart, count] = [now, 0]
    count += 1
    return count <= max
  }
}
