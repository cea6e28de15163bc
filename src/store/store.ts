/** A session's record in the store. Only the sealed part contains data about the user. */
export interface StoredRecord {
  /** The sealed session. Only the key in the browser's cookie opens it. */
  readonly sealed: Buffer
  readonly version: number
  /** All times are in ms since the epoch. */
  readonly createdAt: number
  readonly endsAt: number
  /** Not sealed, so that activity can be recorded without the key. */
  readonly seenAt: number
}

export interface Owner {
  readonly issuer: string
  /** A further issuer under which the session is listed: that of a provider for all tenants. */
  readonly issuerTemplate?: string
  readonly subject: string
  readonly sid: string | null
}

export type Criterion =
  { readonly issuer: string; readonly subject: string } | { readonly issuer: string; readonly sid: string }

/** Returns the criteria by which a session of this owner can be found. */
export function criteriaOf({ issuer, issuerTemplate, subject, sid }: Owner): Criterion[] {
  const issuers = issuerTemplate === undefined ? [issuer] : [issuer, issuerTemplate]
  return issuers.flatMap((one): Criterion[] => [
    { issuer: one, subject },
    ...(sid === null ? [] : [{ issuer: one, sid }]),
  ])
}

export type Replaced =
  | 'replaced'
  /** The store has this version or a newer one. */
  | 'stale'
  | 'gone'

export interface Locked {
  readonly acquired: boolean
  /** The previous holder neither saved a result nor released the lock. */
  readonly abandoned: boolean
}

export interface Count {
  readonly current: number
  /** Time until the window ends, in ms. */
  readonly ttl: number
}

export interface StoreListener {
  /** Another process has written this version. */
  readonly changed: (id: string, version: number) => void
  /** Another process has ended the session. */
  readonly gone: (id: string) => void
  readonly evicted: (id: string) => void
  /**
   * The store is back after an outage that began at `outageStart` (`performance.now`). It may have lost the last writes
   * before the outage.
   */
  readonly restored: (outageStart: number) => void
}

/**
 * Stores sessions, locks, notes and counts. Each entry has a time to live in ms. Every method rejects with
 * `store_unavailable` if the store cannot be reached.
 */
export interface Store {
  read(id: string): Promise<StoredRecord | null>
  create(id: string, record: StoredRecord, owner: Owner, ttl: number): Promise<void>
  /** Replaces an older version of the record, but keeps the recorded activity. */
  replace(id: string, record: StoredRecord, ttl: number): Promise<Replaced>
  /** Lists a session under a changed owner, so that `find` returns it. */
  relist(id: string, owner: Owner): Promise<void>
  /** Records activity and extends the record's time to live, at most until its `endsAt`. Does nothing without a record. */
  touch(id: string, seenAt: number, ttl: number): Promise<void>
  /** Removes a record. Returns `false` if it does not exist. */
  remove(id: string): Promise<boolean>
  /** Returns the ids of the matching sessions, oldest first. */
  find(criterion: Criterion): Promise<string[]>
  /** Claims a one-time value. Returns `true` for the first claim within `ttl`. */
  claimOnce(value: string, ttl: number): Promise<boolean>
  /**
   * Writes a note: a short named text that expires after `ttl` ms, such as the reason why a session ended. The store
   * hides `name`, because it may identify a user.
   */
  setNote(name: string, note: string, ttl: number): Promise<void>
  getNote(name: string): Promise<string | null>
  /** Locks a session for `ttl`. The holder extends the lock with the same call. */
  lock(id: string, holder: string, ttl: number): Promise<Locked>
  /** Releases the lock if `holder` still has it. */
  unlock(id: string, holder: string): Promise<void>
  /**
   * Increments a count. The store hides `name`, because it may identify a user. Returns `null` if the store does not
   * share counts between processes.
   */
  count(name: string, window: number): Promise<Count> | null
  ping(): Promise<void>
  /** Returns the number of sessions, or `null` if the store is shared. */
  size(): number | null
  listen(listener: StoreListener): void
  /** Opens new connections with changed settings. Pending commands finish on the old ones. */
  reconnect(): void
  /**
   * Returns the time up to which a record that was read at `readAt` is known to be current, because a notice would have
   * reported a change. The returned time is a moment ago while notices are complete, and earlier otherwise. Times are
   * in ms of `performance.now`.
   */
  assuredUntil(readAt: number): number
  close(): Promise<void>
}
