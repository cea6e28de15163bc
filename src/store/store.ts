/** A session's record as the store sees it. Only the sealed part says anything about the user. */
export interface StoredRecord {
  /** Opens only with the browser's cookie. */
  readonly sealed: Buffer
  /** Counts the writes, from 1. */
  readonly version: number
  /** All times are ms since the epoch. */
  readonly createdAt: number
  readonly endsAt: number
  /** Not sealed, so that recording activity needs no key. */
  readonly seenAt: number
}

/** Identifies whose session it is, for logout by the provider and for administration. */
export interface Owner {
  readonly issuer: string
  readonly subject: string
  readonly sid: string | null
}

/** Selects sessions by user or by provider session. */
export type Criterion =
  { readonly issuer: string; readonly subject: string } | { readonly issuer: string; readonly sid: string }

/** The outcome of a conditional write. */
export type Replaced =
  | 'replaced'
  /** The store has this version or a newer one. */
  | 'stale'
  /** The session has ended. */
  | 'gone'

/** The outcome of an attempt to lock a session for a refresh. */
export interface Locked {
  readonly acquired: boolean
  /** The previous holder neither saved a result nor released the lock. */
  readonly abandoned: boolean
}

/** The count of a rate limit's window. */
export interface Count {
  readonly current: number
  /** Time until the window ends, in ms. */
  readonly ttl: number
}

/** Receives the store's notices. */
export interface StoreListener {
  /** Another process has written this version. */
  readonly changed: (id: string, version: number) => void
  /** Another process has ended the session. */
  readonly gone: (id: string) => void
  /** The store has evicted the session for lack of room. */
  readonly evicted: (id: string) => void
  /**
   * The store is back after an outage that began at this time (`performance.now`), perhaps without the last writes
   * before that.
   */
  readonly restored: (troubledSince: number) => void
}

/**
 * Stores sessions, locks, notes and counts. Every entry has a time to live, in ms. Every method rejects with
 * `store_unavailable` if the store can't be reached.
 */
export interface Store {
  /** Returns a session's record, or `null`. */
  read(id: string): Promise<StoredRecord | null>
  create(id: string, record: StoredRecord, owner: Owner, ttl: number): Promise<void>
  /** Replaces an older version of the record, and keeps the recorded activity. */
  replace(id: string, record: StoredRecord, ttl: number): Promise<Replaced>
  /** Makes a session findable by this owner. */
  relist(id: string, owner: Owner): Promise<void>
  /** Records activity on an existing record, which never outlives `endsAt`. */
  touch(id: string, seenAt: number, ttl: number): Promise<void>
  /** Removes a record. Returns `false` if there was none. */
  remove(id: string): Promise<boolean>
  /** Returns the ids of the matching sessions, oldest first. */
  find(criterion: Criterion): Promise<string[]>
  /** Claims a one-time value. Returns `true` for the first claim within `ttl`. */
  claimOnce(value: string, ttl: number): Promise<boolean>
  /** Writes a note. The store hides its name, which may identify a user. */
  setNote(name: string, note: string, ttl: number): Promise<void>
  /** Returns the note of this name, or `null`. */
  getNote(name: string): Promise<string | null>
  /** Locks a session for `ttl`. The holder prolongs the lock with the same call. */
  lock(id: string, holder: string, ttl: number): Promise<Locked>
  /** Releases the lock if `holder` still holds it. */
  unlock(id: string, holder: string): Promise<void>
  /**
   * Adds one to a count. The store hides its name, which may identify a user. Returns `null` if this process does not
   * share its counts with others.
   */
  count(name: string, window: number): Promise<Count> | null
  /** Resolves when the store answers. */
  ping(): Promise<void>
  /** Returns the number of sessions, or `null` if the store is shared. */
  size(): number | null
  listen(listener: StoreListener): void
  /** Opens new connections with changed settings. Commands under way finish on the old ones. */
  reconnect(): void
  /**
   * Returns until when a record that was read at `readAt` is known to be current, because a notice would have reported
   * every change. That is about now while notices arrive, and earlier otherwise. Times are ms of `performance.now`.
   */
  assuredUntil(readAt: number): number
  close(): Promise<void>
}
