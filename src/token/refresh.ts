import { causes } from '../errors.ts'
import { ForeignIdentity, refreshTokens, type RefreshResult } from '../oidc/grants.ts'
import { revokeRefreshToken } from '../oidc/logout.ts'
import type { Provider } from '../oidc/provider.ts'
import { refusalOf, retryAfterOf } from '../oidc/refusal.ts'
import { sidOf } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import { absoluteEnd } from '../session/session.ts'
import type { SessionChange, Sessions } from '../session/sessions.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { cooldownUntil } from './clock.ts'

/** What became of a refresh. */
export type RefreshOutcome =
  | { readonly type: 'refreshed', readonly session: Session }
  | { readonly type: 'ended' }
  /** The session goes on with what it has; seconds until another try makes sense. */
  | { readonly type: 'failed', readonly retryAfter: number }

/** Why a refresh was wanted, for the metrics. */
export type RefreshCause = 'due' | 'expired' | 'asked' | 'upstream'

/** Renews sessions' tokens, one grant at a time for each session. */
export interface Refresher {
  /** Refreshes now, or joins the refresh that is under way, or says what the last one came to while it still counts. Never rejects. */
  refresh(session: Session, cause: RefreshCause, now: number): Promise<RefreshOutcome>
  /** Whether another try is held back at `now`, by the cooldown after a refresh or by the pause after a failure. */
  heldBack(session: Session, now: number): boolean
  /** The OAuth `error`, or a word of ours, of the last refresh when it failed. */
  lastError(session: Session): string | null
  /** Resolves when nothing is under way. */
  settled(): Promise<void>
}

interface Failure { readonly count: number, readonly until: number, readonly error: string }

const PAUSE_FIRST = 1_000
const PAUSE_MOST = 30_000
const MAX_FAILURES_KEPT = 10_000

interface Parts {
  readonly provider: Provider
  readonly sessions: Sessions
  readonly log: Log
  readonly metrics: Metrics
}

function seconds(until: number, now: number): number {
  return Math.max(1, Math.ceil((until - now) / 1000))
}

/** Makes the one place where refresh tokens are redeemed. */
export function createRefresher({ provider, sessions, log, metrics }: Parts): Refresher {
  const flights = new Map<string, Promise<RefreshOutcome>>()
  const failures = new Map<string, Failure>()
  sessions.onEnd((id) => { failures.delete(id) })

  async function save(session: Session, result: RefreshResult, now: number): Promise<RefreshOutcome> {
    const { identity, tokens } = result
    const change: SessionChange = {
      tokens,
      refreshedAt: now,
      ...(identity === null ? {} : {
        idToken: identity.idToken,
        claims: identity.claims,
        sid: sidOf(identity.idTokenClaims) ?? session.sid,
        endsAt: absoluteEnd(sessions.policy, session.createdAt, identity.idTokenClaims.exp * 1000),
      }),
    }
    const renewed = await sessions.renew(session, change, now)
    if (renewed !== null) return { type: 'refreshed', session: renewed }
    // It ended while the provider was being asked: the new refresh token must not outlive it.
    await revokeRefreshToken(provider, tokens.refreshToken, log)
    return { type: 'ended' }
  }

  async function refuse(session: Session, error: unknown, now: number): Promise<RefreshOutcome> {
    const refusal = error instanceof ForeignIdentity ? 'invalid-grant' : refusalOf(error)
    const expired = session.tokens.expiresAt !== null && now >= session.tokens.expiresAt
    const over = refusal === 'invalid-grant' || (refusal === 'rejected' && expired)
    log.warn({ event: 'refresh_failed', session: session.id, refusal, ended: over, cause: causes(error) }, 'tokens could not be renewed')
    if (over) {
      await sessions.end(session, 'refused')
      return { type: 'ended' }
    }
    const count = (failures.get(session.id)?.count ?? 0) + 1
    const asked = retryAfterOf(error)
    const pause = Math.min(PAUSE_MOST, Math.max(PAUSE_FIRST * 2 ** (count - 1), (asked ?? 0) * 1000))
    const word = error instanceof Error && 'error' in error && typeof error.error === 'string' ? error.error : 'provider_unavailable'
    if (failures.size >= MAX_FAILURES_KEPT) failures.clear()
    failures.set(session.id, { count, until: now + pause, error: word })
    return { type: 'failed', retryAfter: seconds(now + pause, now) }
  }

  async function fly(seen: Session, cause: RefreshCause, now: number): Promise<RefreshOutcome> {
    // What the caller has seen may be older than the last refresh, and its refresh token spent.
    const session = await sessions.load(seen.ticket, now)
    if (session === null) return { type: 'ended' }
    if (session.version > seen.version) return { type: 'refreshed', session }
    let outcome: RefreshOutcome
    try {
      const result = await refreshTokens(provider, session, now, log)
      failures.delete(session.id)
      outcome = await save(session, result, now)
    } catch (error) {
      outcome = await refuse(session, error, Date.now())
    }
    metrics.refreshes.inc({ outcome: outcome.type, cause })
    return outcome
  }

  return {
    refresh(session, cause, now) {
      const underWay = flights.get(session.id)
      if (underWay !== undefined) return underWay
      const failure = failures.get(session.id)
      if (failure !== undefined && failure.until > now) {
        return Promise.resolve({ type: 'failed', retryAfter: seconds(failure.until, now) })
      }
      if (cooldownUntil(session) > now) return Promise.resolve({ type: 'refreshed', session })
      const mine = fly(session, cause, now)
        .catch((error: unknown): RefreshOutcome => {
          log.error({ event: 'refresh_failed', session: session.id, cause: causes(error) }, 'the store failed during a refresh')
          return { type: 'failed', retryAfter: 5 }
        })
        .finally(() => { flights.delete(session.id) })
      flights.set(session.id, mine)
      return mine
    },
    heldBack: (session, now) => (failures.get(session.id)?.until ?? 0) > now || cooldownUntil(session) > now,
    lastError: (session) => failures.get(session.id)?.error ?? null,
    async settled() {
      while (flights.size > 0) await Promise.allSettled(flights.values())
    },
  }
}
