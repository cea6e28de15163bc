import { LRUCache } from 'lru-cache'
import type { LoginResult } from '../oidc/callback.ts'
import { sidOf } from '../oidc/token-set.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { fromRecord, toRecord } from './record.ts'
import { absoluteEnd, endedBecause, type EndReason, type Session, type SessionPolicy } from './session.ts'
import { newTicket, type Ticket } from './ticket.ts'

/** How many opened sessions one process keeps at hand. */
const MAX_AT_HAND = 20_000

/** Activity is written to the store at most this often, ms. */
const TOUCH_EVERY = 60_000

/** The sessions of this gateway. All times are ms since the epoch. */
export interface Sessions {
  readonly policy: SessionPolicy
  /**
   * The living session of a ticket, `null` when it has ended or its data is gone. At once when it is at hand; a promise
   * only when the store has to be asked, which rejects with `store_unavailable` when it can't be.
   */
  load(ticket: Ticket, now: number): Session | null | Promise<Session | null>
  /** Begins a session. */
  create(login: LoginResult, origin: string, now: number): Promise<Session>
  /** Saves changed tokens or claims; `null` when the session has ended meanwhile, which stands. */
  renew(session: Session, change: SessionChange, now: number): Promise<Session | null>
  /** Notes that the user did something. */
  touch(session: Session, now: number): void
  /** Ends a session, here at once and in the store. */
  end(session: Session, reason: EndReason): Promise<void>
  /** Calls back for each session that ends, by whatever cause this process learns of. */
  onEnd(listener: (id: string, reason: EndReason) => void): void
}

/** What a refresh can change. */
export type SessionChange = Partial<Pick<Session, 'claims' | 'idToken' | 'tokens' | 'sid' | 'refreshedAt' | 'endsAt'>>

interface Parts {
  readonly store: Store
  readonly policy: SessionPolicy
  readonly log: Log
  readonly metrics: Metrics
}

/** Opens the sessions that live in a store. */
export function openSessions({ store, policy, log, metrics }: Parts): Sessions {
  const atHand = new LRUCache<string, Session>({ max: MAX_AT_HAND })
  const writtenAt = new LRUCache<string, number>({ max: MAX_AT_HAND })
  const loading = new Map<string, Promise<Session | null>>()
  const listeners: ((id: string, reason: EndReason) => void)[] = []
  const touchEvery = Math.min(TOUCH_EVERY, (policy.idleTimeout ?? Number.POSITIVE_INFINITY) / 4)

  function ttl(session: Session, now: number): number {
    const idle = policy.idleTimeout === null ? Number.POSITIVE_INFINITY : policy.idleTimeout + 2 * touchEvery
    return Math.max(1, Math.ceil(Math.min(session.endsAt - now, idle)))
  }

  function keep(session: Session): void {
    atHand.set(session.id, session)
  }

  function forget(id: string, reason: EndReason): void {
    atHand.delete(id)
    metrics.sessionsEnded.inc({ reason })
    for (const listener of listeners) listener(id, reason)
  }

  async function end(session: Session, reason: EndReason): Promise<void> {
    forget(session.id, reason)
    log.info({ event: 'session_ended', reason, session: session.id }, 'a session has ended')
    await store.remove(session.id)
  }

  /** What is over by the clock is removed on the side: the answer does not wait for it. */
  function living(session: Session, now: number): Session | null {
    const reason = endedBecause(policy, session, now)
    if (reason === null) return session
    end(session, reason).catch((error: unknown) => { log.warn({ error }, 'an ended session stays in the store until its time is up') })
    return null
  }

  async function fetch(ticket: Ticket, now: number): Promise<Session | null> {
    const record = await store.read(ticket.id)
    const session = record === null ? null : fromRecord(ticket, record)
    metrics.sessionCache.inc({ result: session === null ? 'lost' : 'miss' })
    if (session === null) return null
    const alive = living(session, now)
    if (alive !== null) keep(alive)
    return alive
  }

  store.onGone((id) => {
    if (atHand.has(id)) forget(id, 'lost')
  })

  return {
    policy,
    load(ticket, now) {
      const session = atHand.get(ticket.id)
      if (session !== undefined) return session.ticket.key === ticket.key ? living(session, now) : null
      const underWay = loading.get(ticket.id)
      if (underWay !== undefined) return underWay.then((found) => (found?.ticket.key === ticket.key ? found : null))
      const mine = fetch(ticket, now).finally(() => loading.delete(ticket.id))
      loading.set(ticket.id, mine)
      return mine
    },

    async create(login, origin, now) {
      const ticket = newTicket()
      const session: Session = {
        id: ticket.id, ticket, version: 1,
        issuer: login.issuer, subject: login.idTokenClaims.sub, sid: sidOf(login.idTokenClaims), origin,
        claims: login.claims, idToken: login.idToken, tokens: login.tokens,
        createdAt: now, refreshedAt: now, lastSeenAt: now,
        endsAt: absoluteEnd(policy, now, login.idTokenClaims.exp * 1000),
      }
      await store.create(session.id, toRecord(session), ttl(session, now))
      keep(session)
      metrics.sessionsBegun.inc()
      return session
    },

    async renew(session, change, now) {
      const renewed: Session = { ...session, ...change, version: session.version + 1 }
      const replaced = await store.replace(renewed.id, toRecord(renewed), ttl(renewed, now))
      if (!replaced) {
        if (atHand.has(session.id)) forget(session.id, 'lost')
        return null
      }
      renewed.lastSeenAt = atHand.get(session.id)?.lastSeenAt ?? session.lastSeenAt
      keep(renewed)
      return renewed
    },

    touch(session, now) {
      session.lastSeenAt = now
      if (now - (writtenAt.get(session.id) ?? session.createdAt) < touchEvery) return
      writtenAt.set(session.id, now)
      store.touch(session.id, now, ttl(session, now)).catch(() => { writtenAt.delete(session.id) })
    },

    end,
    onEnd: (listener) => { listeners.push(listener) },
  }
}
