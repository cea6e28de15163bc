import { refusalOf, retryAfterOf, type Refusal } from '../oidc/refusal.ts'
import type { Session } from '../session/session.ts'
import { isExpired } from './clock.ts'

/** A refresh that failed, and until when (ms of `performance.now`) that is not tried again. */
export interface Failure {
  readonly until: number
  /** The OAuth `error`, or a word of ours. */
  readonly error: string
}

/** The refreshes that failed, by session: each failure in a row doubles the pause. */
export interface Failures {
  /** Takes note of what the provider said. */
  add(session: Session, error: unknown): Failure
  /** Takes note that there was no store to do it with: that pause is short. */
  addWithoutStore(session: Session): Failure
  /** The failure that still counts at `now` (ms since the epoch). A no that came while the token was valid does not when it has expired. */
  standing(session: Session, now: number): Failure | null
  /** The last one, whether it still counts or not. */
  last(session: Session): Failure | null
  /** The session was refreshed, or is over. */
  forget(id: string): void
}

interface Kept extends Failure {
  readonly count: number
  readonly refusal: Refusal
}

const PAUSE_FIRST = 1_000
const PAUSE_MOST = 30_000
const MAX_KEPT = 10_000

/** Nothing has failed yet. */
export function createFailures(): Failures {
  const kept = new Map<string, Kept>()

  function keep(id: string, failure: Kept): Failure {
    if (kept.size >= MAX_KEPT) kept.clear()
    kept.set(id, failure)
    return failure
  }

  return {
    add({ id }, error) {
      const count = (kept.get(id)?.count ?? 0) + 1
      const asked = (retryAfterOf(error) ?? 0) * 1000
      const pause = Math.min(PAUSE_MOST, Math.max(PAUSE_FIRST * 2 ** (count - 1), asked))
      return keep(id, { count, until: performance.now() + pause, error: wordOf(error), refusal: refusalOf(error) })
    },
    addWithoutStore: ({ id }) =>
      keep(id, { count: 0, until: performance.now() + PAUSE_FIRST, error: 'store_unavailable', refusal: 'unclear' }),
    standing(session, now) {
      const failure = kept.get(session.id)
      if (failure === undefined || failure.until <= performance.now()) return null
      return failure.refusal === 'rejected' && isExpired(session, now) ? null : failure
    },
    last: ({ id }) => kept.get(id) ?? null,
    forget(id) {
      kept.delete(id)
    },
  }
}

function wordOf(error: unknown): string {
  const isOAuth = error instanceof Error && 'error' in error && typeof error.error === 'string'
  return isOAuth ? String(error.error) : 'provider_unavailable'
}
