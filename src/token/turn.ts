import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Store } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'

const LOOK_EVERY_MS = 100

/** What came of waiting for one's turn to refresh a session, among all processes. */
export type Turn =
  /** It is this process's; `session` is as the store has it, `abandoned` when somebody before never finished. */
  | { readonly type: 'mine', readonly session: Session, readonly abandoned: boolean, readonly release: () => Promise<void> }
  /** Another process has renewed it meanwhile. */
  | { readonly type: 'done', readonly session: Session }
  /** Another process is at it, and nobody needs to wait. */
  | { readonly type: 'busy' }
  | { readonly type: 'over' }

interface Parts {
  readonly store: Pick<Store, 'lock' | 'unlock'>
  readonly sessions: Pick<Sessions, 'reload'>
  readonly metrics: Metrics
  /** The lock's life, ms: longer than a call to the provider. */
  readonly life: number
}

/**
 * Takes the lock of a session and reads the session anew, or, with `wait`, waits until whoever has the lock is done.
 * Rejects with `store_unavailable`: without the lock nobody refreshes.
 */
export async function takeTurn({ store, sessions, metrics, life }: Parts, seen: Session, wait: boolean): Promise<Turn> {
  const holder = randomBytes(9).toString('base64url')
  const stop = metrics.lockWaitSeconds.startTimer()
  try {
    for (;;) {
      const lock = await store.lock(seen.id, holder, life)
      const session = await sessions.reload(seen.ticket, Date.now())
      const release = (): Promise<void> => store.unlock(seen.id, holder)
      if (session === null || session.version > seen.version) {
        if (lock.acquired) await release()
        return session === null ? { type: 'over' } : { type: 'done', session }
      }
      if (lock.acquired) return { type: 'mine', session, abandoned: lock.abandoned, release }
      if (!wait) return { type: 'busy' }
      await sleep(LOOK_EVERY_MS)
    }
  } finally {
    stop()
  }
}
