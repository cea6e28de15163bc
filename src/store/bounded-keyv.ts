import { Keyv } from 'keyv'
import { LRUCache } from 'lru-cache'

interface Entry {
  value: unknown
  expires?: number
}

/** A Keyv that does not grow without end. */
export interface Bounded<T> {
  readonly keyv: Keyv<T>
  /** Drops what has expired at `now` (ms since the epoch); Keyv does that only when somebody asks for it. */
  readonly dropExpired: (now: number) => void
  /** How many entries there are, expired ones included. */
  readonly size: () => number
}

/**
 * A Keyv that holds at most `max` entries: the least recently used one goes first. `onDropped` hears of each that goes,
 * `full` tells why.
 */
export function boundedKeyv<T>(max: number, onDropped: (key: string, full: boolean) => void = () => {}): Bounded<T> {
  const map = new LRUCache<string, Entry>({
    // By size, each entry being 1: told a `max`, the library makes room for all of them at once, which a start waits
    // for.
    maxSize: max,
    sizeCalculation: () => 1,
    dispose: (_entry, key, reason) => {
      if (reason !== 'set') onDropped(key, reason === 'evict')
    },
  })
  // Keyv hands over a time to live where the map takes options, and would keep quiet about the error.
  const store = {
    get: (key: string) => map.get(key),
    set: (key: string, entry: Entry) => {
      map.set(key, entry)
    },
    delete: (key: string) => map.delete(key),
    clear: () => {
      map.clear()
    },
  }
  const keyv = new Keyv<T>({ store, useKeyPrefix: false, throwOnErrors: true })
  // Values stay what they are: serializing them would only cost time, nothing leaves this process.
  keyv.serialize = undefined
  keyv.deserialize = undefined
  return {
    keyv,
    dropExpired(now) {
      for (const [key, { expires }] of map.entries()) if (expires !== undefined && expires <= now) map.delete(key)
    },
    size: () => map.size,
  }
}
