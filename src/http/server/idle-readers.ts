import type { Duplex } from 'node:stream'

/** The number of checks in a row without progress after which the peer counts as stopped. */
const CHECKS = 6

interface Seen {
  /** The number of bytes that the system had taken at the last check. */
  readonly taken: number
  readonly checks: number
}

/**
 * Calls `cut` for each connection whose peer reads none of the waiting data for `limitMs`, or up to a sixth longer. A
 * slow peer that reads something from time to time stays connected. Returns the timer of the checks.
 */
export function watchIdleReaders<S extends Duplex>(
  connections: Iterable<S>,
  limitMs: number,
  cut: (connection: S) => void,
): NodeJS.Timeout {
  let seen = new Map<S, Seen>()
  return setInterval(() => {
    const now = new Map<S, Seen>()
    for (const connection of connections) {
      const taken = takenFrom(connection)
      if (taken === null) continue
      const before = seen.get(connection)
      // Counts checks, not time, because a process that was suspended has not seen what the peer has read.
      const checks = before?.taken === taken ? before.checks + 1 : 0
      if (checks < CHECKS) now.set(connection, { taken, checks })
      else cut(connection)
    }
    seen = now
  }, limitMs / CHECKS).unref()
}

/**
 * Returns the number of bytes that the system has taken for the peer, or `null` if none are waiting. The public
 * counters of a socket count a whole write with its first byte, so they cannot distinguish a slow reader from one that
 * has stopped. A public `writeQueueSize` was proposed: https://github.com/nodejs/node/pull/44157
 */
function takenFrom(connection: Duplex): number | null {
  const handle: unknown = Reflect.get(connection, '_handle')
  // With TLS, uses the underlying plain connection.
  const plain = isObject(handle) ? (Reflect.get(handle, '_parent') ?? handle) : null
  if (!isObject(plain)) return null
  const [written, waiting] = [Reflect.get(plain, 'bytesWritten'), Reflect.get(plain, 'writeQueueSize')]
  if (typeof written !== 'number' || typeof waiting !== 'number' || waiting === 0) return null
  return written - waiting
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
