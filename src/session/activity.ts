import { LRUCache } from 'lru-cache'
import type { Store } from '../store/store.ts'
import type { AtHand } from './at-hand.ts'
import type { Session, SessionPolicy } from './session.ts'

/** Activity is written to the store at most this often, ms. */
const WRITE_EVERY = 60_000
/** What could not be written is tried again with the first activity after this long, ms. */
const RETRY_AFTER = 2_000
const MAX_KEPT = 20_000

/** How long a record has to live in the store from `now` on, ms: until its end, or until it would be idle. */
export function recordLife(policy: SessionPolicy, session: Session, now: number): number {
  const idle = policy.idleTimeout === null ? Number.POSITIVE_INFINITY : policy.idleTimeout + 2 * writeEvery(policy)
  return Math.max(1, Math.ceil(Math.min(session.endsAt - now, idle)))
}

/** Makes `Sessions.touch`: activity counts here at once, and is written to the store now and then. */
export function createActivity(
  store: Pick<Store, 'touch'>,
  atHand: Pick<AtHand, 'get'>,
  policy: SessionPolicy,
): (session: Session, now: number) => void {
  /** From when on it is written again, ms of `performance.now`. */
  const dueAt = new LRUCache<string, number>({ max: MAX_KEPT })

  return function touch(session, now) {
    const every = writeEvery(policy)
    // A clock that was set back and is set right again must not make an active session look idle.
    session.lastSeenAt = Math.max(session.lastSeenAt, now)
    // Who holds a session for long, as a WebSocket does, may hold one from before a renewal.
    const current = atHand.get(session.id)?.session
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
