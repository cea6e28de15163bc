/**
 * Returns a function from the number of a retry (1, 2, …) to the pause before it, in ms. The pause doubles with each
 * retry, from `firstMs` to at most `maxMs`.
 */
export function exponentialBackoff(firstMs: number, maxMs: number): (attempt: number) => number {
  return (attempt) => Math.min(maxMs, firstMs * 2 ** (attempt - 1))
}
