import type { LoginResult } from '../oidc/callback.ts'
import type { Criterion, Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import { countFromZero, type Metrics } from '../telemetry/metrics.ts'
import { createSessionCache } from './cache.ts'
import { createActivity, beginSession, createSessionWriter, type Renewed, type SessionChange } from './changes.ts'
import { createEnding, limitSessions } from './ending.ts'
import { createRevalidation, createLoad, createStoreReader } from './lookup.ts'
import { createRetryQueue } from './retry.ts'
import { END_REASONS, type EndReason, type Session, type SessionPolicy } from './session.ts'
import type { Ticket } from './ticket.ts'

/** How a session that a request names was found. */
const CACHE_RESULTS = ['hit', 'miss', 'confirmed', 'grace', 'lost']

/** The sessions of this gateway. All times are ms since the epoch. */
export interface Sessions {
  readonly policy: SessionPolicy
  /**
   * The living session of a ticket, `null` when it has ended or its data is gone. At once when it is at hand; a promise
   * only when the store has to be asked, which rejects with `store_unavailable` when it can't be and the session has
   * not been confirmed for longer than `outageGrace`.
   */
  load(ticket: Ticket, now: number): Session | null | Promise<Session | null>
  /** The same from the store in any case. */
  reload(ticket: Ticket, now: number): Promise<Session | null>
  /** Begins a session; where the user has too many then, the oldest ends. Rejects with `store_unavailable`. */
  create(login: LoginResult, origin: string, now: number, asked?: string | null): Promise<Session>
  /** Saves changed tokens or claims. */
  renew(session: Session, change: SessionChange): Promise<Renewed>
  /** Notes that the user did something. */
  touch(session: Session, now: number): void
  /** Ends a session, here at once and in the store as soon as it can be reached. Never rejects. */
  end(session: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void>
  /** Whether a login in the same browser has put another session in this one's place: the cookie may be that one's. */
  wasFollowed(id: string): boolean
  /**
   * Whether a login of the same user, at any replica, has put another session in this one's place within the last ten
   * minutes. `false` while the store can't tell.
   */
  wasRenewed(id: string): Promise<boolean>
  /** Ends a session by its id alone; `false` when there was none. Rejects with `store_unavailable`. */
  endById(id: string, reason: EndReason): Promise<boolean>
  /** Living sessions, the oldest first. Rejects with `store_unavailable`. */
  find(criterion: Criterion): Promise<SessionSummary[]>
  /** Calls back for each session that ends, by whatever cause this process learns of. */
  onEnd(listener: (id: string, reason: EndReason) => void): void
  /** Resolves when nothing waits to be written any more, at the latest after `most` ms. */
  settled(most: number): Promise<void>
}

/** What is known of a session without its ticket. */
export interface SessionSummary {
  readonly id: string
  readonly createdAt: number
  readonly lastSeenAt: number
  readonly endsAt: number
}

interface Settings extends SessionPolicy {
  readonly outageGrace: number
  readonly maxPerUser: number | null
}

interface Parts {
  readonly store: Store
  readonly settings: Settings
  readonly log: Log
  readonly metrics: Metrics
}

/** Opens the sessions that live in a store. */
export function openSessions({ store, settings: policy, log, metrics }: Parts): Sessions {
  const cache = createSessionCache()
  const retryQueue = createRetryQueue()
  countFromZero(metrics.sessionsEnded, END_REASONS)
  countFromZero(metrics.sessionCache, CACHE_RESULTS)
  const ending = createEnding({ store, cache, retryQueue, policy, log, metrics })
  const onBehind = (session: Session): void => {
    writer.saveLater(session)
  }
  const storeReader = createStoreReader({ store, cache, ending, onBehind, metrics })
  const writer = createSessionWriter({ store, cache, storeReader, ending, retryQueue, policy, log })
  const revalidation = createRevalidation({ store, cache, storeReader, ending, policy, metrics })

  store.listen({
    changed: (id, version) => {
      cache.noteChange(id, version)
    },
    gone: (id) => {
      ending.endedElsewhere(id)
    },
    evicted: (id) => {
      ending.evicted(id)
    },
    restored(troubledSince) {
      revalidation.resume()
      ending.repeatSince(troubledSince)
    },
  })

  return {
    policy,
    load: createLoad({ store, cache, storeReader, revalidation, ending, policy, metrics }),
    reload: async (ticket, now) => ending.living(await storeReader.read(ticket), now),
    async create(login, origin, now, asked = null) {
      const parts = { store, cache, ending, policy, metrics }
      const session = await beginSession(parts, { login, origin, asked }, now)
      if (policy.maxPerUser !== null) await limitSessions({ store, ending, log }, session, policy.maxPerUser)
      return session
    },
    renew: (session, change) => writer.renew(session, change),
    touch: createActivity(store, cache, policy),
    end: (session, reason) => ending.end(session, reason),
    endById: (id, reason) => ending.endById(id, reason),
    wasFollowed: (id) => ending.wasFollowed(id),
    wasRenewed: (id) => ending.wasRenewed(id),
    onEnd: (listener) => {
      ending.onEnd(listener)
    },

    async find(criterion) {
      const ids = await store.find(criterion)
      const records = await Promise.all(ids.map(async (id) => ({ id, record: await store.read(id) })))
      return records.flatMap(({ id, record }) =>
        record === null ? [] : [{ id, createdAt: record.createdAt, lastSeenAt: record.seenAt, endsAt: record.endsAt }],
      )
    },

    async settled(most) {
      const left = await retryQueue.settled(most)
      if (left === 0) return
      const what = 'the store did not come back in time: ended sessions may live on, renewed tokens are lost'
      log.error({ event: 'not_saved', left }, what)
    },
  }
}
