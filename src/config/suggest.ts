/** Returns the edit distance of two words, counting swapped neighbors as one edit (optimal string alignment). */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  let beforePrevious: number[] = []
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (same ? 0 : 1),
      )
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) cost = Math.min(cost, (beforePrevious[column - 2] ?? 0) + 1)
      current.push(cost)
    }
    beforePrevious = previous
    previous = current
  }
  return previous[b.length] ?? 0
}

/** Returns a word without `-`, `_` and capital letters. */
export function normalize(word: string): string {
  return word.replace(/[-_]/g, '').toLowerCase()
}

/**
 * Returns the known word closest to a misspelled one, ignoring case, `_` and `-`; null when none is close enough: at
 * most `limit` edits, and no more than one edit for every three characters.
 */
export function suggest(word: string, known: readonly string[], limit = Number.POSITIVE_INFINITY): string | null {
  const normalized = normalize(word)
  const maxEdits = Math.min(limit, Math.max(1, Math.floor(normalized.length / 3)))
  let best: string | null = null
  let least = maxEdits + 1
  for (const candidate of known) {
    const edits = distance(normalized, normalize(candidate))
    if (edits < least) {
      best = candidate
      least = edits
    }
  }
  return best
}
