import { LRUCache } from 'lru-cache'
import type { LoginResult } from '../oidc/callback.ts'
import type { Ending, SessionServices } from './ending.ts'
import type { Lookup } from './lookup.ts'
import { toRecord } from './record.ts'
import { ownerOf, type Session } from './session.ts'
import { absoluteEnd, type SessionPolicy } from './lifetime.ts'
import { newTicket } from './ticket.ts'
import { sessionFields } from '../telemetry/log.ts'

/** The members that a refresh can change. */
export type SessionChange = Partial<
  Pick<Session, 'claims' | 'claimsEndAt' | 'idToken' | 'tokens' | 'sid' | 'refreshedAt' | 'endsAt'>
>

export interface Renewed {
  /** `null` if the session has ended, or the newer version if another process changed the session first. */
  readonly session: Session | null
  /** `false` if the store cannot be reached. The change is then written when the store is back. */
  readonly saved: boolean
}

export interface Changes {
  /** Begins a session with a new id. Rejects with `store_unavailable`. */
  begin(login: LoginResult, origin: string, requestedStepUp: string | null, now: number): Promise<Session>
  renew(session: Session, change: SessionChange): Promise<Renewed>
  /** Queues a write of a session. When the write runs, it replaces only an older version in the store. */
  saveLater(session: Session): void
  touch(session: Session, now: number): void
}

const TOUCH_INTERVAL_MS = 60_000
/** The shortest time between a failed write of activity and the next attempt. */
const TOUCH_RETRY_MS = 2_000
const MAX_TOUCHED = 20_000

export function createChanges(
  { store, cache, retryQueue, settings, log, metrics }: SessionServices,
  ending: Ending,
  lookup: Lookup,
): Changes {
  const unsaved = new Set<string>()
  /** The earliest time of the next write of activity, in ms of `performance.now`. */
  const touchDueAt = new LRUCache<string, number>({ max: MAX_TOUCHED })

  /** Writes a new version. Returns the version that is then valid, or `null` if the session has ended. */
  async function save(renewed: Session, hasNewOwner: boolean): Promise<Session | null> {
    // A logout by the provider names the current sid, so the index must list the session under that sid.
    if (hasNewOwner) await store.relist(renewed.id, ownerOf(renewed))
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
    async begin(login, origin, requestedStepUp, now) {
      const ticket = newTicket()
      const session: Session = {
        id: ticket.id,
        ticket,
        version: 1,
        ...(login.provider === undefined ? {} : { provider: login.provider }),
        ...(login.client === undefined ? {} : { client: login.client }),
        issuer: login.issuer,
        ...(login.issuerTemplate === undefined ? {} : { issuerTemplate: login.issuerTemplate }),
        subject: login.subject,
        sid: login.sid,
        origin,
        claims: login.claims,
        requestedStepUp,
        ...(login.reauthenticated === true ? { reauthenticated: true } : {}),
        idToken: login.idToken,
        tokens: login.tokens,
        createdAt: now,
        refreshedAt: now,
        lastSeenAt: now,
        endsAt: absoluteEnd(settings, now, login.idTokenExpiresAt),
      }
      try {
        await store.create(session.id, toRecord(session), ownerOf(session), recordLife(settings, session, now))
      } catch (error) {
        // The store may have created the record even though its reply was lost.
        ending.discard(session.id)
        throw error
      }
      cache.keep(session, performance.now())
      metrics.sessionsBegun.inc()
      return session
    },

    async renew(session, change) {
      const renewed: Session = { ...session, ...change, version: session.version + 1 }
      const startedAt = performance.now()
      const current = (): Session | undefined => cache.get(session.id)?.session
      try {
        const written = await save(renewed, renewed.sid !== session.sid)
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, current()?.lastSeenAt ?? 0)
        if (written === renewed) cache.keep(renewed, startedAt)
        return { session: cache.hasEnded(session.id) ? null : written, saved: true }
      } catch {
        // The provider may refuse the old refresh token from now on, so the new refresh token must be kept.
        if (cache.hasEnded(session.id)) return { session: null, saved: true }
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, current()?.lastSeenAt ?? 0)
        cache.keep(renewed, cache.get(session.id)?.readAt ?? startedAt)
        log.warn(
          { event: 'save_delayed', ...sessionFields(log, session) },
          'the store is unavailable; refreshed tokens are saved when it is back',
        )
        saveLater(renewed)
        return { session: renewed, saved: false }
      }
    },

    saveLater,

    touch(session, now) {
      const intervalMs = touchIntervalMs(settings)
      // A clock that was set back and corrected must not make an active session look idle.
      session.lastSeenAt = Math.max(session.lastSeenAt, now)
      // A WebSocket may pass the session object from before a refresh, so the cached object is updated too.
      const current = cache.get(session.id)?.session
      if (current !== undefined) current.lastSeenAt = Math.max(current.lastSeenAt, now)
      const at = performance.now()
      const dueAt = touchDueAt.get(session.id)
      // Without an entry in `touchDueAt`, activity counts as last written when the session was created. If that time is
      // in the future, the clock was set back, and a write is due.
      const isDue = dueAt === undefined ? now < session.createdAt || now >= session.createdAt + intervalMs : at >= dueAt
      if (!isDue) return
      touchDueAt.set(session.id, at + intervalMs)
      store.touch(session.id, now, recordLife(settings, session, now)).catch(() => {
        // Without a pause, an unavailable store would get a write for every request.
        touchDueAt.set(session.id, performance.now() + Math.min(intervalMs, TOUCH_RETRY_MS))
      })
    },
  }
}

/** Returns the time to live of a record at `now`, in ms: until the session's end or its idle timeout. */
function recordLife(policy: SessionPolicy, session: Session, now: number): number {
  const idle = policy.idleTimeout === null ? Number.POSITIVE_INFINITY : policy.idleTimeout + 2 * touchIntervalMs(policy)
  return Math.max(1, Math.ceil(Math.min(session.endsAt - now, idle)))
}

function touchIntervalMs({ idleTimeout }: SessionPolicy): number {
  return Math.min(TOUCH_INTERVAL_MS, (idleTimeout ?? Number.POSITIVE_INFINITY) / 4)
}
