/**
 * Creates a limiter: it returns `true` for the first `most` calls within `windowMs`, `false` for the others. A window
 * begins with the first call after the one before has ended. `clock` returns ms and never jumps.
 */
export function createLimiter(
  most: number,
  windowMs: number,
  clock: () => number = () => performance.now(),
): () => boolean {
  let since = Number.NEGATIVE_INFINITY
  let count = 0

  return () => {
    const now = clock()
    if (now - since >= windowMs) [since, count] = [now, 0]
    count += 1
    return count <= most
  }
}
