import { performance } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'

/** The longest wait for a moment without new connections. */
const MAX_WAIT_MS = 3_000
/** The longest moment without connections. In a shorter moment, fewer clients connect before the listener closes. */
const MOMENT_MS = 0.25

/**
 * Waits until the system has handed over the connections that it has accepted, because closing the listener would reset
 * them. `accepted` returns the number of connections handed over, and `pending` the number that no worker has received.
 * The caller must then close the listener immediately.
 */
export async function acceptLast(accepted: () => number, pending: () => number = () => 0): Promise<void> {
  const begun = performance.now()
  // The event loop polls the listener once per iteration.
  for (let isQuiet = false; !isQuiet && performance.now() - begun < MAX_WAIT_MS;) {
    const [before, at] = [accepted(), performance.now()]
    await setImmediate()
    isQuiet = accepted() === before && pending() === 0 && performance.now() - at < MOMENT_MS
  }
}
