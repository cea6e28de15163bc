import { LRUCache } from 'lru-cache'
import { causes } from '../errors.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { SessionCache } from './cache.ts'
import type { RetryQueue } from './retry.ts'
import { endedBecause, type EndReason, type Session, type SessionPolicy, ownerOf } from './session.ts'

/** What a store may have lost that came back after trouble: the writes of the last moments before, ms. */
const LAST_MOMENTS = 5_000
const MAX_LAST_ENDS = 1_000
const MAX_FOLLOWED = 20_000
/** What may be in the store, or come back to it, without having to be is removed, ms at most. */
const REMOVE_FOR = 600_000
/** What another process has under way with a session when a login puts another in its place is over after this, ms. */
const FOLLOWED_FOR = 600_000
/** The notice that a session was ended may come later than an answer that shows it, ms at most. */
const NOTICE_WITHIN = 1_000

/** How sessions end: in this process at once, in the store as soon as it can be reached, and never twice. */
export interface Ending {
  /** See `Sessions.end`. */
  end(session: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void>
  /** See `Sessions.endById`. */
  endById(id: string, reason: EndReason): Promise<boolean>
  /** The session while it lives at `now`; one that is over by the clock is ended on the side. */
  living(session: Session | null, now: number): Session | null
  /** Takes note that the store has no data of it any more. */
  lose(id: string): void
  /** Takes note that another process has ended it, and counted that. */
  endedElsewhere(id: string): void
  /** Takes note that the store had no room left for it. */
  evicted(id: string): void
  /** Removes from the store what may or may not have been created: nobody will come with its ticket. */
  undo(id: string): void
  /**
   * Ends once more what ended a moment before `troubledSince` (ms of `performance.now`), or later: the store may have
   * lost that.
   */
  repeatSince(troubledSince: number): void
  /** See `Sessions.wasFollowed`. */
  wasFollowed(id: string): boolean
  /** See `Sessions.wasRenewed`. */
  wasRenewed(id: string): Promise<boolean>
  /** See `Sessions.onEnd`. */
  onEnd(listener: (id: string, reason: EndReason) => void): void
}

interface Parts {
  readonly store: Pick<Store, 'remove' | 'mark' | 'marked'>
  readonly cache: SessionCache
  readonly retryQueue: RetryQueue
  readonly policy: SessionPolicy
  readonly log: Log
  readonly metrics: Metrics
}

/** Nothing has ended yet. */
export function createEnding({ store, cache, retryQueue, policy, log, metrics }: Parts): Ending {
  const listeners: ((id: string, reason: EndReason) => void)[] = []
  /** When sessions have ended here, ms of `performance.now`. */
  const lastEnds = new LRUCache<string, number>({ max: MAX_LAST_ENDS })
  const followedIds = new LRUCache<string, true>({ max: MAX_FOLLOWED })
  /** What the store does not have any more, and nobody has explained yet. */
  const missing = new Map<string, NodeJS.Timeout>()

  function forget(id: string, reason: EndReason): void {
    if (cache.hasEnded(id)) return
    cache.end(id)
    for (const listener of listeners) listener(id, reason)
  }

  async function remove(id: string, reason: EndReason): Promise<boolean> {
    const removed = await store.remove(id)
    if (removed) metrics.sessionsEnded.inc({ reason })
    return removed
  }

  function removeAtLast(id: string): void {
    void retryQueue.persist(async () => {
      await store.remove(id)
    }, REMOVE_FOR)
  }

  async function end({ id, endsAt }: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void> {
    const isFollowed = reason === 'renewed' || reason === 'replaced'
    if (isFollowed) followedIds.set(id, true)
    if (cache.hasEnded(id)) return
    forget(id, reason)
    log.info({ event: 'session_ended', reason, session: id }, 'a session has ended')
    lastEnds.set(id, performance.now())
    // Before it is gone: a replica that finds it gone has to know why.
    if (isFollowed) await store.mark(followedName(id), reason, FOLLOWED_FOR).catch(() => {})
    try {
      await remove(id, reason)
    } catch {
      void retryQueue.persist(async () => {
        await remove(id, reason)
      }, endsAt - Date.now())
    }
  }

  async function wasRenewed(id: string): Promise<boolean> {
    const reason = await store.marked(followedName(id)).catch(() => null)
    if (reason !== null) followedIds.set(id, true)
    return reason === 'renewed'
  }

  return {
    end,

    async endById(id, reason) {
      const removed = await remove(id, reason)
      forget(id, reason)
      lastEnds.set(id, performance.now())
      if (removed) log.info({ event: 'session_ended', reason, session: id }, 'a session has ended')
      return removed
    },

    living(session, now) {
      const reason = session === null ? null : endedBecause(policy, session, now)
      if (session === null || reason === null) return session
      void end(session, reason)
      return null
    },

    lose(id) {
      const known = cache.get(id)?.session ?? null
      // Redis drops by itself what is over by the clock.
      const reason = (known === null ? null : endedBecause(policy, known, Date.now())) ?? 'lost'
      forget(id, reason)
      if (known === null) return
      missing.set(
        id,
        setTimeout(() => {
          missing.delete(id)
          metrics.sessionsEnded.inc({ reason })
          if (reason === 'lost') log.warn({ event: 'session_lost', session: id }, 'the store has lost a session')
        }, NOTICE_WITHIN).unref(),
      )
    },

    endedElsewhere(id) {
      clearTimeout(missing.get(id))
      missing.delete(id)
      forget(id, 'lost')
      void wasRenewed(id)
    },

    evicted(id) {
      forget(id, 'lost')
      metrics.sessionsEnded.inc({ reason: 'lost' })
    },

    undo: removeAtLast,

    repeatSince(troubledSince) {
      for (const [id, endedAt] of lastEnds.entries()) if (endedAt > troubledSince - LAST_MOMENTS) removeAtLast(id)
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

interface LimitParts {
  readonly store: Pick<Store, 'find'>
  readonly ending: Pick<Ending, 'endById'>
  readonly log: Log
}

/**
 * Ends the oldest sessions of a user who has more than `most`, after each login: of several at the same moment, the
 * last one sees them all. Never rejects: where the store can't say, the limit is not worth a login.
 */
export async function limitSessions({ store, ending, log }: LimitParts, session: Session, most: number): Promise<void> {
  try {
    const { issuer, subject } = ownerOf(session)
    const ids = await store.find({ issuer, subject })
    const tooMany = ids.slice(0, Math.max(0, ids.length - most))
    await Promise.all(tooMany.map((one) => ending.endById(one, 'max_per_user')))
  } catch (error) {
    const facts = { event: 'limit_not_kept', session: session.id, cause: causes(error) }
    log.warn(facts, 'the user may have more sessions than maxPerUser now')
  }
}
