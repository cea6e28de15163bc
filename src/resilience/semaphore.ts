/** Bounds how many callers are inside at the same time; the others wait in line. */
export interface Semaphore {
  /** Waits for a permit for up to `timeoutMs`. Returns `false` if none became free. */
  acquire(timeoutMs: number): Promise<boolean>
  /** Returns a permit, which the caller that has waited longest gets. */
  release(): void
}

/** Creates a semaphore with this many permits. */
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
