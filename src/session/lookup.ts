import { Fault } from '../errors.ts'
import { inTime } from '../store/in-time.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { SessionCache, Kept } from './cache.ts'
import type { Ending } from './ending.ts'
import { fromRecord } from './record.ts'
import { type Session, mayBeOver, type SessionPolicy } from './session.ts'
import type { Ticket } from './ticket.ts'

/** How sessions come out of the store. Each call rejects with `store_unavailable`. */
export interface StoreReader {
  /** What the store has for a ticket, kept at hand from now on; `null` when there is nothing that the ticket opens. */
  read(ticket: Ticket): Promise<Session | null>
  /** The same; who asks while somebody else does gets the same answer. */
  readOnce(ticket: Ticket): Promise<Session | null>
}

interface Parts {
  readonly store: Pick<Store, 'read'>
  readonly cache: SessionCache
  readonly ending: Pick<Ending, 'lose' | 'wasRenewed'>
  /** Hears of a session that is newer at hand than in the store. */
  readonly onBehind: (session: Session) => void
  readonly metrics: Metrics
}

/** Nothing is under way yet. */
export function createStoreReader({ store, cache, ending, onBehind, metrics }: Parts): StoreReader {
  const underWay = new Map<string, Promise<Session | null>>()

  async function fromStore(ticket: Ticket): Promise<Session | null> {
    const readAt = performance.now()
    const record = await store.read(ticket.id)
    const known = cache.get(ticket.id)?.session ?? null
    if (cache.hasEnded(ticket.id)) return null
    if (record === null) {
      // Before anybody is told to clear the cookie: it may be that of the session that a login has put in its place.
      await ending.wasRenewed(ticket.id)
      metrics.sessionCache.inc({ result: 'lost' })
      ending.lose(ticket.id)
      return null
    }
    metrics.sessionCache.inc({ result: known === null ? 'miss' : 'confirmed' })
    // At hand may be what the store does not have: it could not be written yet, or was lost with a failed master.
    const session = known !== null && known.version >= record.version ? known : fromRecord(ticket, record)
    if (session === null) return null
    if (session.version > record.version) onBehind(session)
    session.lastSeenAt = Math.max(session.lastSeenAt, record.seenAt, known?.lastSeenAt ?? 0)
    cache.keep(session, readAt)
    return session
  }

  function join(ticket: Ticket): Promise<Session | null> {
    const others = underWay.get(ticket.id)
    if (others !== undefined) return others
    const mine = fromStore(ticket).finally(() => {
      underWay.delete(ticket.id)
    })
    underWay.set(ticket.id, mine)
    return mine
  }

  return {
    read: async (ticket) => owned(await fromStore(ticket), ticket),
    readOnce: async (ticket) => owned(await join(ticket), ticket),
  }
}

/** A ticket with another key belongs to nobody. */
function owned(session: Session | null, ticket: Ticket): Session | null {
  return session?.ticket.key === ticket.key ? session : null
}

/** A session at hand is used without asking while notices of changes have come in no longer ago than this, ms. */
const TRUST = 500
/** What no notice tells (eviction, a flushed store) is looked for in the background this often, ms. */
const LOOK_EVERY = 2_000
/** What nobody has looked for within this time, ms, is looked for before the answer. */
const LOOK_AT_LAST = 4_000

interface LoadParts {
  readonly store: Pick<Store, 'assuredUntil' | 'size'>
  readonly cache: Pick<SessionCache, 'get' | 'hasEnded'>
  readonly storeReader: StoreReader
  readonly revalidation: Pick<Revalidation, 'confirm'>
  readonly ending: Pick<Ending, 'living'>
  readonly policy: SessionPolicy
  readonly metrics: Pick<Metrics, 'countHit'>
}

/** See `Sessions.load`. */
type LoadSession = (ticket: Ticket, now: number) => Session | null | Promise<Session | null>

/** Makes `Sessions.load`: what is at hand, at once, unless something speaks against it. */
export function createLoad({
  store,
  cache,
  storeReader,
  revalidation,
  ending,
  policy,
  metrics,
}: LoadParts): LoadSession {
  const isShared = store.size() === null

  return function load(ticket, now) {
    const kept = cache.get(ticket.id)
    if (kept === null) {
      if (cache.hasEnded(ticket.id)) return null
      return storeReader.readOnce(ticket).then((found) => ending.living(found, now))
    }
    const { session, readAt, outdated } = kept
    if (session.ticket.key !== ticket.key) return null
    if (isShared) {
      // Not `now`: the wall clock may have been set since.
      const at = performance.now()
      const isUncertain = outdated || at - readAt > LOOK_AT_LAST || store.assuredUntil(readAt) < at - TRUST
      if (isUncertain || mayBeOver(policy, session, now)) return revalidation.confirm(kept, ticket, now)
      if (at - readAt > LOOK_EVERY) {
        storeReader.readOnce(ticket).catch(() => {
          // Only looking: what is at hand stays good as long as the notices come in.
        })
      }
    }
    metrics.countHit()
    return ending.living(session, now)
  }
}

/** How long a request waits for the store to confirm what is at hand, ms. */
const CONFIRM_WITHIN = 700
/** After the store has failed to confirm, it is not asked again for this long, ms. */
const CONFIRM_PAUSE = 500

/** Whether what is at hand still stands. */
export interface Revalidation {
  /**
   * What the store has; while it does not answer, what is at hand. Rejects with `store_unavailable` when that has not
   * been known to stand for `outageGrace`.
   */
  confirm(kept: Kept, ticket: Ticket, now: number): Promise<Session | null>
  /** Asks at once again: the store is back. */
  resume(): void
}

interface RevalidationParts {
  readonly store: Pick<Store, 'assuredUntil'>
  readonly cache: Pick<SessionCache, 'get' | 'hasEnded'>
  readonly storeReader: Pick<StoreReader, 'readOnce'>
  readonly ending: Pick<Ending, 'living'>
  readonly policy: SessionPolicy & { readonly outageGrace: number }
  readonly metrics: Metrics
}

/** The store has not failed yet. */
export function createRevalidation({
  store,
  cache,
  storeReader,
  ending,
  policy,
  metrics,
}: RevalidationParts): Revalidation {
  let pausedUntil = Number.NEGATIVE_INFINITY

  /** Rejects after a while, and at once for a moment after that: the requests of all users would wait otherwise. */
  async function look(ticket: Ticket): Promise<Session | null> {
    if (performance.now() < pausedUntil) throw new Fault('store_unavailable')
    try {
      return await inTime(storeReader.readOnce(ticket), CONFIRM_WITHIN, () => new Fault('store_unavailable'))
    } catch (error) {
      pausedUntil = performance.now() + CONFIRM_PAUSE
      throw error
    }
  }

  return {
    async confirm(kept, ticket, now) {
      try {
        return ending.living(await look(ticket), now)
      } catch (error) {
        if (cache.hasEnded(ticket.id)) return null
        const { session, readAt } = cache.get(ticket.id) ?? kept
        const unsureFor = performance.now() - store.assuredUntil(readAt)
        if (mayBeOver(policy, session, now) || unsureFor >= policy.outageGrace) throw error
        metrics.sessionCache.inc({ result: 'grace' })
        return ending.living(session, now)
      }
    },
    resume() {
      pausedUntil = Number.NEGATIVE_INFINITY
    },
  }
}
