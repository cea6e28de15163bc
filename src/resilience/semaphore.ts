/** Limits how many callers hold a permit at the same time. The others wait in order. */
export interface Semaphore {
  /** Waits up to `timeoutMs` for a permit. Returns `false` if none became free. */
  acquire(timeoutMs: number): Promise<boolean>
  /** Gives a permit back. The caller that has waited longest gets it. */
  release(): void
}

export function createSemaphore(permits: number): Semaphore {
  let free = permits
  const waiting = new Set<() => void>()

  return {
    acquire(timeoutMs) {
      if (free > 0) {
        free -= 1
        return Promise.resolve(true)
      }
      return new Promise((resolve) => {
        const admit = (): void => {
          clearTimeout(timer)
          resolve(true)
        }
        const timer = setTimeout(() => {
          waiting.delete(admit)
          resolve(false)
        }, timeoutMs)
        waiting.add(admit)
      })
    },
    release() {
      const [next] = waiting
      if (next === undefined) {
        free += 1
        return
      }
      waiting.delete(next)
      next()
    },
  }
}
