import { setTimeout as sleep } from 'node:timers/promises'

const PAUSE_FIRST_MS = 250
const PAUSE_MOST_MS = 2_000

/** Does what must not be lost because the store is away for a while. */
export interface RetryQueue {
  /** Does `work` again and again until it does not reject, for `most` ms at most. Never rejects. */
  persist(work: () => Promise<void>, most: number): Promise<void>
  /** Resolves when nothing is left to do, at the latest after `most` ms; tells how much is left. */
  settled(most: number): Promise<number>
}

/** Nothing to do yet. */
export function createRetryQueue(): RetryQueue {
  const underWay = new Set<Promise<void>>()

  return {
    persist(work, most) {
      const mine = keepTrying(work, most).finally(() => {
        underWay.delete(mine)
      })
      underWay.add(mine)
      return mine
    },
    async settled(most) {
      const given = new AbortController()
      // A wait that is over must not keep the process alive.
      const late = sleep(most, 'late', { signal: given.signal }).catch(() => 'late')
      let waiting = true
      while (waiting && underWay.size > 0) waiting = (await Promise.race([Promise.all(underWay), late])) !== 'late'
      given.abort()
      return underWay.size
    },
  }
}

async function keepTrying(work: () => Promise<void>, most: number): Promise<void> {
  const until = performance.now() + most
  for (let pause = PAUSE_FIRST_MS; performance.now() < until; pause = Math.min(pause * 2, PAUSE_MOST_MS)) {
    await sleep(pause, undefined, { ref: false })
    try {
      await work()
      return
    } catch {
      // Whoever began it has told why; the store tells when it is back.
    }
  }
}
