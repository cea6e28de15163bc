import type { Test } from 'tap'

/** Moves what `Date.now()` says ahead by `ms` until the test ends; timers and sockets go on as they are. */
export const moveClock = (t: Test, ms: number): void => {
  const before = Date.now
  Date.now = () => before() + ms
  t.teardown(() => {
    Date.now = before
  })
}
