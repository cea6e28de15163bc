import { setTimeout as sleep } from 'node:timers/promises'
import { exponentialBackoff } from '../resilience/backoff.ts'
import { withDeadline } from '../resilience/deadline.ts'

const retryPauseMs = exponentialBackoff(250, 2_000)

/** Repeats writes that an outage of the store must not lose. */
export interface RetryQueue {
  /** Calls `work` until it resolves, for up to `mostMs`. Never rejects. */
  persist(work: () => Promise<void>, mostMs: number): Promise<void>
  /** Waits until the queue is empty, for up to `mostMs`. Returns the number of writes left. */
  settled(mostMs: number): Promise<number>
}

/** Creates an empty queue. */
export function createRetryQueue(): RetryQueue {
  const underWay = new Set<Promise<void>>()

  async function empty(): Promise<void> {
    while (underWay.size > 0) await Promise.all(underWay)
  }

  return {
    persist(work, mostMs) {
      const mine = keepTrying(work, mostMs).finally(() => {
        underWay.delete(mine)
      })
      underWay.add(mine)
      return mine
    },
    async settled(mostMs) {
      await withDeadline(empty(), mostMs, () => undefined)
      return underWay.size
    },
  }
}

async function keepTrying(work: () => Promise<void>, mostMs: number): Promise<void> {
  const until = performance.now() + mostMs
  for (let attempt = 1; performance.now() < until; attempt += 1) {
    await sleep(retryPauseMs(attempt), undefined, { ref: false })
    try {
      await work()
      return
    } catch {
      // The caller has logged the outage, and the store logs its end.
    }
  }
}
