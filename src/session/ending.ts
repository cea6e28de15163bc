import { LRUCache } from 'lru-cache'
import { causes } from '../errors.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { SessionCache } from './cache.ts'
import type { RetryQueue } from './retry.ts'
import { endedBecause, ownerOf, type EndReason, type Session, type SessionSettings } from './session.ts'

/** Writes this recent may be lost when a store fails over. */
const FAILOVER_LOSS_MS = 5_000
const MAX_LAST_ENDS = 1_000
const MAX_FOLLOWED = 20_000
/** How long the removal of a record that may reappear in the store is repeated. */
const REMOVE_FOR_MS = 600_000
/** How long other processes may still work with a session that a login has replaced. */
const FOLLOWED_FOR_MS = 600_000
/** How much later than the missing record the notice of a session's end may arrive. */
const NOTICE_WITHIN_MS = 1_000

/** What the files of this room share. */
export interface SessionServices {
  readonly store: Store
  readonly cache: SessionCache
  readonly retryQueue: RetryQueue
  /** The current settings: a reload of the configuration replaces their values. */
  readonly settings: SessionSettings
  readonly log: Log
  readonly metrics: Metrics
}

/** Ends sessions: at once in this process, in the store as soon as it is reachable, and each session only once. */
export interface Ending {
  /** See `Sessions.end`. */
  end(session: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void>
  /** See `Sessions.endById`. */
  endById(id: string, reason: EndReason): Promise<boolean>
  /** Returns the session if it is alive at `now`. Ends an expired one in the background and returns `null`. */
  endIfOver(session: Session | null, now: number): Session | null
  /** Ends a user's oldest sessions beyond `most`. Never rejects: a login succeeds even if the store can't count. */
  endOldest(session: Session, most: number): Promise<void>
  /** Records that the store has no record of a session. */
  noteMissing(id: string): void
  /** Records that another process has ended a session and counted its end. */
  noteEndedElsewhere(id: string): void
  /** Records that the store has evicted a session. */
  noteEvicted(id: string): void
  /** Removes a record that may have been created, and whose ticket no browser has. */
  discard(id: string): void
  /** Repeats the ends that the store may have lost in an outage since `troubledSince`, in ms of `performance.now`. */
  repeatSince(troubledSince: number): void
  /** See `Sessions.wasFollowed`. */
  wasFollowed(id: string): boolean
  /** See `Sessions.wasRenewed`. */
  wasRenewed(id: string): Promise<boolean>
  /** See `Sessions.onEnd`. */
  onEnd(listener: (id: string) => void): void
}

/** Creates the part that ends sessions. */
export function createEnding({ store, cache, retryQueue, settings, log, metrics }: SessionServices): Ending {
  const listeners: ((id: string) => void)[] = []
  /** When this process ended sessions, in ms of `performance.now`. */
  const lastEnds = new LRUCache<string, number>({ max: MAX_LAST_ENDS })
  const followedIds = new LRUCache<string, true>({ max: MAX_FOLLOWED })
  /** Sessions that the store does not have any more, until a notice gives the reason. */
  const missing = new Map<string, NodeJS.Timeout>()

  function forget(id: string): void {
    if (cache.hasEnded(id)) return
    cache.end(id)
    for (const listener of listeners) listener(id)
  }

  async function remove(id: string, reason: EndReason): Promise<boolean> {
    const removed = await store.remove(id)
    if (removed) metrics.sessionsEnded.inc({ reason })
    return removed
  }

  function discard(id: string): void {
    void retryQueue.persist(async () => {
      await store.remove(id)
    }, REMOVE_FOR_MS)
  }

  async function end({ id, endsAt }: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void> {
    const isFollowed = reason === 'renewed' || reason === 'replaced'
    if (isFollowed) followedIds.set(id, true)
    if (cache.hasEnded(id)) return
    forget(id)
    log.info({ event: 'session_ended', reason, session: id }, 'a session has ended')
    lastEnds.set(id, performance.now())
    // Written before the removal: a replica that misses the record has to find the reason.
    if (isFollowed) await store.setNote(followedName(id), reason, FOLLOWED_FOR_MS).catch(() => {})
    try {
      await remove(id, reason)
    } catch {
      void retryQueue.persist(async () => {
        await remove(id, reason)
      }, endsAt - Date.now())
    }
  }

  async function endById(id: string, reason: EndReason): Promise<boolean> {
    const removed = await remove(id, reason)
    forget(id)
    lastEnds.set(id, performance.now())
    if (removed) log.info({ event: 'session_ended', reason, session: id }, 'a session has ended')
    return removed
  }

  async function wasRenewed(id: string): Promise<boolean> {
    const reason = await store.getNote(followedName(id)).catch(() => null)
    if (reason !== null) followedIds.set(id, true)
    return reason === 'renewed'
  }

  return {
    end,
    endById,

    endIfOver(session, now) {
      const reason = session === null ? null : endedBecause(settings, session, now)
      if (session === null || reason === null) return session
      void end(session, reason)
      return null
    },

    // Every login does this afterwards: of several concurrent logins, the last one sees all sessions.
    async endOldest(session, most) {
      try {
        const { issuer, subject } = ownerOf(session)
        const ids = await store.find({ issuer, subject })
        const tooMany = ids.slice(0, Math.max(0, ids.length - most))
        await Promise.all(tooMany.map((one) => endById(one, 'max_per_user')))
      } catch (error) {
        const facts = { event: 'limit_not_kept', session: session.id, cause: causes(error) }
        log.warn(facts, 'the user may have more sessions than maxPerUser now')
      }
    },

    noteMissing(id) {
      const known = cache.get(id)?.session ?? null
      // Redis itself removes expired records.
      const reason = (known === null ? null : endedBecause(settings, known, Date.now())) ?? 'lost'
      forget(id)
      if (known === null) return
      missing.set(
        id,
        setTimeout(() => {
          missing.delete(id)
          metrics.sessionsEnded.inc({ reason })
          if (reason === 'lost') log.warn({ event: 'session_lost', session: id }, 'the store has lost a session')
        }, NOTICE_WITHIN_MS).unref(),
      )
    },

    noteEndedElsewhere(id) {
      clearTimeout(missing.get(id))
      missing.delete(id)
      forget(id)
      void wasRenewed(id)
    },

    noteEvicted(id) {
      forget(id)
      metrics.sessionsEnded.inc({ reason: 'lost' })
    },

    discard,

    repeatSince(troubledSince) {
      for (const [id, endedAt] of lastEnds.entries()) if (endedAt > troubledSince - FAILOVER_LOSS_MS) discard(id)
    },

    wasFollowed: (id) => followedIds.has(id),
    wasRenewed,
    onEnd: (listener) => {
      listeners.push(listener)
    },
  }
}

function followedName(id: string): string {
  return JSON.stringify(['followed', id])
}
