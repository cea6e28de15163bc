import { setTimeout as sleep } from 'node:timers/promises'

const PAUSE_MS = 500

/** Does what must not be lost because the store is away for a while. */
export interface Perseverance {
  /** Does `work` again and again until it does not reject, or until `until` (ms since the epoch). Never rejects. */
  persist(work: () => Promise<void>, until: number): void
  /** Resolves when nothing is left to do, at the latest after `most` ms. */
  settled(most: number): Promise<void>
}

/** Nothing to do yet. */
export function createPerseverance(): Perseverance {
  const underWay = new Set<Promise<void>>()

  return {
    persist(work, until) {
      const mine = keepTrying(work, until).finally(() => { underWay.delete(mine) })
      underWay.add(mine)
    },
    async settled(most) {
      await Promise.race([Promise.all(underWay), sleep(underWay.size === 0 ? 0 : most)])
    },
  }
}

async function keepTrying(work: () => Promise<void>, until: number): Promise<void> {
  while (Date.now() < until) {
    await sleep(PAUSE_MS, undefined, { ref: false })
    try {
      await work()
      return
    } catch {
      // Whoever began it has told why; the store tells when it is back.
    }
  }
}
