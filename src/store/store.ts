/** One session's record as the store sees it: nothing of it can be read without the browser's cookie. */
export interface StoredRecord {
  readonly sealed: Buffer
  /** Milliseconds since the epoch; in the clear, so that activity needs no sealing. */
  readonly seenAt: number
  readonly version: number
}

/**
 * Where sessions live. Every time to live is in ms, every record has one.
 * Each method rejects with a `Fault` of code `store_unavailable` when the store can't be reached.
 */
export interface Store {
  /** The record, or `null` when there is none (any more). */
  read(id: string): Promise<StoredRecord | null>
  create(id: string, record: StoredRecord, ttl: number): Promise<void>
  /** Replaces the record only while it exists with the version before; `false` when it does not. */
  replace(id: string, record: StoredRecord, ttl: number): Promise<boolean>
  /** Notes activity on a record that exists. */
  touch(id: string, seenAt: number, ttl: number): Promise<void>
  /** Removes the record; `false` when there was none. */
  remove(id: string): Promise<boolean>
  /** Claims a one-time value; `true` for the first who does within `ttl`. */
  once(value: string, ttl: number): Promise<boolean>
  /** Resolves when the store answers. */
  ping(): Promise<void>
  /** How many sessions there are, where the store can say so cheaply. */
  size(): number | null
  /** Calls back when a record has gone or changed by other means than this process's own calls. */
  onGone(listener: (id: string) => void): void
  close(): Promise<void>
}
