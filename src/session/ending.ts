import { LRUCache } from 'lru-cache'
import { causes } from '../errors.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Store } from '../store/store.ts'
import { type Log, sessionFields } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { SessionCache } from './cache.ts'
import type { RetryQueue } from './retry-queue.ts'
import type { EndReason, Session } from './session.ts'
import { endReasonOf, type SessionSettings } from './lifetime.ts'

/** Writes this recent may be lost when a store fails over. */
const FAILOVER_LOSS_MS = 5_000
const MAX_LAST_ENDS = 1_000
const MAX_REPLACED = 20_000
/** For how long a failing removal of a record is retried. */
const REMOVE_FOR_MS = 600_000
/** For how long other processes may still use a session that a login has replaced or a local logout has ended. */
const END_NOTE_MS = 600_000
/** How long to wait for the notice of a session's end after its record was found missing. */
const NOTICE_WITHIN_MS = 1_000

export interface SessionServices {
  readonly store: Store
  readonly cache: SessionCache
  readonly retryQueue: RetryQueue
  /** A reload of the configuration replaces the values in this object. */
  readonly settings: SessionSettings
  readonly log: Log
  readonly metrics: Metrics
  readonly adopt: (session: Session) => Session | null
}

/** Ends sessions, each only once: immediately in this process, and in the store when it is reachable. */
export interface Ending {
  end(session: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void>
  endById(id: string, reason: EndReason, subject?: string | null): Promise<boolean>
  /** Returns the session if it is valid at `now`. Otherwise ends it in the background and returns `null`. */
  endIfOver(session: Session | null, now: number): Session | null
  /** Ends a user's oldest sessions beyond `max`. Never rejects, so that a login succeeds even without the store. */
  endOldest(session: Session, max: number): Promise<void>
  noteMissing(id: string): void
  /** Records that another process has ended a session and counted its end. */
  noteEndedElsewhere(id: string): void
  noteEvicted(id: string): void
  /** Removes a record that may exist although no browser has its ticket. */
  discard(id: string): void
  /** Repeats the ends that the store may have lost in an outage that began at `outageStart` (`performance.now`). */
  repeatSince(outageStart: number): void
  hasSuccessor(id: string): boolean
  notedReason(id: string): Promise<string | null>
  onEnd(listener: (id: string) => void): void
}

export function createEnding({ store, cache, retryQueue, settings, log, metrics }: SessionServices): Ending {
  const listeners: ((id: string) => void)[] = []
  /** When this process ended sessions, in ms of `performance.now`. */
  const lastEnds = new LRUCache<string, number>({ max: MAX_LAST_ENDS })
  const replacedIds = new LRUCache<string, true>({ max: MAX_REPLACED })
  /** Sessions whose record is missing, until a notice gives the reason or the timer fires. */
  const missing = new Map<string, NodeJS.Timeout>()

  /** Returns the claims of a session that this process knows. The store has them only in sealed form. */
  function claimsOf(id: string): Claims | undefined {
    return cache.get(id)?.session.claims
  }

  function logEnd(id: string, reason: EndReason, claims: Claims | undefined): void {
    const owner = claims === undefined ? {} : { claims }
    log.info({ event: 'session_ended', reason, ...sessionFields(log, { id, ...owner }) }, 'a session has ended')
  }

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
    if (isReplacement(reason)) replacedIds.set(id, true)
    if (cache.hasEnded(id)) return
    const claims = claimsOf(id)
    forget(id)
    logEnd(id, reason, claims)
    lastEnds.set(id, performance.now())
    // The note is written before the record is removed, because a replica that finds no record reads the note.
    if (isReplacement(reason) || reason === 'local_logout')
      await store.setNote(endNote(id), reason, END_NOTE_MS).catch(() => {})
    try {
      await remove(id, reason)
    } catch {
      void retryQueue.persist(async () => {
        await remove(id, reason)
      }, endsAt - Date.now())
    }
  }

  async function endById(id: string, reason: EndReason, subject: string | null = null): Promise<boolean> {
    const removed = await remove(id, reason)
    const claims = claimsOf(id) ?? (subject === null ? undefined : { sub: subject })
    forget(id)
    lastEnds.set(id, performance.now())
    if (removed) logEnd(id, reason, claims)
    return removed
  }

  async function notedReason(id: string): Promise<string | null> {
    const reason = await store.getNote(endNote(id)).catch(() => null)
    if (isReplacement(reason)) replacedIds.set(id, true)
    return reason
  }

  return {
    end,
    endById,

    endIfOver(session, now) {
      const reason = session === null ? null : endReasonOf(settings, session, now)
      if (session === null || reason === null) return session
      void end(session, reason)
      return null
    },

    // `endOldest` runs after each session is created, so the last of several concurrent logins finds all sessions.
    async endOldest(session, max) {
      try {
        const { issuer, subject } = session
        const ids = await store.find({ issuer, subject })
        const oldest = ids.slice(0, Math.max(0, ids.length - max))
        await Promise.all(oldest.map((id) => endById(id, 'max_per_user', subject)))
      } catch (error) {
        const facts = { event: 'limit_not_kept', ...sessionFields(log, session), cause: causes(error) }
        log.warn(facts, 'the user may have more sessions than maxPerUser allows')
      }
    },

    noteMissing(id) {
      const known = cache.get(id)?.session ?? null
      // Redis removes the records of expired sessions.
      const reason = (known === null ? null : endReasonOf(settings, known, Date.now())) ?? 'lost'
      forget(id)
      if (known === null) return
      missing.set(
        id,
        setTimeout(() => {
          missing.delete(id)
          metrics.sessionsEnded.inc({ reason })
          if (reason === 'lost')
            log.warn({ event: 'session_lost', ...sessionFields(log, known) }, 'the store has lost a session')
        }, NOTICE_WITHIN_MS).unref(),
      )
    },

    noteEndedElsewhere(id) {
      clearTimeout(missing.get(id))
      missing.delete(id)
      forget(id)
      void notedReason(id)
    },

    noteEvicted(id) {
      const claims = claimsOf(id)
      const owner = claims === undefined ? {} : { claims }
      forget(id)
      log.warn(
        { event: 'session_lost', ...sessionFields(log, { id, ...owner }) },
        'the full store has evicted a session',
      )
      metrics.sessionsEnded.inc({ reason: 'lost' })
    },

    discard,

    repeatSince(outageStart) {
      for (const [id, endedAt] of lastEnds.entries()) if (endedAt > outageStart - FAILOVER_LOSS_MS) discard(id)
    },

    hasSuccessor: (id) => replacedIds.has(id),
    notedReason,
    onEnd: (listener) => {
      listeners.push(listener)
    },
  }
}

function isReplacement(reason: string | null): boolean {
  return reason === 'renewed' || reason === 'replaced'
}

function endNote(id: string): string {
  return JSON.stringify(['followed', id])
}
