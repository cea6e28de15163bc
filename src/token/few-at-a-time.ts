/** Lets a few do something at a time; the others wait in line. */
export interface FewAtATime {
  /** Waits for a place, for `patience` ms at most; `false` where none became free. */
  enter(patience: number): Promise<boolean>
  /** Gives the place back. */
  leave(): void
}

/** Has room for `most`. */
export function fewAtATime(most: number): FewAtATime {
  let inside = 0
  const waiting = new Set<() => void>()

  return {
    enter(patience) {
      if (inside < most) {
        inside += 1
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
        }, patience)
        waiting.add(admit)
      })
    },
    leave() {
      const [next] = waiting
      if (next === undefined) {
        inside -= 1
        return
      }
      waiting.delete(next)
      next()
    },
  }
}
