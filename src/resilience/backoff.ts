/**
 * Returns the pauses of an exponential backoff: for retry number `attempt` (1, 2, …) the pause in ms, twice the one
 * before it, from `firstMs` up to `mostMs`.
 */
export function exponentialBackoff(firstMs: number, mostMs: number): (attempt: number) => number {
  return (attempt) => Math.min(mostMs, firstMs * 2 ** (attempt - 1))
}
