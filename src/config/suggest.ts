function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column)
  let beforeThat: number[] = []
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
      if (swapped) cost = Math.min(cost, (beforeThat[column - 2] ?? 0) + 1)
      current.push(cost)
    }
    beforeThat = previous
    previous = current
  }
  return previous[b.length] ?? 0
}

const plain = (word: string): string => word.replace(/[-_]/g, '').toLowerCase()

/** The known word that was probably meant: a few typing mistakes away, `_`, `-` and case apart; null when none is. */
export function suggest(word: string, known: readonly string[]): string | null {
  const written = plain(word)
  const limit = Math.max(1, Math.floor(written.length / 3))
  let best: string | null = null
  let least = limit + 1
  for (const candidate of known) {
    const mistakes = distance(written, plain(candidate))
    if (mistakes < least) {
      best = candidate
      least = mistakes
    }
  }
  return best
}
