/** One session's record as the store sees it: what is not sealed tells nothing about the user. */
export interface StoredRecord {
  /** Can be opened with the browser's cookie only. */
  readonly sealed: Buffer
  /** Counts the writes, from 1. */
  readonly version: number
  /** All times are ms since the epoch. */
  readonly createdAt: number
  readonly endsAt: number
  /** In the clear, so that activity needs no sealing. */
  readonly seenAt: number
}

/** Whose session it is, for logout by the provider and for administration. */
export interface Owner {
  readonly issuer: string
  readonly subject: string
  readonly sid: string | null
}

/** By what sessions can be found. */
export type Criterion =
  { readonly issuer: string; readonly subject: string } | { readonly issuer: string; readonly sid: string }

/** What became of a conditional write. */
export type Replaced =
  | 'replaced'
  /** Another write came first: this version or a later one is there. */
  | 'stale'
  /** The session has ended. */
  | 'gone'

/** A lock for one session's refresh. */
export interface Locked {
  readonly acquired: boolean
  /** Whoever held it last neither saved nor gave it back: its result is lost. */
  readonly abandoned: boolean
}

/** How often somebody has asked within a window of time. */
export interface Count {
  readonly current: number
  /** ms until the window ends. */
  readonly ttl: number
}

/** What a store tells of its own accord. */
export interface StoreListener {
  /** Another process has written this version. */
  readonly changed: (id: string, version: number) => void
  /** Another process has ended the session. */
  readonly gone: (id: string) => void
  /** The store had no room left for it. */
  readonly evicted: (id: string) => void
  /** The store is back after trouble that began then (ms of `performance.now`), perhaps as it was a moment before that. */
  readonly restored: (troubledSince: number) => void
}

/**
 * Where sessions live. Every time to live is in ms, everything that is written has one.
 * Each method rejects with a `Fault` of code `store_unavailable` when the store can't be reached.
 */
export interface Store {
  /** The record, or `null` when there is none (any more). */
  read(id: string): Promise<StoredRecord | null>
  create(id: string, record: StoredRecord, owner: Owner, ttl: number): Promise<void>
  /** Writes the record only over an older version; what is noted about activity stays. */
  replace(id: string, record: StoredRecord, ttl: number): Promise<Replaced>
  /** Lists a session under what its provider calls it from now on. */
  relist(id: string, owner: Owner): Promise<void>
  /** Notes activity on a record that exists; it never lives past its end. */
  touch(id: string, seenAt: number, ttl: number): Promise<void>
  /** Removes the record; `false` when there was none. */
  remove(id: string): Promise<boolean>
  /** The ids of living sessions in the order in which they were created. */
  find(criterion: Criterion): Promise<string[]>
  /** Claims a one-time value; `true` for the first who does within `ttl`. */
  once(value: string, ttl: number): Promise<boolean>
  /** Leaves a note under a name that may tell something about a user. */
  mark(name: string, note: string, ttl: number): Promise<void>
  /** The note, or `null`. */
  marked(name: string): Promise<string | null>
  /** Takes a session's lock for `ttl` at most; the holder prolongs it with the same call. */
  lock(id: string, holder: string, ttl: number): Promise<Locked>
  /** Gives it back; does nothing when it is another's by now. */
  unlock(id: string, holder: string): Promise<void>
  /**
   * Counts one more under a name that may tell something about a user; `null` where no other process counts with this
   * one.
   */
  count(name: string, window: number): Promise<Count> | null
  /** Resolves when the store answers. */
  ping(): Promise<void>
  /** How many sessions there are, where the store can say so cheaply. */
  size(): number | null
  listen(listener: StoreListener): void
  /** Makes its connections anew, where it has any: how that is done has changed. What is under way is finished. */
  reconnect(): void
  /**
   * Until when (ms of `performance.now`) what was read at `readAt` is known to be complete, because every change since
   * then would have been told: about now while the notifications arrive, earlier when they don't.
   */
  assuredUntil(readAt: number): number
  close(): Promise<void>
}
