import { setTimeout as sleep } from 'node:timers/promises'
import { exponentialBackoff } from '../resilience/backoff.ts'
import { withDeadline } from '../resilience/deadline.ts'

const retryPauseMs = exponentialBackoff(250, 2_000)

/** Retries writes that must survive an outage of the store. */
export interface RetryQueue {
  /** Retries `work` until it resolves or `forMs` have passed. Never rejects. */
  persist(work: () => Promise<void>, forMs: number): Promise<void>
  /** Waits up to `maxMs` until the queue is empty. Returns the number of pending writes. */
  settled(maxMs: number): Promise<number>
}

export function createRetryQueue(): RetryQueue {
  const pending = new Set<Promise<void>>()

  async function empty(): Promise<void> {
    while (pending.size > 0) await Promise.all(pending)
  }

  return {
    persist(work, forMs) {
      const write = keepTrying(work, forMs).finally(() => {
        pending.delete(write)
      })
      pending.add(write)
      return write
    },
    async settled(maxMs) {
      await withDeadline(empty(), maxMs, () => undefined)
      return pending.size
    },
  }
}

async function keepTrying(work: () => Promise<void>, forMs: number): Promise<void> {
  const until = performance.now() + forMs
  for (let attempt = 1; performance.now() < until; attempt += 1) {
    await sleep(retryPauseMs(attempt), undefined, { ref: false })
    try {
      await work()
      return
    } catch {
      // The store logs the start and the end of an outage.
    }
  }
}
