import { performance } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'

/** The longest wait, ms, for a moment without new connections. */
const MOST = 3_000
/** How long, ms, such a moment may last: the shorter it is, the fewer clients connect after it. */
const MOMENT = 0.25

/**
 * Waits until the system has handed over the connections that it has taken for this process: to close a listener resets
 * them. `accepted` counts those that have been handed over, `pending` those not yet with a worker. The caller closes
 * the listener at once: the last check, a moment ago, found no new connection.
 */
export async function acceptLast(accepted: () => number, pending: () => number = () => 0): Promise<void> {
  const begun = performance.now()
  // Each round of the event loop looks at the listener once.
  for (let isQuiet = false; !isQuiet && performance.now() - begun < MOST;) {
    const [before, at] = [accepted(), performance.now()]
    await setImmediate()
    isQuiet = accepted() === before && pending() === 0 && performance.now() - at < MOMENT
  }
}
