import type { Test } from 'tap'

/** Advances the wall clock and the monotonic clock by `ms` until the test ends; timers and sockets are unaffected. */
export const moveClock = (t: Test, ms: number): void => {
  setWallClock(t, ms)
  const before = performance.now.bind(performance)
  performance.now = () => before() + ms
  t.teardown(() => {
    performance.now = before
  })
}

/** Shifts `Date.now()` by `ms`, which may be negative, until the test ends, as if an operator or NTP had set the clock. */
export const setWallClock = (t: Test, ms: number): void => {
  const before = Date.now
  Date.now = () => before() + ms
  t.teardown(() => {
    Date.now = before
  })
}
