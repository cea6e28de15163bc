import { isUnreachable, refusalOf, retryAfterOf, statusOf, type Refusal } from '../oidc/refusal.ts'
import type { Session } from '../session/session.ts'
import { isExpired } from './clock.ts'

/** A refresh that failed. */
export interface FailedRefresh {
  /** Until when (ms of `performance.now`) it is not tried again. */
  readonly until: number
  /** What the provider says has been unclear for a minute with an expired token: only another login can help. */
  readonly stuck: boolean
}

/** The refreshes that failed, by session: each failure in a row doubles the pause. */
export interface Backoff {
  /** Takes note of what the provider said. */
  add(session: Session, error: unknown): FailedRefresh
  /** Takes note that there was no store to do it with: that pause is short. */
  addWithoutStore(session: Session): FailedRefresh
  /**
   * The failure that still counts at `now` (ms since the epoch). A no that came while the token was valid does not when it has expired, and an outage
   * does not once the provider has granted something to anybody.
   */
  standing(session: Session, now: number): FailedRefresh | null
  /** The OAuth `error` of the last one, or a word of ours, whether it still counts or not; `null` where there is none. */
  lastError(session: Session): string | null
  /** The session was refreshed, or is over. */
  forget(id: string): void
}

/** Times are ms of `performance.now`, so that a change of the wall clock does not move them. */
interface Kept {
  readonly at: number
  readonly until: number
  /** The same where the token has expired, so that users wait for the next try. */
  readonly untilExpired: number
  readonly error: string
  readonly count: number
  readonly refusal: Refusal
  /**
   * Since when its answers, of this status, have been unclear without the provider being down, or `null`. Answers that
   * change show that the provider is being repaired.
   */
  readonly unclear: { readonly since: number; readonly status: number } | null
  /** Where it is about the provider as a whole: how often that had granted something by then. */
  readonly successes: number | null
}

const PAUSE_FIRST = 1_000
const PAUSE_MOST = 30_000
const PAUSE_MOST_EXPIRED = 5_000
/** The shortest pause before a retry, ms, even if the provider works for others. */
const PAUSE_LEAST = 500
const STUCK_AFTER = 60_000
const MAX_KEPT = 10_000

/** Nothing has failed yet. `successes` is another number whenever the provider has granted something. */
export function createBackoff(successes: () => number): Backoff {
  const kept = new Map<string, Kept>()

  function keep(session: Session, failure: Kept): FailedRefresh {
    if (kept.size >= MAX_KEPT) kept.clear()
    kept.set(session.id, failure)
    return asSeen(session, failure, Date.now())
  }

  return {
    add(session, error) {
      const at = performance.now()
      const before = kept.get(session.id)
      const count = (before?.count ?? 0) + 1
      const refusal = refusalOf(error)
      const isDown = isUnreachable(error)
      const asked = retryAfterOf(error)
      const status = statusOf(error)
      const pause = PAUSE_FIRST * 2 ** (count - 1)
      const atLeast = Math.min(PAUSE_MOST, (asked ?? 0) * 1000)
      return keep(session, {
        at,
        until: at + Math.max(atLeast, Math.min(PAUSE_MOST, pause)),
        untilExpired: at + Math.max(atLeast, pause < PAUSE_MOST_EXPIRED ? pause : withJitter(PAUSE_MOST_EXPIRED)),
        error: wordOf(error) ?? (isDown ? 'provider_unavailable' : 'invalid_response'),
        count,
        refusal,
        unclear:
          refusal !== 'unclear' || isDown
            ? null
            : before?.unclear?.status === status
              ? before.unclear
              : { since: at, status },
        // A provider that sends Retry-After is not down.
        successes: (isDown && asked === null) || wordOf(error) === 'invalid_client' ? successes() : null,
      })
    },
    addWithoutStore(session) {
      const at = performance.now()
      return keep(session, {
        at,
        until: at + PAUSE_FIRST,
        untilExpired: at + PAUSE_FIRST,
        error: 'store_unavailable',
        count: 0,
        refusal: 'unclear',
        unclear: null,
        successes: null,
      })
    },
    standing(session, now) {
      const failure = kept.get(session.id)
      if (failure === undefined) return null
      if (failure.refusal === 'rejected' && isExpired(session, now)) return null
      const isOver = failure.successes !== null && failure.successes !== successes()
      const seen = asSeen(session, failure, now)
      const until = isOver ? Math.min(seen.until, failure.at + PAUSE_LEAST) : seen.until
      return until <= performance.now() ? null : { ...seen, until }
    },
    lastError: ({ id }) => kept.get(id)?.error ?? null,
    forget(id) {
      kept.delete(id)
    },
  }
}

function asSeen(session: Session, { until, untilExpired, unclear }: Kept, now: number): FailedRefresh {
  if (!isExpired(session, now)) return { until, stuck: false }
  const expiredFor = now - (session.tokens.expiresAt ?? now)
  const unclearFor = unclear === null ? 0 : performance.now() - unclear.since
  return { until: untilExpired, stuck: Math.min(expiredFor, unclearFor) >= STUCK_AFTER }
}

/** A fifth less at most: sessions that failed together do not all come back together. */
function withJitter(ms: number): number {
  return ms * (0.8 + 0.2 * Math.random())
}

function wordOf(error: unknown): string | null {
  return error instanceof Error && 'error' in error && typeof error.error === 'string' ? error.error : null
}
