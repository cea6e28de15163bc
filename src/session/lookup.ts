import { Fault } from '../errors.ts'
import { withDeadline } from '../resilience/deadline.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { Cached } from './cache.ts'
import type { Ending, SessionServices } from './ending.ts'
import { fromRecord } from './record.ts'
import { type Session } from './session.ts'
import { mayHaveEnded } from './lifetime.ts'
import type { Ticket } from './ticket.ts'

export interface Lookup {
  load(ticket: Ticket, now: number): Session | null | Promise<Session | null>
  /**
   * Reads a ticket's session from the store and caches it. Returns `null` if there is no session or the ticket does not
   * open it. Rejects with `store_unavailable`.
   */
  read(ticket: Ticket): Promise<Session | null>
  /** Ends the pause after a failed read, because the store is back. */
  resume(): void
}

/** If the notices of changes are not complete up to this long ago, a cached session is read again before use. */
const TRUST_MS = 500
/** How often an active session is read in the background. An eviction or a flush of the store causes no notice. */
const READ_INTERVAL_MS = 2_000
/** If a cached session was last read longer ago than this, a request waits until the session is read again. */
const MAX_READ_AGE_MS = 4_000
const CONFIRM_TIMEOUT_MS = 700
const CONFIRM_PAUSE_MS = 500

/** Creates the lookup. Calls `onStaleRecord` with a cached session that is newer than its record. */
export function createLookup(
  { store, cache, settings, metrics }: SessionServices,
  ending: Ending,
  onStaleRecord: (session: Session) => void,
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
      // Checks for a successor before the response clears the cookie: the cookie may already hold its ticket.
      await ending.notedReason(ticket.id)
      metrics.sessionCache.inc({ result: 'lost' })
      ending.noteMissing(ticket.id)
      return null
    }
    metrics.sessionCache.inc({ result: known === null ? 'miss' : 'confirmed' })
    // The cache is newer than the store if a write is pending or was lost in a failover.
    const session = known !== null && known.version >= record.version ? known : fromRecord(ticket, record)
    if (session === null) return null
    if (session.version > record.version) onStaleRecord(session)
    session.lastSeenAt = Math.max(session.lastSeenAt, record.seenAt, known?.lastSeenAt ?? 0)
    cache.keep(session, readAt)
    return session
  }

  /** Like `read`, but concurrent calls share one read. */
  async function readOnce(ticket: Ticket): Promise<Session | null> {
    return ifOpenedBy(ticket, await reads.run(ticket.id, () => fromStore(ticket)))
  }

  /** Like `readOnce`, with a time limit. Rejects immediately during the pause, so that requests do not pile up. */
  async function readInTime(ticket: Ticket): Promise<Session | null> {
    if (performance.now() < pausedUntil) throw new Fault('store_unavailable')
    try {
      return await withDeadline(readOnce(ticket), CONFIRM_TIMEOUT_MS, () => {
        throw new Fault('store_unavailable')
      })
    } catch (error) {
      pausedUntil = performance.now() + CONFIRM_PAUSE_MS
      throw error
    }
  }

  /**
   * Returns the session from the store, or the cached session if the store does not respond. Rejects with
   * `store_unavailable` if the session was last confirmed longer than `outageGrace` ago.
   */
  async function confirm(cached: Cached, ticket: Ticket, now: number): Promise<Session | null> {
    try {
      return ending.endIfOver(await readInTime(ticket), now)
    } catch (error) {
      if (cache.hasEnded(ticket.id)) return null
      const { session, readAt } = cache.get(ticket.id) ?? cached
      const unconfirmedMs = performance.now() - store.assuredUntil(readAt)
      if (mayHaveEnded(settings, session, now) || unconfirmedMs >= settings.outageGrace) throw error
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
        // Ages are measured with the monotonic clock, because the wall clock (`now`) may have been set.
        const at = performance.now()
        const isUncertain = outdated || at - readAt > MAX_READ_AGE_MS || store.assuredUntil(readAt) < at - TRUST_MS
        if (isUncertain || mayHaveEnded(settings, session, now)) return confirm(cached, ticket, now)
        if (at - readAt > READ_INTERVAL_MS) {
          readOnce(ticket).catch(() => {
            // The cached session remains valid while the notices are complete.
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

/** Returns the session if it has the ticket's key. An id alone does not open a session. */
function ifOpenedBy(ticket: Ticket, session: Session | null): Session | null {
  return session?.ticket.key === ticket.key ? session : null
}
