import { Fault } from '../errors.ts'
import { withDeadline } from '../resilience/deadline.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { Cached } from './cache.ts'
import type { Ending, SessionServices } from './ending.ts'
import { fromRecord } from './record.ts'
import { mayBeOver, type Session } from './session.ts'
import type { Ticket } from './ticket.ts'

/** Finds sessions: in the cache, in the cache once the store has confirmed them, or in the store. */
export interface Lookup {
  /** See `Sessions.load`. */
  load(ticket: Ticket, now: number): Session | null | Promise<Session | null>
  /**
   * Reads a ticket's session from the store into the cache. Returns `null` if there is none, or if the ticket does not
   * open it. Rejects with `store_unavailable`.
   */
  read(ticket: Ticket): Promise<Session | null>
  /** Asks the store again without a pause, because it is back. */
  resume(): void
}

/** A cached session is used without a question while notices of changes are complete up to this age. */
const TRUST_MS = 500
/** How often a used session is read in the background, for ends without a notice: an eviction, or a flushed store. */
const READ_EVERY_MS = 2_000
/** After this time without a read, the request waits for one. */
const READ_AT_LATEST_MS = 4_000
/** How long a request waits for the store to confirm a cached session. */
const CONFIRM_WITHIN_MS = 700
/** How long the store is not asked after it has failed to confirm a session. */
const CONFIRM_PAUSE_MS = 500

/** Creates the lookup. Calls `onBehind` with a cached session that is newer than the store's record. */
export function createLookup(
  { store, cache, settings, metrics }: SessionServices,
  ending: Ending,
  onBehind: (session: Session) => void,
): Lookup {
  const isShared = store.size() === null
  const reads = singleFlight<string, Session | null>()
  let pausedUntil = Number.NEGATIVE_INFINITY

  async function fromStore(ticket: Ticket): Promise<Session | null> {
    const readAt = performance.now()
    const record = await store.read(ticket.id)
    const known = cache.get(ticket.id)?.session ?? null
    if (cache.hasEnded(ticket.id)) return null
    if (record === null) {
      // Asked before an answer clears the cookie, which may belong to the session that a login has begun since.
      await ending.wasRenewed(ticket.id)
      metrics.sessionCache.inc({ result: 'lost' })
      ending.noteMissing(ticket.id)
      return null
    }
    metrics.sessionCache.inc({ result: known === null ? 'miss' : 'confirmed' })
    // The cache may be ahead of the store: a write is pending, or was lost in a failover.
    const session = known !== null && known.version >= record.version ? known : fromRecord(ticket, record)
    if (session === null) return null
    if (session.version > record.version) onBehind(session)
    session.lastSeenAt = Math.max(session.lastSeenAt, record.seenAt, known?.lastSeenAt ?? 0)
    cache.keep(session, readAt)
    return session
  }

  /** Like `read`, but concurrent calls share one read. */
  async function readOnce(ticket: Ticket): Promise<Session | null> {
    return ifOpenedBy(ticket, await reads.run(ticket.id, () => fromStore(ticket)))
  }

  /**
   * Reads within `CONFIRM_WITHIN_MS`. After a failure it rejects at once for a while, so that requests don't pile up.
   */
  async function readInTime(ticket: Ticket): Promise<Session | null> {
    if (performance.now() < pausedUntil) throw new Fault('store_unavailable')
    try {
      return await withDeadline(readOnce(ticket), CONFIRM_WITHIN_MS, () => {
        throw new Fault('store_unavailable')
      })
    } catch (error) {
      pausedUntil = performance.now() + CONFIRM_PAUSE_MS
      throw error
    }
  }

  /**
   * Returns what the store has, or the cached session while the store does not answer. Rejects with `store_unavailable`
   * if the session has not been confirmed for longer than `outageGrace`.
   */
  async function confirm(cached: Cached, ticket: Ticket, now: number): Promise<Session | null> {
    try {
      return ending.endIfOver(await readInTime(ticket), now)
    } catch (error) {
      if (cache.hasEnded(ticket.id)) return null
      const { session, readAt } = cache.get(ticket.id) ?? cached
      const unsureFor = performance.now() - store.assuredUntil(readAt)
      if (mayBeOver(settings, session, now) || unsureFor >= settings.outageGrace) throw error
      metrics.sessionCache.inc({ result: 'grace' })
      return ending.endIfOver(session, now)
    }
  }

  return {
    load(ticket, now) {
      const cached = cache.get(ticket.id)
      if (cached === null) {
        if (cache.hasEnded(ticket.id)) return null
        return readOnce(ticket).then((found) => ending.endIfOver(found, now))
      }
      const { session, readAt, outdated } = cached
      if (session.ticket.key !== ticket.key) return null
      if (isShared) {
        // Not `now`, since the wall clock may have been set.
        const at = performance.now()
        const isUncertain = outdated || at - readAt > READ_AT_LATEST_MS || store.assuredUntil(readAt) < at - TRUST_MS
        if (isUncertain || mayBeOver(settings, session, now)) return confirm(cached, ticket, now)
        if (at - readAt > READ_EVERY_MS) {
          readOnce(ticket).catch(() => {
            // The cached session stays valid while the notices are complete.
          })
        }
      }
      metrics.countHit()
      return ending.endIfOver(session, now)
    },
    read: async (ticket) => ifOpenedBy(ticket, await fromStore(ticket)),
    resume() {
      pausedUntil = Number.NEGATIVE_INFINITY
    },
  }
}

/** A ticket with another key opens nothing. */
function ifOpenedBy(ticket: Ticket, session: Session | null): Session | null {
  return session?.ticket.key === ticket.key ? session : null
}
