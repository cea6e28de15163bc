import { LRUCache } from 'lru-cache'
import { Fault, causes } from '../errors.ts'
import type { LoginResult } from '../oidc/callback.ts'
import { sidOf } from '../oidc/token-set.ts'
import type { Criterion, Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createAtHand, type Kept } from './at-hand.ts'
import { createPerseverance } from './perseverance.ts'
import { fromRecord, toRecord } from './record.ts'
import { absoluteEnd, endedBecause, type EndReason, type Session, type SessionPolicy } from './session.ts'
import { newTicket, type Ticket } from './ticket.ts'

/** Activity is written to the store at most this often, ms. */
const TOUCH_EVERY = 60_000
const MAX_TOUCHES = 20_000
/** A session at hand is used without asking while notices of changes have come in no longer ago than this, ms. */
const TRUST = 500
/** What no notice tells (eviction, a flushed store) is looked for in the background this often, ms. */
const LOOK_EVERY = 2_000
/** What nobody has looked for within this time, ms, is looked for before the answer. */
const LOOK_AT_LAST = 4_000
/** How long a request waits for the store to confirm what is at hand, ms. */
const CONFIRM_WITHIN = 700
/** After the store has failed to confirm, it is not asked again for this long, ms. */
const CONFIRM_PAUSE = 500
/** What a store may have lost that came back after trouble: the writes of the last moments before, ms. */
const LAST_MOMENTS = 5_000
const MAX_LAST_ENDS = 1_000
/** A session that could not be created for certain is removed, ms at most. */
const UNDO_FOR = 600_000

/** The sessions of this gateway. All times are ms since the epoch. */
export interface Sessions {
  readonly policy: SessionPolicy
  /**
   * The living session of a ticket, `null` when it has ended or its data is gone. At once when it is at hand; a promise
   * only when the store has to be asked, which rejects with `store_unavailable` when it can't be and the session has not
   * been confirmed for longer than `outageGrace`.
   */
  load(ticket: Ticket, now: number): Session | null | Promise<Session | null>
  /** The same from the store in any case. */
  reload(ticket: Ticket, now: number): Promise<Session | null>
  /** Begins a session; where the user has too many then, the oldest ends. Rejects with `store_unavailable`. */
  create(login: LoginResult, origin: string, now: number, asked?: string | null): Promise<Session>
  /** Saves changed tokens or claims. */
  renew(session: Session, change: SessionChange, now: number): Promise<Renewed>
  /** Notes that the user did something. */
  touch(session: Session, now: number): void
  /** Ends a session, here at once and in the store as soon as it can be reached. Never rejects. */
  end(session: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void>
  /** Whether a login in the same browser has put another session in this one's place: the cookie may be that one's. */
  wasFollowed(id: string): boolean
  /** Ends a session by its id alone; `false` when there was none. Rejects with `store_unavailable`. */
  endById(id: string, reason: EndReason): Promise<boolean>
  /** Living sessions, the oldest first. Rejects with `store_unavailable`. */
  find(criterion: Criterion): Promise<SessionSummary[]>
  /** Calls back for each session that ends, by whatever cause this process learns of. */
  onEnd(listener: (id: string, reason: EndReason) => void): void
  /** Resolves when nothing waits to be written any more, at the latest after `most` ms. */
  settled(most: number): Promise<void>
}

/** What a refresh can change. */
export type SessionChange = Partial<Pick<Session, 'claims' | 'idToken' | 'tokens' | 'sid' | 'refreshedAt' | 'endsAt'>>

/** What became of a change. `session` is `null` when it had ended, which stands; a newer one when another process was first. */
export interface Renewed {
  readonly session: Session | null
  /** `false` while the store can't be reached: it is written as soon as it can. */
  readonly saved: boolean
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

/** Opens the sessions that live in a store. What `settings` says may change. */
export function openSessions({ store, settings: policy, log, metrics }: Parts): Sessions {
  const atHand = createAtHand()
  const perseverance = createPerseverance()
  const writtenAt = new LRUCache<string, number>({ max: MAX_TOUCHES })
  const reading = new Map<string, Promise<Session | null>>()
  /** Sessions whose newest version waits for the store. */
  const unsaved = new Set<string>()
  /** When sessions have ended here. */
  const lastEnds = new LRUCache<string, number>({ max: MAX_LAST_ENDS })
  const followedIds = new LRUCache<string, true>({ max: MAX_TOUCHES })
  const listeners: ((id: string, reason: EndReason) => void)[] = []
  const touchEvery = (): number => Math.min(TOUCH_EVERY, (policy.idleTimeout ?? Number.POSITIVE_INFINITY) / 4)
  const isShared = store.size() === null
  const hits = metrics.sessionCache.labels({ result: 'hit' })
  let confirmPausedUntil = 0

  store.listen({
    changed: (id, version) => { atHand.noteChange(id, version) },
    // Counted where it was ended.
    gone: (id) => { forget(id, 'lost') },
    evicted(id) {
      forget(id, 'lost')
      metrics.sessionsEnded.inc({ reason: 'lost' })
    },
    restored(troubledSince) {
      confirmPausedUntil = 0
      for (const [id, endedAt] of lastEnds.entries()) if (endedAt > troubledSince - LAST_MOMENTS) removeAtLast(id, Date.now() + UNDO_FOR)
    },
  })

  function ttl(session: Session, now: number): number {
    const idle = policy.idleTimeout === null ? Number.POSITIVE_INFINITY : policy.idleTimeout + 2 * touchEvery()
    return Math.max(1, Math.ceil(Math.min(session.endsAt - now, idle)))
  }

  /** Ends it in this process; gives back the session where it was at hand. */
  function forget(id: string, reason: EndReason): Session | null {
    if (atHand.hasEnded(id)) return null
    const known = atHand.end(id)
    for (const listener of listeners) listener(id, reason)
    return known
  }

  /** Its data is gone from the store, by itself when its time was up, else by eviction or worse. */
  function lose(id: string): void {
    const known = atHand.get(id)?.session ?? null
    const reason = (known === null ? null : endedBecause(policy, known, Date.now())) ?? 'lost'
    forget(id, reason)
    if (known === null) return
    metrics.sessionsEnded.inc({ reason })
    if (reason === 'lost') log.warn({ event: 'session_lost', session: id }, 'the store has lost a session')
  }

  async function remove(id: string, reason: EndReason): Promise<boolean> {
    const removed = await store.remove(id)
    if (removed) metrics.sessionsEnded.inc({ reason })
    return removed
  }

  function removeAtLast(id: string, until: number, reason: EndReason | null = null): void {
    perseverance.persist(async () => { await (reason === null ? store.remove(id) : remove(id, reason)) }, until)
  }

  async function end({ id, endsAt }: Pick<Session, 'id' | 'endsAt'>, reason: EndReason): Promise<void> {
    if (reason === 'renewed' || reason === 'replaced') followedIds.set(id, true)
    if (atHand.hasEnded(id)) return
    forget(id, reason)
    log.info({ event: 'session_ended', reason, session: id }, 'a session has ended')
    lastEnds.set(id, Date.now())
    try {
      await remove(id, reason)
    } catch {
      removeAtLast(id, endsAt, reason)
    }
  }

  async function endById(id: string, reason: EndReason): Promise<boolean> {
    const removed = await remove(id, reason)
    forget(id, reason)
    lastEnds.set(id, Date.now())
    if (removed) log.info({ event: 'session_ended', reason, session: id }, 'a session has ended')
    return removed
  }

  /** What is over by the clock is removed on the side: the answer does not wait for it. */
  function living(session: Session | null, now: number): Session | null {
    const reason = session === null ? null : endedBecause(policy, session, now)
    if (session === null || reason === null) return session
    void end(session, reason)
    return null
  }

  async function read(ticket: Ticket): Promise<Session | null> {
    const readAt = Date.now()
    const record = await store.read(ticket.id)
    const known = atHand.get(ticket.id)?.session ?? null
    if (atHand.hasEnded(ticket.id)) return null
    if (record === null) {
      metrics.sessionCache.inc({ result: 'lost' })
      lose(ticket.id)
      return null
    }
    metrics.sessionCache.inc({ result: known === null ? 'miss' : 'confirmed' })
    // What is at hand may be newer than the store: a change that could not be written yet, or was lost with a failed master.
    const session = known !== null && known.version >= record.version ? known : fromRecord(ticket, record)
    if (session === null) return null
    if (session.version > record.version) saveAtLast(session)
    session.lastSeenAt = Math.max(session.lastSeenAt, record.seenAt, known?.lastSeenAt ?? 0)
    atHand.keep(session, readAt)
    return session
  }

  function readOnce(ticket: Ticket): Promise<Session | null> {
    const underWay = reading.get(ticket.id)
    if (underWay !== undefined) return underWay
    const mine = read(ticket).finally(() => { reading.delete(ticket.id) })
    reading.set(ticket.id, mine)
    return mine
  }

  /** Writes a new version; gives back what counts afterwards. */
  async function save(renewed: Session): Promise<Session | null> {
    const outcome = await store.replace(renewed.id, toRecord(renewed), ttl(renewed, Date.now()))
    if (outcome === 'replaced') return renewed
    if (outcome === 'gone') lose(renewed.id)
    else atHand.drop(renewed.id)
    return outcome === 'gone' ? null : read(renewed.ticket)
  }

  function saveAtLast(renewed: Session): void {
    const { id } = renewed
    if (unsaved.has(id)) return
    unsaved.add(id)
    perseverance.persist(async () => {
      const latest = atHand.get(id)?.session ?? renewed
      if (!atHand.hasEnded(id)) await save(latest.version > renewed.version ? latest : renewed)
      unsaved.delete(id)
    }, renewed.endsAt)
  }

  /** Asks the store whether what is at hand still stands; when it does not answer, that counts for `outageGrace`. */
  async function confirm(kept: Kept, ticket: Ticket, now: number): Promise<Session | null> {
    try {
      return living(await lookNow(ticket, now), now)
    } catch (error) {
      if (atHand.hasEnded(ticket.id)) return null
      const { session, readAt } = atHand.get(ticket.id) ?? kept
      const isOver = mayBeOver(session, now)
      if (isOver || now - store.assuredUntil(readAt) >= policy.outageGrace) throw error
      metrics.sessionCache.inc({ result: 'grace' })
      return living(session, now)
    }
  }

  /** Rejects after a while, and at once for a moment after that: the requests of all users would wait otherwise. */
  async function lookNow(ticket: Ticket, now: number): Promise<Session | null> {
    if (now < confirmPausedUntil) throw new Fault('store_unavailable')
    try {
      return await within(readOnce(ticket), CONFIRM_WITHIN)
    } catch (error) {
      confirmPausedUntil = Date.now() + CONFIRM_PAUSE
      throw error
    }
  }

  /** Over as far as is known here; elsewhere it may have been used since, or its end may have moved. */
  function mayBeOver(session: Session, now: number): boolean {
    const reason = endedBecause(policy, session, now)
    return reason !== null && reason !== 'lifetime'
  }

  async function limitSessionsOf({ id, issuer, subject }: Session): Promise<void> {
    if (policy.maxPerUser === null) return
    try {
      const ids = await store.find({ issuer, subject })
      await Promise.all(ids.slice(0, Math.max(0, ids.length - policy.maxPerUser)).map((one) => endById(one, 'max_per_user')))
    } catch (error) {
      log.warn({ event: 'limit_not_kept', session: id, cause: causes(error) }, 'the user may have more sessions than maxPerUser now')
    }
  }

  return {
    policy,

    load(ticket, now) {
      const kept = atHand.get(ticket.id)
      if (kept === null) return atHand.hasEnded(ticket.id) ? null : readOnce(ticket).then((found) => living(owned(found, ticket), now))
      const { session, readAt, outdated } = kept
      if (session.ticket.key !== ticket.key) return null
      if (isShared) {
        const isUnsure = outdated || now - readAt > LOOK_AT_LAST || store.assuredUntil(readAt) < now - TRUST || mayBeOver(session, now)
        if (isUnsure) return confirm(kept, ticket, now)
        if (now - readAt > LOOK_EVERY) {
          readOnce(ticket).catch(() => {
            // Only looking: what is at hand stays good as long as the notices come in.
          })
        }
      }
      hits.inc()
      return living(session, now)
    },

    reload: async (ticket, now) => living(owned(await read(ticket), ticket), now),

    async create(login, origin, now, asked = null) {
      const ticket = newTicket()
      const session: Session = {
        id: ticket.id, ticket, version: 1,
        issuer: login.issuer, subject: login.idTokenClaims.sub, sid: sidOf(login.idTokenClaims), origin,
        claims: login.claims, asked, idToken: login.idToken, tokens: login.tokens,
        createdAt: now, refreshedAt: now, lastSeenAt: now,
        endsAt: absoluteEnd(policy, now, login.idTokenClaims.exp * 1000),
      }
      try {
        await store.create(session.id, toRecord(session), session, ttl(session, now))
      } catch (error) {
        // Its answer may be all that was lost: nobody will ever come with this ticket.
        removeAtLast(session.id, now + UNDO_FOR)
        throw error
      }
      atHand.keep(session, now)
      metrics.sessionsBegun.inc()
      await limitSessionsOf(session)
      return session
    },

    async renew(session, change, now) {
      const renewed: Session = { ...session, ...change, version: session.version + 1 }
      try {
        const written = await save(renewed)
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, atHand.get(session.id)?.session.lastSeenAt ?? 0)
        if (written === renewed) atHand.keep(renewed, now)
        return { session: atHand.hasEnded(session.id) ? null : written, saved: true }
      } catch {
        // The old refresh token may be spent: losing the new one would cost the session.
        if (atHand.hasEnded(session.id)) return { session: null, saved: true }
        renewed.lastSeenAt = Math.max(renewed.lastSeenAt, atHand.get(session.id)?.session.lastSeenAt ?? 0)
        atHand.keep(renewed, atHand.get(session.id)?.readAt ?? now)
        log.warn({ event: 'save_delayed', session: session.id }, 'renewed tokens wait for the store to come back')
        saveAtLast(renewed)
        return { session: renewed, saved: false }
      }
    },

    touch(session, now) {
      session.lastSeenAt = now
      // Who holds a session for long, as a WebSocket does, may hold one from before a renewal.
      const current = atHand.get(session.id)?.session
      if (current !== undefined) current.lastSeenAt = now
      if (now - (writtenAt.get(session.id) ?? session.createdAt) < touchEvery()) return
      writtenAt.set(session.id, now)
      store.touch(session.id, now, ttl(session, now)).catch(() => { writtenAt.delete(session.id) })
    },

    end,
    endById,
    wasFollowed: (id) => followedIds.has(id),

    async find(criterion) {
      const ids = await store.find(criterion)
      const records = await Promise.all(ids.map(async (id) => ({ id, record: await store.read(id) })))
      return records.flatMap(({ id, record }) => (
        record === null ? [] : [{ id, createdAt: record.createdAt, lastSeenAt: record.seenAt, endsAt: record.endsAt }]
      ))
    },

    onEnd: (listener) => { listeners.push(listener) },

    async settled(most) {
      const left = await perseverance.settled(most)
      if (left > 0) log.error({ event: 'not_saved', left }, 'the store did not come back in time: ended sessions may live on, renewed tokens are lost')
    },
  }
}

/** A ticket with another key belongs to nobody. */
function owned(session: Session | null, ticket: Ticket): Session | null {
  return session?.ticket.key === ticket.key ? session : null
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => { timer = setTimeout(() => { reject(new Fault('store_unavailable')) }, ms) })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
