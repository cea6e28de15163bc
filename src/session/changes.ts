import { LRUCache } from 'lru-cache'
import type { LoginResult } from '../oidc/callback.ts'
import { sidOf } from '../oidc/token-set.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { SessionCache } from './cache.ts'
import type { Ending } from './ending.ts'
import type { StoreReader } from './lookup.ts'
import { toRecord } from './record.ts'
import type { RetryQueue } from './retry.ts'
import { ownerOf, type Session, type SessionPolicy, absoluteEnd } from './session.ts'
import { newTicket } from './ticket.ts'

/** What a refresh can change. */
export type SessionChange = Partial<Pick<Session, 'claims' | 'idToken' | 'tokens' | 'sid' | 'refreshedAt' | 'endsAt'>>

/** What became of a change. */
export interface Renewed {
  /** `null` when it had ended, which stands; a newer one when another process was first. */
  readonly session: Session | null
  /** `false` while the store can't be reached: it is written as soon as it can. */
  readonly saved: boolean
}

/** How changed sessions get into the store: now, or as soon as it can be reached. */
export interface SessionWriter {
  /** See `Sessions.renew`. */
  renew(session: Session, change: SessionChange): Promise<Renewed>
  /** Writes a session that the store has only an older version of. */
  saveLater(session: Session): void
}

interface Parts {
  readonly store: Pick<Store, 'relist' | 'replace'>
  readonly cache: SessionCache
  readonly storeReader: Pick<StoreReader, 'read'>
  readonly ending: Pick<Ending, 'lose'>
  readonly retryQueue: RetryQueue
  readonly policy: SessionPolicy
  readonly log: Log
}

/** Nothing waits to be written yet. */
export function createSessionWriter({
  store,
  cache,
  storeReader,
  ending,
  retryQueue,
  policy,
  log,
}: Parts): SessionWriter {
  /** Sessions whose newest version waits for the store. */
  const unsaved = new Set<string>()

  /** Writes a new version; gives back what counts afterwards. */
  async function save(renewed: Session, relists: boolean): Promise<Session | null> {
    // A logout by the provider must find it by its present sid.
    if (relists) await store.relist(renewed.id, ownerOf(renewed))
    const outcome = await store.replace(renewed.id, toRecord(renewed), recordLife(policy, renewed, Date.now()))
    if (outcome === 'replaced') return renewed
    if (outcome === 'gone') ending.lose(renewed.id)
    else cache.drop(renewed.id)
    return outcome === 'gone' ? null : storeReader.read(renewed.ticket)
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
    saveLater,

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
        // The old refresh token may be spent: losing the new one would cost the session.
        if (cache.hasEnded(session.id)) return { session: null, saved: true }
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, current()?.lastSeenAt ?? 0)
        cache.keep(renewed, cache.get(session.id)?.readAt ?? asked)
        log.warn({ event: 'save_delayed', session: session.id }, 'renewed tokens wait for the store to come back')
        saveLater(renewed)
        return { session: renewed, saved: false }
      }
    },
  }
}

interface BeginParts {
  readonly store: Pick<Store, 'create'>
  readonly cache: Pick<SessionCache, 'keep'>
  readonly ending: Pick<Ending, 'undo'>
  readonly policy: SessionPolicy
  readonly metrics: Metrics
}

interface Beginning {
  readonly login: LoginResult
  /** The public origin that the login started from. */
  readonly origin: string
  /** See `Session.asked`. */
  readonly asked: string | null
}

/** Begins a session under a new id. Rejects with `store_unavailable`, and then there is none. */
export async function beginSession(
  { store, cache, ending, policy, metrics }: BeginParts,
  { login, origin, asked }: Beginning,
  now: number,
): Promise<Session> {
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
    endsAt: absoluteEnd(policy, now, login.idTokenClaims.exp * 1000),
  }
  try {
    await store.create(session.id, toRecord(session), ownerOf(session), recordLife(policy, session, now))
  } catch (error) {
    // Its answer may be all that was lost.
    ending.undo(session.id)
    throw error
  }
  cache.keep(session, performance.now())
  metrics.sessionsBegun.inc()
  return session
}

/** Activity is written to the store at most this often, ms. */
const WRITE_EVERY = 60_000
/** What could not be written is tried again with the first activity after this long, ms. */
const RETRY_AFTER = 2_000
const MAX_KEPT = 20_000

/** How long a record has to live in the store from `now` on, ms: until its end, or until it would be idle. */
function recordLife(policy: SessionPolicy, session: Session, now: number): number {
  const idle = policy.idleTimeout === null ? Number.POSITIVE_INFINITY : policy.idleTimeout + 2 * writeEvery(policy)
  return Math.max(1, Math.ceil(Math.min(session.endsAt - now, idle)))
}

/** Makes `Sessions.touch`: activity counts here at once, and is written to the store now and then. */
export function createActivity(
  store: Pick<Store, 'touch'>,
  cache: Pick<SessionCache, 'get'>,
  policy: SessionPolicy,
): (session: Session, now: number) => void {
  /** From when on it is written again, ms of `performance.now`. */
  const dueAt = new LRUCache<string, number>({ max: MAX_KEPT })

  return function touch(session, now) {
    const every = writeEvery(policy)
    // A clock that was set back and is set right again must not make an active session look idle.
    session.lastSeenAt = Math.max(session.lastSeenAt, now)
    // Who holds a session for long, as a WebSocket does, may hold one from before a renewal.
    const current = cache.get(session.id)?.session
    if (current !== undefined) current.lastSeenAt = Math.max(current.lastSeenAt, now)
    const at = performance.now()
    const due = dueAt.get(session.id)
    // What is not known here was written when it began, unless the clock says that this is still to come.
    const isDue = due === undefined ? now < session.createdAt || now >= session.createdAt + every : at >= due
    if (!isDue) return
    dueAt.set(session.id, at + every)
    store.touch(session.id, now, recordLife(policy, session, now)).catch(() => {
      // Not with every request: a store that refuses would be asked all the time.
      dueAt.set(session.id, performance.now() + Math.min(every, RETRY_AFTER))
    })
  }
}

function writeEvery({ idleTimeout }: SessionPolicy): number {
  return Math.min(WRITE_EVERY, (idleTimeout ?? Number.POSITIVE_INFINITY) / 4)
}
