import type { Duplex } from 'node:stream'

/** How many checks in a row must find that nothing was read. */
const LOOKS = 6

/** What one end of a connection had taken at the last look, bytes, and for how many looks it has taken no more. */
interface Seen {
  readonly taken: number
  readonly looks: number
}

/**
 * Hands over each connection whose other end takes nothing of what waits for it for `limit` ms, at most a sixth longer.
 * A slow one that takes something now and then is let be, and so is one for which nothing waits. Looks until the timer is
 * cleared.
 */
export function watchIdleReaders<S extends Duplex>(
  connections: Iterable<S>,
  limit: number,
  cut: (connection: S) => void,
): NodeJS.Timeout {
  let seen = new Map<S, Seen>()
  return setInterval(() => {
    const now = new Map<S, Seen>()
    for (const connection of connections) {
      const taken = takenFrom(connection)
      if (taken === null) continue
      const before = seen.get(connection)
      // Looks are counted in place of time: a process that was stopped for a while has not seen what was taken.
      const looks = before?.taken === taken ? before.looks + 1 : 0
      if (looks < LOOKS) now.set(connection, { taken, looks })
      else cut(connection)
    }
    seen = now
  }, limit / LOOKS).unref()
}

/**
 * How many bytes the system has taken for the other end, `null` while none wait. What is written is counted as a whole
 * as soon as its first bytes are, so Node's own figures do not tell a slow reader from one that has stopped.
 */
function takenFrom(connection: Duplex): number | null {
  const handle: unknown = Reflect.get(connection, '_handle')
  // Under TLS it is the plain connection that counts.
  const plain = isObject(handle) ? (Reflect.get(handle, '_parent') ?? handle) : null
  if (!isObject(plain)) return null
  const [written, waiting] = [Reflect.get(plain, 'bytesWritten'), Reflect.get(plain, 'writeQueueSize')]
  if (typeof written !== 'number' || typeof waiting !== 'number' || waiting === 0) return null
  return written - waiting
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
