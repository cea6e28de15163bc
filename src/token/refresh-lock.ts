import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'

const LOOK_FIRST_MS = 50
const LOOK_MOST_MS = 250
/** Whoever held the lock last may only have been cut off from the store: so long it gets to save what it has, ms. */
const LAST_CHANCE_MS = 2_000

/** What came of waiting for one's turn to refresh a session, among all processes. */
export type LockOutcome =
  /**
   * It is this process's; `session` is as the store has it, `abandoned` when somebody before never finished. Neither
   * call rejects.
   */
  | {
      readonly type: 'mine'
      readonly session: Session
      readonly abandoned: boolean
      readonly release: () => Promise<void>
      readonly keep: () => void
    }
  /** Somebody else has done meanwhile what the turn was wanted for. */
  | { readonly type: 'done'; readonly session: Session }
  /** Another process is at it, and nobody needs to wait. */
  | { readonly type: 'busy' }
  | { readonly type: 'over' }

interface Parts {
  readonly store: Pick<Store, 'lock' | 'unlock'>
  readonly sessions: Pick<Sessions, 'reload'>
  readonly metrics: Metrics
  /** Whether the session, as the store has it by now, leaves nothing to do for who has last seen it as `seen`. */
  readonly isDone: (latest: Session, seen: Session) => boolean
  /** The lock's life, ms: longer than a call to the provider. It goes on for as long as this process does. */
  readonly life: number
}

/**
 * Takes the lock of a session and reads the session anew, or, with `wait`, waits until whoever has the lock is done.
 * The lock is prolonged until it is released (`release`) or left to run out (`keep`).
 * Rejects with `store_unavailable`: without the lock nobody refreshes.
 */
export async function takeLock(parts: Parts, seen: Session, wait: boolean): Promise<LockOutcome> {
  const { store, sessions, metrics, isDone, life } = parts
  const holder = randomBytes(9).toString('base64url')
  const stop = metrics.lockWaitSeconds.startTimer()
  const unlock = async (): Promise<void> => {
    try {
      await store.unlock(seen.id, holder)
    } catch {
      // It runs out by itself.
    }
  }
  try {
    for (let pause = LOOK_FIRST_MS; ; pause = Math.min(pause * 2, LOOK_MOST_MS)) {
      const { acquired, abandoned } = await store.lock(seen.id, holder, life)
      let session = await sessions.reload(seen.ticket, Date.now())
      if (acquired && abandoned && session?.version === seen.version) {
        await sleep(Math.min(LAST_CHANCE_MS, life / 2))
        session = await sessions.reload(seen.ticket, Date.now())
      }
      if (session === null || isDone(session, seen)) {
        if (acquired) await unlock()
        return session === null ? { type: 'over' } : { type: 'done', session }
      }
      if (acquired)
        return { type: 'mine', session, abandoned, ...prolonged(() => store.lock(seen.id, holder, life), unlock, life) }
      if (!wait) return { type: 'busy' }
      await sleep(pause)
    }
  } catch (error) {
    // The lock may have been taken although its answer, or the session's, did not come.
    void unlock()
    throw error
  } finally {
    stop()
  }
}

/**
 * More than one call to the provider may be needed, and what has been granted must be saved before anybody else asks.
 */
function prolonged(
  prolong: () => Promise<unknown>,
  unlock: () => Promise<void>,
  life: number,
): Pick<Extract<LockOutcome, { type: 'mine' }>, 'release' | 'keep'> {
  const timer = setInterval(() => {
    prolong().catch(() => {
      // While the store is away nobody else can take it either.
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
