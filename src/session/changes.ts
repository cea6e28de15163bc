import { LRUCache } from 'lru-cache'
import type { LoginResult } from '../oidc/callback.ts'
import { sidOf } from '../oidc/token-set.ts'
import type { Ending, SessionServices } from './ending.ts'
import type { Lookup } from './lookup.ts'
import { toRecord } from './record.ts'
import { absoluteEnd, ownerOf, type Session, type SessionPolicy } from './session.ts'
import { newTicket } from './ticket.ts'

/** The members that a refresh can change. */
export type SessionChange = Partial<Pick<Session, 'claims' | 'idToken' | 'tokens' | 'sid' | 'refreshedAt' | 'endsAt'>>

/** The result of a change. */
export interface Renewed {
  /** `null` if the session has ended; a newer version if another process has changed the session first. */
  readonly session: Session | null
  /** `false` while the store can't be reached: the change is written as soon as it can. */
  readonly saved: boolean
}

/** Writes new and changed sessions, at once or as soon as the store is reachable. */
export interface Changes {
  /** Begins a session with a new id. `asked` is `Session.asked`. Rejects with `store_unavailable`. */
  begin(login: LoginResult, origin: string, asked: string | null, now: number): Promise<Session>
  /** See `Sessions.renew`. */
  renew(session: Session, change: SessionChange): Promise<Renewed>
  /** Writes a session later if the store has an older version of it. */
  saveLater(session: Session): void
  /** See `Sessions.touch`. */
  touch(session: Session, now: number): void
}

/** Activity is written to the store at most this often. */
const TOUCH_EVERY_MS = 60_000
/** After a failed write, the first activity after this time writes again. */
const TOUCH_RETRY_MS = 2_000
const MAX_TOUCHED = 20_000

/** Creates the part that writes sessions. */
export function createChanges(
  { store, cache, retryQueue, settings, log, metrics }: SessionServices,
  ending: Ending,
  lookup: Lookup,
): Changes {
  /** Sessions whose newest version waits for the store. */
  const unsaved = new Set<string>()
  /** When activity is next written, in ms of `performance.now`. */
  const touchDueAt = new LRUCache<string, number>({ max: MAX_TOUCHED })

  /** Writes a new version. Returns the valid version after that, or `null` if the session has ended. */
  async function save(renewed: Session, relists: boolean): Promise<Session | null> {
    // A logout by the provider names the current sid.
    if (relists) await store.relist(renewed.id, ownerOf(renewed))
    const outcome = await store.replace(renewed.id, toRecord(renewed), recordLife(settings, renewed, Date.now()))
    if (outcome === 'replaced') return renewed
    if (outcome === 'gone') ending.noteMissing(renewed.id)
    else cache.drop(renewed.id)
    return outcome === 'gone' ? null : lookup.read(renewed.ticket)
  }

  function saveLater(renewed: Session): void {
    const { id } = renewed
    if (unsaved.has(id)) return
    unsaved.add(id)
    void retryQueue
      .persist(async () => {
        const latest = cache.get(id)?.session ?? renewed
        if (!cache.hasEnded(id)) await save(latest.version > renewed.version ? latest : renewed, true)
      }, renewed.endsAt - Date.now())
      .then(() => {
        unsaved.delete(id)
      })
  }

  return {
    async begin(login, origin, asked, now) {
      const ticket = newTicket()
      const session: Session = {
        id: ticket.id,
        ticket,
        version: 1,
        issuer: login.issuer,
        ...(login.issuerTemplate === undefined ? {} : { issuerTemplate: login.issuerTemplate }),
        subject: login.idTokenClaims.sub,
        sid: sidOf(login.idTokenClaims),
        origin,
        claims: login.claims,
        asked,
        idToken: login.idToken,
        tokens: login.tokens,
        createdAt: now,
        refreshedAt: now,
        lastSeenAt: now,
        endsAt: absoluteEnd(settings, now, login.idTokenClaims.exp * 1000),
      }
      try {
        await store.create(session.id, toRecord(session), ownerOf(session), recordLife(settings, session, now))
      } catch (error) {
        // The store may have created the record although its answer was lost.
        ending.discard(session.id)
        throw error
      }
      cache.keep(session, performance.now())
      metrics.sessionsBegun.inc()
      return session
    },

    async renew(session, change) {
      const renewed: Session = { ...session, ...change, version: session.version + 1 }
      const asked = performance.now()
      const current = (): Session | undefined => cache.get(session.id)?.session
      try {
        const written = await save(renewed, renewed.sid !== session.sid)
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, current()?.lastSeenAt ?? 0)
        if (written === renewed) cache.keep(renewed, asked)
        return { session: cache.hasEnded(session.id) ? null : written, saved: true }
      } catch {
        // The old refresh token may be spent: without the new one, the session would be lost.
        if (cache.hasEnded(session.id)) return { session: null, saved: true }
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, current()?.lastSeenAt ?? 0)
        cache.keep(renewed, cache.get(session.id)?.readAt ?? asked)
        log.warn({ event: 'save_delayed', session: session.id }, 'renewed tokens wait for the store to come back')
        saveLater(renewed)
        return { session: renewed, saved: false }
      }
    },

    saveLater,

    touch(session, now) {
      const every = touchEvery(settings)
      // A clock that was set back and corrected must not make an active session look idle.
      session.lastSeenAt = Math.max(session.lastSeenAt, now)
      // A WebSocket may hold the version from before a renewal.
      const current = cache.get(session.id)?.session
      if (current !== undefined) current.lastSeenAt = Math.max(current.lastSeenAt, now)
      const at = performance.now()
      const due = touchDueAt.get(session.id)
      // An unknown session was last written when it began, unless the clock says that it begins in the future.
      const isDue = due === undefined ? now < session.createdAt || now >= session.createdAt + every : at >= due
      if (!isDue) return
      touchDueAt.set(session.id, at + every)
      store.touch(session.id, now, recordLife(settings, session, now)).catch(() => {
        // A pause, so that a failing store does not get a write with every request.
        touchDueAt.set(session.id, performance.now() + Math.min(every, TOUCH_RETRY_MS))
      })
    },
  }
}

/** Returns how long a record must live in the store from `now` on, in ms: until its end, or until it would be idle. */
function recordLife(policy: SessionPolicy, session: Session, now: number): number {
  const idle = policy.idleTimeout === null ? Number.POSITIVE_INFINITY : policy.idleTimeout + 2 * touchEvery(policy)
  return Math.max(1, Math.ceil(Math.min(session.endsAt - now, idle)))
}

function touchEvery({ idleTimeout }: SessionPolicy): number {
  return Math.min(TOUCH_EVERY_MS, (idleTimeout ?? Number.POSITIVE_INFINITY) / 4)
}
