import type { Duplex } from 'node:stream'

/** The number of checks in a row without progress after which the peer counts as stopped. */
const CHECKS = 6

interface Seen {
  /** The number of bytes that had been sent at the last check. */
  readonly bytes: number
  readonly checks: number
}

/**
 * Calls `cut` for each connection or stream whose peer reads none of the waiting data for `limitMs`, or up to a sixth
 * longer. A slow peer that reads something from time to time stays connected. `taken` returns the number of bytes that
 * have been sent to the peer, or `null` if none are waiting. Returns the timer of the checks.
 */
export function watchIdleReaders<S extends object>(
  readers: Iterable<S>,
  limitMs: number,
  cut: (reader: S) => void,
  taken: (reader: S) => number | null,
): NodeJS.Timeout {
  let seen = new Map<S, Seen>()
  return setInterval(() => {
    const now = new Map<S, Seen>()
    for (const reader of readers) {
      const bytes = taken(reader)
      if (bytes === null) continue
      const before = seen.get(reader)
      // Counts checks, not time, because a process that was suspended has not seen what the peer has read.
      const checks = before?.bytes === bytes ? before.checks + 1 : 0
      if (checks < CHECKS) now.set(reader, { bytes, checks })
      else cut(reader)
    }
    seen = now
  }, limitMs / CHECKS).unref()
}

/**
 * Returns the number of bytes of a connection that the system has taken, or `null` if none are waiting. The public
 * counters of a socket count a whole write with its first byte, so they cannot distinguish a slow reader from one that
 * has stopped. A public `writeQueueSize` was proposed: https://github.com/nodejs/node/pull/44157
 */
export function takenBySystem(connection: Duplex): number | null {
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
