import type { LoginResult } from '../oidc/callback.ts'
import type { Criterion, Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import { countFromZero, type Metrics } from '../telemetry/metrics.ts'
import { createSessionCache } from './cache.ts'
import { createChanges, type Renewed, type SessionChange } from './changes.ts'
import { createEnding, type SessionServices } from './ending.ts'
import { createLookup } from './lookup.ts'
import { createRetryQueue } from './retry-queue.ts'
import { END_REASONS, type EndReason, type Session } from './session.ts'
import { endReasonOf, type SessionPolicy, type SessionSettings } from './lifetime.ts'
import type { Ticket } from './ticket.ts'

const CACHE_RESULTS = ['hit', 'miss', 'confirmed', 'grace', 'lost']

/** The gateway's sessions. All times are in ms since the epoch. */
export interface Sessions {
  readonly policy: SessionPolicy
  /**
   * Returns a ticket's session, or `null` if it has ended or its record is lost. Returns a promise only if the store
   * must be read. Rejects with `store_unavailable` if the store cannot be reached and the session was last confirmed
   * longer than `outageGrace` ago.
   */
  load(ticket: Ticket, now: number): Session | null | Promise<Session | null>
  /** Like `load`, but always reads the store. */
  reload(ticket: Ticket, now: number): Promise<Session | null>
  /** Begins a session and ends the user's oldest ones beyond `maxPerUser`. Rejects with `store_unavailable`. */
  create(login: LoginResult, origin: string, now: number, requestedStepUp?: string | null): Promise<Session>
  renew(session: Session, change: SessionChange): Promise<Renewed>
  /** Records activity of the user: immediately in this process, and at intervals in the store. */
  touch(session: Session, now: number): void
  /** Ends a session: immediately in this process, and in the store when it is reachable. Never rejects. */
  end(session: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void>
  /** Returns whether a login in the same browser has replaced this session. The cookie may then be the successor's. */
  hasSuccessor(id: string): boolean
  /**
   * Returns the reason why a session ended on any replica within the last ten minutes: `renewed`, `replaced` or
   * `local_logout`. Returns `null` for any other reason, or if the store cannot be reached.
   */
  notedReason(id: string): Promise<string | null>
  /**
   * Ends a session by its id. Returns `false` if it does not exist. Rejects with `store_unavailable`. `subject`: the
   * user, if the caller knows it, for the log.
   */
  endById(id: string, reason: EndReason, subject?: string | null): Promise<boolean>
  /** Returns the sessions of a user or of a provider session, oldest first. Rejects with `store_unavailable`. */
  find(criterion: Criterion): Promise<SessionSummary[]>
  /** Calls `listener` when a session ends in this process, or when this process learns that it has ended. */
  onEnd(listener: (id: string) => void): void
  /** Waits up to `maxMs` until all delayed writes are done. Logs an error if some are not. */
  settled(maxMs: number): Promise<void>
}

/** The members of a session that can be read without its ticket. */
export interface SessionSummary {
  readonly id: string
  readonly createdAt: number
  readonly lastSeenAt: number
  readonly endsAt: number
}

interface SessionsOptions {
  readonly store: Store
  readonly settings: SessionSettings
  readonly log: Log
  readonly metrics: Metrics
  /** Returns a stored session as one of a configured provider, or `null`. */
  readonly adopt?: (session: Session) => Session | null
}

export function openSessions({
  store,
  settings,
  log,
  metrics,
  adopt = (session) => session,
}: SessionsOptions): Sessions {
  const cache = createSessionCache()
  const retryQueue = createRetryQueue()
  const services: SessionServices = { store, cache, retryQueue, settings, log, metrics, adopt }
  countFromZero(metrics.sessionsEnded, 'reason', END_REASONS)
  countFromZero(metrics.sessionCache, 'result', CACHE_RESULTS)
  metrics.watchSessions(() => {
    const now = Date.now()
    let count = 0
    for (const session of cache.sessions()) if (endReasonOf(settings, session, now) === null) count += 1
    return count
  })
  const ending = createEnding(services)
  // Changes and lookup depend on each other: a delayed write may have to read, and a read may find that a write is missing.
  const lookup = createLookup(services, ending, (session) => {
    changes.saveLater(session)
  })
  const changes = createChanges(services, ending, lookup)

  store.listen({
    changed: (id, version) => {
      cache.noteChange(id, version)
    },
    gone: (id) => {
      ending.noteEndedElsewhere(id)
    },
    evicted: (id) => {
      ending.noteEvicted(id)
    },
    restored(outageStart) {
      lookup.resume()
      ending.repeatSince(outageStart)
    },
  })

  return {
    policy: settings,
    load: (ticket, now) => lookup.load(ticket, now),
    reload: async (ticket, now) => ending.endIfOver(await lookup.read(ticket), now),
    async create(login, origin, now, requestedStepUp = null) {
      const session = await changes.begin(login, origin, requestedStepUp, now)
      if (settings.maxPerUser !== null) await ending.endOldest(session, settings.maxPerUser)
      return session
    },
    renew: (session, change) => changes.renew(session, change),
    touch: (session, now) => {
      changes.touch(session, now)
    },
    end: (session, reason) => ending.end(session, reason),
    endById: (id, reason, subject) => ending.endById(id, reason, subject),
    hasSuccessor: (id) => ending.hasSuccessor(id),
    notedReason: (id) => ending.notedReason(id),
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

    async settled(maxMs) {
      const left = await retryQueue.settled(maxMs)
      if (left === 0) return
      const what =
        'the store did not come back in time: ended sessions may still be valid, and refreshed tokens are lost'
      log.error({ event: 'not_saved', left }, what)
    },
  }
}
