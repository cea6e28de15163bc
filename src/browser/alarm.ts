/** The clock on the wall is looked at this often, ms: a closed lid stops timers, not the time. */
const TICK = 10_000

/** Rings once, when it is time. */
export type Alarm = {
  /** In so many ms, in place of what was set before; `Infinity` for never. */
  readonly set: (ms: number) => void
  /** Looks at the clock now. */
  readonly look: () => void
}

/** An alarm that notices within ten seconds a sleep, or a clock that was set back; `beat` comes at each look. */
export const createAlarm = (ring: () => void, beat: () => void): Alarm => {
  let timer: ReturnType<typeof setTimeout> | undefined
  /** ms since the epoch */
  let setAt = 0
  let due = Infinity
  const sleep = (): void => {
    clearTimeout(timer)
    timer = setTimeout(look, Math.max(0, Math.min(TICK, due - Date.now())))
  }
  const look = (): void => {
    const now = Date.now()
    if (now >= due || now < setAt) {
      due = Infinity
      ring()
    }
    beat()
    sleep()
  }
  return {
    set: (ms) => {
      setAt = Date.now()
      due = setAt + ms
      sleep()
    },
    look,
  }
}
