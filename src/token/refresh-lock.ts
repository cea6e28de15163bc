import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { exponentialBackoff } from '../resilience/backoff.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'

const pollPauseMs = exponentialBackoff(50, 250)
/** Grace period for a previous lock holder that lost its store connection to save its result. */
const ABANDONED_GRACE_MS = 2_000

/** The outcome of an attempt to take a session's refresh lock, which all processes share. */
export type LockOutcome =
  /**
   * This process holds the lock. `session` is the version in the store; `abandoned` tells that the previous holder
   * never finished. Neither `release` nor `keep` rejects.
   */
  | {
      readonly type: 'mine'
      readonly session: Session
      readonly abandoned: boolean
      /** Unlocks the session. */
      readonly release: () => Promise<void>
      /** Leaves the lock to expire, so that no other process takes it too early. */
      readonly keep: () => void
    }
  /** Another process has already done what the lock was wanted for. */
  | { readonly type: 'done'; readonly session: Session }
  /** Another process holds the lock, and the caller does not wait. */
  | { readonly type: 'busy' }
  /** The session has ended. */
  | { readonly type: 'over' }

interface LockServices {
  readonly store: Pick<Store, 'lock' | 'unlock'>
  readonly sessions: Pick<Sessions, 'reload'>
  readonly metrics: Metrics
  /** Returns whether the latest session already contains what the caller wanted when it had `seen`. */
  readonly isDone: (latest: Session, seen: Session) => boolean
  /** The lock's time to live in ms, longer than a call to the provider. The holder prolongs it. */
  readonly life: number
}

/**
 * Takes a session's refresh lock and reloads the session. With `wait`, waits while another process holds the lock.
 * Prolongs the lock until `release` or `keep` is called. Rejects with `store_unavailable`.
 */
export async function takeLock(services: LockServices, seen: Session, wait: boolean): Promise<LockOutcome> {
  const { store, sessions, metrics, isDone, life } = services
  const holder = randomBytes(9).toString('base64url')
  const stop = metrics.lockWaitSeconds.startTimer()
  const unlock = async (): Promise<void> => {
    try {
      await store.unlock(seen.id, holder)
    } catch {
      // The lock expires.
    }
  }
  try {
    for (let attempt = 1; ; attempt += 1) {
      const { acquired, abandoned } = await store.lock(seen.id, holder, life)
      let session = await sessions.reload(seen.ticket, Date.now())
      if (acquired && abandoned && session?.version === seen.version) {
        await sleep(Math.min(ABANDONED_GRACE_MS, life / 2))
        session = await sessions.reload(seen.ticket, Date.now())
      }
      if (session === null || isDone(session, seen)) {
        if (acquired) await unlock()
        return session === null ? { type: 'over' } : { type: 'done', session }
      }
      if (acquired)
        return { type: 'mine', session, abandoned, ...prolonged(() => store.lock(seen.id, holder, life), unlock, life) }
      if (!wait) return { type: 'busy' }
      await sleep(pollPauseMs(attempt))
    }
  } catch (error) {
    // The store may have locked the session although its answer was lost.
    void unlock()
    throw error
  } finally {
    stop()
  }
}

/** Prolongs a lock, because its holder may call the provider several times and must save every result. */
function prolonged(
  prolong: () => Promise<unknown>,
  unlock: () => Promise<void>,
  life: number,
): Pick<Extract<LockOutcome, { type: 'mine' }>, 'release' | 'keep'> {
  const timer = setInterval(() => {
    prolong().catch(() => {
      // While the store is unreachable, no other process can take the lock either.
    })
  }, life / 3).unref()
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
