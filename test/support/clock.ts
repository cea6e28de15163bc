import type { Test } from 'tap'

/** Lets `ms` pass until the test ends, on the wall clock and on the monotonic one; timers and sockets go on as they are. */
export const moveClock = (t: Test, ms: number): void => {
  setWallClock(t, ms)
  const before = performance.now.bind(performance)
  performance.now = () => before() + ms
  t.teardown(() => {
    performance.now = before
  })
}

/** Sets what `Date.now()` says ahead by `ms`, or back, until the test ends, as an operator or NTP sets a clock. */
export const setWallClock = (t: Test, ms: number): void => {
  const before = Date.now
  Date.now = () => before() + ms
  t.teardown(() => {
    Date.now = before
  })
}
