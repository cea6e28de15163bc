import type { Duplex } from 'node:stream'

/** How many checks in a row must find that the peer read nothing. */
const CHECKS = 6

interface Seen {
  /** Bytes that the system had taken at the last check. */
  readonly taken: number
  /** How many checks ago that number last changed. */
  readonly checks: number
}

/**
 * Calls `cut` for each connection whose peer reads none of the data that waits for it for `limitMs`, or up to a sixth
 * longer. A slow peer that reads something now and then stays connected. Returns the timer that checks.
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
      // A process that was stopped for a while has not seen what was read meanwhile, so checks count, and not the time.
      const checks = before?.taken === taken ? before.checks + 1 : 0
      if (checks < CHECKS) now.set(connection, { taken, checks })
      else cut(connection)
    }
    seen = now
  }, limitMs / CHECKS).unref()
}

/**
 * Returns how many bytes the system has taken for the peer, or `null` while none wait. A socket's public figures count a
 * write as a whole with its first byte, and can't tell a slow reader from one that has stopped. A public
 * `writeQueueSize` was proposed: https://github.com/nodejs/node/pull/44157
 */
function takenFrom(connection: Duplex): number | null {
  const handle: unknown = Reflect.get(connection, '_handle')
  // Under TLS the plain connection counts.
  const plain = isObject(handle) ? (Reflect.get(handle, '_parent') ?? handle) : null
  if (!isObject(plain)) return null
  const [written, waiting] = [Reflect.get(plain, 'bytesWritten'), Reflect.get(plain, 'writeQueueSize')]
  if (typeof written !== 'number' || typeof waiting !== 'number' || waiting === 0) return null
  return written - waiting
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
