import { createHash } from 'node:crypto'
import { Keyv } from 'keyv'
import { LRUCache } from 'lru-cache'
import {
  criteriaOf,
  type Criterion,
  type Locked,
  type Owner,
  type Replaced,
  type Store,
  type StoreListener,
  type StoredRecord,
} from './store.ts'

interface StoredSession {
  readonly record: StoredRecord
  readonly owner: Owner
}

const MAX_ONE_TIME_VALUES = 100_000
const SWEEP_EVERY_MS = 60_000

export class MemoryStore implements Store {
  readonly #sessions: Keyv<StoredSession>
  readonly #oneTime: Keyv<true>
  readonly #locks: Keyv<string>
  readonly #notes: Keyv<string>
  /** Session ids by issuer and sub, and by issuer and sid, in the order of creation. */
  readonly #index = new Map<string, Set<string>>()
  readonly #owners = new Map<string, Owner>()
  readonly #sweep: NodeJS.Timeout
  readonly #count: () => number
  readonly #pending = new Map<string, Promise<unknown>>()
  #listener: StoreListener | null = null

  constructor(max: number, onEvicted: () => void = () => {}) {
    const sessions = boundedKeyv<StoredSession>(max, (id, full) => {
      this.#unlist(id)
      if (!full) return
      onEvicted()
      this.#listener?.evicted(id)
    })
    const oneTime = boundedKeyv<true>(MAX_ONE_TIME_VALUES)
    const locks = boundedKeyv<string>(max)
    const notes = boundedKeyv<string>(MAX_ONE_TIME_VALUES)
    this.#sessions = sessions.keyv
    this.#oneTime = oneTime.keyv
    this.#locks = locks.keyv
    this.#notes = notes.keyv
    this.#count = sessions.size
    const all: readonly Pick<Bounded<unknown>, 'dropExpired'>[] = [sessions, oneTime, locks, notes]
    // Keyv drops an expired entry only when it is read, and an abandoned session is never read again.
    this.#sweep = setInterval(() => {
      for (const one of all) one.dropExpired(Date.now())
    }, SWEEP_EVERY_MS).unref()
  }

  async read(id: string): Promise<StoredRecord | null> {
    return (await this.#sessions.get<StoredSession>(id))?.record ?? null
  }

  create(id: string, record: StoredRecord, owner: Owner, ttl: number): Promise<void> {
    return this.#exclusive(id, async () => {
      await this.#sessions.set(id, { record, owner }, ttl)
      this.#list(id, owner)
    })
  }

  relist(id: string, owner: Owner): Promise<void> {
    return this.#exclusive(id, async () => {
      if ((await this.#sessions.get(id)) === undefined) return
      this.#unlist(id)
      this.#list(id, owner)
    })
  }

  replace(id: string, record: StoredRecord, ttl: number): Promise<Replaced> {
    return this.#exclusive(id, async () => {
      const stored = await this.#sessions.get<StoredSession>(id)
      if (stored === undefined) return 'gone'
      if (stored.record.version >= record.version) return 'stale'
      const { createdAt, seenAt } = stored.record
      await this.#sessions.set(id, { ...stored, record: { ...record, createdAt, seenAt } }, ttl)
      return 'replaced'
    })
  }

  touch(id: string, seenAt: number, ttl: number): Promise<void> {
    return this.#exclusive(id, async () => {
      const stored = await this.#sessions.get<StoredSession>(id)
      if (stored === undefined || stored.record.seenAt >= seenAt) return
      await this.#sessions.set(
        id,
        { ...stored, record: { ...stored.record, seenAt } },
        Math.max(1, Math.min(ttl, stored.record.endsAt - seenAt)),
      )
    })
  }

  remove(id: string): Promise<boolean> {
    return this.#exclusive(id, () => this.#sessions.delete(id))
  }

  async find(criterion: Criterion): Promise<string[]> {
    const ids = [...(this.#index.get(indexKey(criterion)) ?? [])]
    const living = await Promise.all(ids.map(async (id) => (await this.read(id)) !== null))
    return ids.filter((_id, i) => living[i])
  }

  claimOnce(value: string, ttl: number): Promise<boolean> {
    return this.#exclusive(`once ${value}`, async () => {
      if ((await this.#oneTime.get(value)) === true) return false
      await this.#oneTime.set(value, true, ttl)
      return true
    })
  }

  async setNote(name: string, note: string, ttl: number): Promise<void> {
    await this.#notes.set(digest(name), note, ttl)
  }

  async getNote(name: string): Promise<string | null> {
    return (await this.#notes.get(digest(name))) ?? null
  }

  lock(id: string, holder: string, ttl: number): Promise<Locked> {
    return this.#exclusive(`lock ${id}`, async () => {
      const present = await this.#locks.get(id)
      if (present !== undefined && present !== holder) return { acquired: false, abandoned: false }
      await this.#locks.set(id, holder, ttl)
      return { acquired: true, abandoned: false }
    })
  }

  unlock(id: string, holder: string): Promise<void> {
    return this.#exclusive(`lock ${id}`, async () => {
      if ((await this.#locks.get(id)) === holder) await this.#locks.delete(id)
    })
  }

  count(): null {
    return null
  }

  async ping(): Promise<void> {}

  size(): number {
    return this.#count()
  }

  listen(listener: StoreListener): void {
    this.#listener = listener
  }

  reconnect(): void {}

  /** Returns infinity, because no other process writes to this store. */
  assuredUntil(): number {
    return Number.POSITIVE_INFINITY
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep)
  }

  /**
   * Runs the operations on a key one after the other. Keyv reads and writes asynchronously, so a write could otherwise
   * undo a removal.
   */
  async #exclusive<T>(key: string, work: () => Promise<T>): Promise<T> {
    const previous = this.#pending.get(key) ?? Promise.resolve()
    const operation = previous.then(work, work)
    this.#pending.set(key, operation)
    try {
      return await operation
    } finally {
      if (this.#pending.get(key) === operation) this.#pending.delete(key)
    }
  }

  #list(id: string, owner: Owner): void {
    this.#owners.set(id, owner)
    for (const key of criteriaOf(owner).map(indexKey)) this.#index.set(key, (this.#index.get(key) ?? new Set()).add(id))
  }

  #unlist(id: string): void {
    const owner = this.#owners.get(id)
    this.#owners.delete(id)
    for (const key of owner === undefined ? [] : criteriaOf(owner).map(indexKey)) {
      const ids = this.#index.get(key)
      ids?.delete(id)
      if (ids?.size === 0) this.#index.delete(key)
    }
  }
}

/** Hashes a name to a fixed length, because a client may choose a long name. */
function digest(name: string): string {
  return createHash('sha256').update(name).digest('base64url')
}

function indexKey(criterion: Criterion): string {
  return 'sid' in criterion
    ? JSON.stringify(['sid', criterion.issuer, criterion.sid])
    : JSON.stringify(['sub', criterion.issuer, criterion.subject])
}

interface Entry {
  value: unknown
  expires?: number
}

export interface Bounded<T> {
  readonly keyv: Keyv<T>
  /** Drops the entries that have expired at `now` (ms since the epoch). */
  readonly dropExpired: (now: number) => void
  /** Returns the number of entries, including expired ones. */
  readonly size: () => number
}

/**
 * Creates a Keyv with up to `max` entries, from which the least recently used one is evicted. Calls `onDropped` for
 * each dropped entry. `full` is `true` if the entry was evicted.
 */
export function boundedKeyv<T>(max: number, onDropped: (key: string, full: boolean) => void = () => {}): Bounded<T> {
  const map = new LRUCache<string, Entry>({
    // With the option `max`, the library allocates memory for all entries in advance, which slows the start of the
    // process. With `maxSize`, the library allocates nothing in advance.
    maxSize: max,
    sizeCalculation: () => 1,
    dispose: (_entry, key, reason) => {
      if (reason !== 'set') onDropped(key, reason === 'evict')
    },
  })
  // This adapter is needed because Keyv passes the time to live where the LRU cache expects options, and hides the
  // resulting error.
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
  // Values that stay in the process need no serialization.
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
