import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { exponentialBackoff } from '../resilience/backoff.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'

const pollPauseMs = exponentialBackoff(50, 250)
/** The grace period in which a previous holder that lost its store connection may still save its result. */
const ABANDONED_GRACE_MS = 2_000

export type LockOutcome =
  /**
   * This process holds the lock. `session` is the version in the store. `abandoned`: the previous holder never finished.
   * `release` never rejects.
   */
  | {
      readonly type: 'acquired'
      readonly session: Session
      readonly abandoned: boolean
      readonly release: () => Promise<void>
      /** Lets the lock expire instead of releasing it, so that no other process takes it too early. */
      readonly keep: () => void
    }
  /** Another process has already done the work. */
  | { readonly type: 'done'; readonly session: Session }
  /** Another process holds the lock, and the caller does not wait. */
  | { readonly type: 'busy' }
  | { readonly type: 'ended' }

interface LockServices {
  readonly store: Pick<Store, 'lock' | 'unlock'>
  readonly sessions: Pick<Sessions, 'reload'>
  readonly metrics: Metrics
  /** Returns whether the latest session already contains the result that the caller needs. */
  readonly isDone: (latest: Session) => boolean
  /** The lock's time to live, which is longer than a call to the provider. The holder extends it. */
  readonly lifeMs: number
}

/**
 * Takes a session's refresh lock and reloads the session. With `wait`, waits while another process holds the lock.
 * Extends the lock until `release` or `keep` is called. Rejects with `store_unavailable`.
 */
export async function takeLock(services: LockServices, seen: Session, wait: boolean): Promise<LockOutcome> {
  const { store, sessions, metrics, isDone, lifeMs } = services
  const holder = randomBytes(9).toString('base64url')
  const stop = metrics.lockWaitSeconds.startTimer()
  const unlock = async (): Promise<void> => {
    try {
      await store.unlock(seen.id, holder)
    } catch {
      // A lock that is not released expires.
    }
  }
  try {
    for (let attempt = 1; ; attempt += 1) {
      const { acquired, abandoned } = await store.lock(seen.id, holder, lifeMs)
      let session = await sessions.reload(seen.ticket, Date.now())
      if (acquired && abandoned && session?.version === seen.version) {
        await sleep(Math.min(ABANDONED_GRACE_MS, lifeMs / 2))
        session = await sessions.reload(seen.ticket, Date.now())
      }
      if (session === null || isDone(session)) {
        if (acquired) await unlock()
        return session === null ? { type: 'ended' } : { type: 'done', session }
      }
      if (acquired)
        return {
          type: 'acquired',
          session,
          abandoned,
          ...extending(() => store.lock(seen.id, holder, lifeMs), unlock, lifeMs),
        }
      if (!wait) return { type: 'busy' }
      await sleep(pollPauseMs(attempt))
    }
  } catch (error) {
    // The store may have locked the session even though its reply was lost.
    void unlock()
    throw error
  } finally {
    stop()
  }
}

/** Extends a lock regularly, because its holder may call the provider several times and must save every result. */
function extending(
  extend: () => Promise<unknown>,
  unlock: () => Promise<void>,
  lifeMs: number,
): Pick<Extract<LockOutcome, { type: 'acquired' }>, 'release' | 'keep'> {
  const timer = setInterval(() => {
    extend().catch(() => {
      // While the store is unreachable, no other process can take the lock either.
    })
  }, lifeMs / 3).unref()
  const keep = (): void => {
    clearInterval(timer)
  }
  return {
    keep,
    release() {
      keep()
      return unlock()
    },
  }
}
