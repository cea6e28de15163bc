import { LRUCache } from 'lru-cache'
import { isUnreachable, refusalOf, retryAfterOf, statusOf, type Refusal } from '../oidc/oauth-errors.ts'
import { exponentialBackoff } from '../resilience/backoff.ts'
import type { Session } from '../session/session.ts'
import { isExpired } from './clock.ts'

export interface FailedRefresh {
  /** The session's tokens are not refreshed before this time, in ms of `performance.now`. */
  readonly until: number
  /**
   * `true` if the token expired at least a minute ago and the provider's responses have been unclear for at least a
   * minute. Only another login can help then.
   */
  readonly stuck: boolean
}

/** Tracks the failed refreshes of each session. Each failure in a row doubles the pause before the next attempt. */
export interface Backoff {
  add(session: Session, error: unknown): FailedRefresh
  /** Records that the store could not be reached. The pause after such a failure is short. */
  addWithoutStore(session: Session): FailedRefresh
  /**
   * Returns the failure that delays the next refresh at `now` (ms since the epoch), or `null`. A rejection does not
   * delay the refresh of an expired token. The pause after an outage is shortened once the provider has granted a
   * request of any session.
   */
  activeFailure(session: Session, now: number): FailedRefresh | null
  /** Returns the OAuth `error` of the last failure, or the gateway's own error code, or `null` without a failure. */
  lastError(session: Session): string | null
  forget(id: string): void
}

/** Times are in ms of `performance.now`, because the wall clock may be set. */
interface Failure {
  readonly at: number
  readonly pauseMs: number
  /** Replaces `pauseMs` once the token has expired, because users then wait for the next attempt. */
  readonly expiredPauseMs: number
  readonly error: string
  /** Number of failures in a row. */
  readonly count: number
  readonly refusal: Refusal
  /**
   * The start of a series of unclear responses with this status from a reachable provider, or `null`. A new status starts
   * a new series, because it suggests that the provider is being repaired.
   */
  readonly unclear: { readonly since: number; readonly status: number } | null
  /**
   * The number of the provider's successes at the time of the failure, or `null` if the failure concerns only this
   * session.
   */
  readonly successes: number | null
}

const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 30_000
const MAX_EXPIRED_PAUSE_MS = 5_000
const pauseMs = exponentialBackoff(FIRST_PAUSE_MS, MAX_PAUSE_MS)
const expiredPauseMs = exponentialBackoff(FIRST_PAUSE_MS, MAX_EXPIRED_PAUSE_MS)
/** The shortest pause before a retry, even if the provider has recovered. */
const MIN_PAUSE_MS = 500
const STUCK_AFTER_MS = 60_000
const MAX_FAILURES = 10_000

/**
 * Returns when the pause after a failure at `failedAt` ends, in ms of the same clock. The pause is shorter if the
 * provider has recovered.
 */
export function pauseUntil(failedAt: number, pause: number, isRecovered: boolean): number {
  return failedAt + (isRecovered ? Math.min(pause, MIN_PAUSE_MS) : pause)
}

/** Creates the backoff. `successes` must return a new number after each grant of the session's provider. */
export function createBackoff(successes: (session: Session) => number): Backoff {
  const failures = new LRUCache<string, Failure>({ max: MAX_FAILURES })

  function keep(session: Session, failure: Failure): FailedRefresh {
    failures.set(session.id, failure)
    return describe(session, failure, Date.now(), false)
  }

  return {
    add(session, error) {
      const at = performance.now()
      const before = failures.get(session.id)
      const count = (before?.count ?? 0) + 1
      const refusal = refusalOf(error)
      const isDown = isUnreachable(error)
      const retryAfter = retryAfterOf(error)
      const status = statusOf(error)
      const leastMs = Math.min(MAX_PAUSE_MS, (retryAfter ?? 0) * 1000)
      return keep(session, {
        at,
        pauseMs: Math.max(leastMs, pauseMs(count)),
        expiredPauseMs: Math.max(leastMs, withJitter(expiredPauseMs(count))),
        error: oauthErrorOf(error) ?? (isDown ? 'provider_unavailable' : 'invalid_response'),
        count,
        refusal,
        unclear:
          refusal !== 'unclear' || isDown
            ? null
            : before?.unclear?.status === status
              ? before.unclear
              : { since: at, status },
        // A provider that sends Retry-After is not down.
        successes:
          (isDown && retryAfter === null) || oauthErrorOf(error) === 'invalid_client' ? successes(session) : null,
      })
    },
    addWithoutStore(session) {
      return keep(session, {
        at: performance.now(),
        pauseMs: FIRST_PAUSE_MS,
        expiredPauseMs: FIRST_PAUSE_MS,
        error: 'store_unavailable',
        count: 0,
        refusal: 'unclear',
        unclear: null,
        successes: null,
      })
    },
    activeFailure(session, now) {
      const failure = failures.get(session.id)
      if (failure === undefined) return null
      if (failure.refusal === 'rejected' && isExpired(session, now)) return null
      const isRecovered = failure.successes !== null && failure.successes !== successes(session)
      const active = describe(session, failure, now, isRecovered)
      return active.until <= performance.now() ? null : active
    },
    lastError: ({ id }) => failures.get(id)?.error ?? null,
    forget(id) {
      failures.delete(id)
    },
  }
}

function describe(session: Session, failure: Failure, now: number, isRecovered: boolean): FailedRefresh {
  const { at, unclear } = failure
  if (!isExpired(session, now)) return { until: pauseUntil(at, failure.pauseMs, isRecovered), stuck: false }
  const expiredFor = now - (session.tokens.expiresAt ?? now)
  const unclearFor = unclear === null ? 0 : performance.now() - unclear.since
  return {
    until: pauseUntil(at, failure.expiredPauseMs, isRecovered),
    stuck: Math.min(expiredFor, unclearFor) >= STUCK_AFTER_MS,
  }
}

/** Shortens the longest pause by up to a fifth, so that sessions that failed at the same time retry at different times. */
function withJitter(ms: number): number {
  return ms < MAX_EXPIRED_PAUSE_MS ? ms : ms * (0.8 + 0.2 * Math.random())
}

function oauthErrorOf(error: unknown): string | null {
  return error instanceof Error && 'error' in error && typeof error.error === 'string' ? error.error : null
}
