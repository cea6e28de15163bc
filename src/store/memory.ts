import { Keyv } from 'keyv'
import { LRUCache } from 'lru-cache'
import type { Store, StoredRecord } from './store.ts'

interface Entry { value: unknown, expires?: number }

const MAX_ONE_TIME_VALUES = 100_000

/** A Keyv over a map that holds at most `max` entries: the least recently used one goes first. */
function boundedKeyv<T>(max: number, onEvicted: (key: string) => void): { keyv: Keyv<T>, map: LRUCache<string, Entry> } {
  const map = new LRUCache<string, Entry>({
    max,
    dispose: (_value, key, reason) => { if (reason === 'evict') onEvicted(key) },
  })
  const keyv = new Keyv<T>({ store: map, useKeyPrefix: false })
  // Values stay what they are: serializing them would only cost time, nothing leaves this process.
  keyv.serialize = undefined
  keyv.deserialize = undefined
  return { keyv, map }
}

/** Sessions in this process's memory: gone with it, never more than `max`. */
export class MemoryStore implements Store {
  readonly #records: Keyv<StoredRecord>
  readonly #map: LRUCache<string, Entry>
  readonly #oneTime: Keyv<true>
  readonly #sweep: NodeJS.Timeout
  readonly #busy = new Map<string, Promise<unknown>>()
  #gone: (id: string) => void = () => {}

  /** `onEvicted` hears of each session that had to go because the store is full. */
  constructor(max: number, onEvicted: () => void) {
    const { keyv, map } = boundedKeyv<StoredRecord>(max, (id) => {
      onEvicted()
      this.#gone(id)
    })
    this.#records = keyv
    this.#map = map
    this.#oneTime = boundedKeyv<true>(MAX_ONE_TIME_VALUES, () => {}).keyv
    // Keyv drops what has expired only when somebody asks for it again; nobody asks for an abandoned session.
    this.#sweep = setInterval(() => this.#dropExpired(Date.now()), 60_000).unref()
  }

  async read(id: string): Promise<StoredRecord | null> {
    return (await this.#records.get<StoredRecord>(id)) ?? null
  }

  async create(id: string, record: StoredRecord, ttl: number): Promise<void> {
    await this.#records.set(id, record, ttl)
  }

  replace(id: string, record: StoredRecord, ttl: number): Promise<boolean> {
    return this.#alone(id, async () => {
      const current = await this.read(id)
      if (current === null || current.version !== record.version - 1) return false
      await this.#records.set(id, record, ttl)
      return true
    })
  }

  async touch(id: string, seenAt: number, ttl: number): Promise<void> {
    await this.#alone(id, async () => {
      const current = await this.read(id)
      if (current !== null && current.seenAt < seenAt) await this.#records.set(id, { ...current, seenAt }, ttl)
    })
  }

  remove(id: string): Promise<boolean> {
    return this.#alone(id, () => this.#records.delete(id))
  }

  once(value: string, ttl: number): Promise<boolean> {
    return this.#alone(value, async () => {
      if ((await this.#oneTime.get(value)) === true) return false
      await this.#oneTime.set(value, true, ttl)
      return true
    })
  }

  async ping(): Promise<void> {}

  size(): number {
    return this.#map.size
  }

  onGone(listener: (id: string) => void): void {
    this.#gone = listener
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep)
  }

  /** Reading and writing are two waits in Keyv: without this, a removal between them would be undone. */
  async #alone<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#busy.get(key) ?? Promise.resolve()
    const mine = before.then(work, work)
    this.#busy.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.#busy.get(key) === mine) this.#busy.delete(key)
    }
  }

  #dropExpired(now: number): void {
    for (const [id, entry] of this.#map.entries()) {
      if (entry.expires !== undefined && entry.expires <= now) this.#map.delete(id)
    }
  }
}
