import { LRUCache } from 'lru-cache'
import type { Route } from '../config/schema.ts'
import { causes } from '../errors.ts'
import { ForeignIdentity, refreshTokens, type RefreshResult } from '../oidc/grants.ts'
import { revokeRefreshToken } from '../oidc/logout.ts'
import { refreshTokenBeside } from '../oidc/oauth-answers.ts'
import type { Provider } from '../oidc/provider.ts'
import { refusalOf } from '../oidc/refusal.ts'
import { grantForRoute } from '../oidc/route-grants.ts'
import { sidOf, type TokenSet } from '../oidc/token-set.ts'
import { createSemaphore } from '../resilience/semaphore.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { SessionChange } from '../session/changes.ts'
import { type Session, absoluteEnd } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createBackoff, type FailedRefresh } from './backoff.ts'
import { cooldownUntil, isExpired } from './clock.ts'
import type { TokenDenial } from './denial.ts'
import { takeLock, type LockOutcome } from './refresh-lock.ts'

/** The session after a refresh, or why it has no new tokens. */
export type Refreshed =
  | { readonly ok: true; readonly session: Session }
  | {
      readonly ok: false
      readonly denial: Extract<TokenDenial, { readonly reason: 'session-expired' | 'token-unavailable' }>
    }

/** The outcome of one refresh. Its types are labels of a metric. */
type RefreshOutcome =
  | { readonly type: 'refreshed'; readonly session: Session }
  | { readonly type: 'ended' }
  /**
   * The session goes on with the tokens that it has. `retryAfter`: seconds until another attempt makes sense. `stuck`:
   * its token has expired, and only another login can help.
   */
  | { readonly type: 'failed'; readonly retryAfter: number; readonly stuck: boolean }

/** Why a refresh was wanted, for the metrics. */
export type RefreshCause = (typeof CAUSES)[number]

const CAUSES = ['due', 'expired', 'asked', 'upstream'] as const
const OUTCOMES = ['refreshed', 'ended', 'failed'] as const satisfies readonly RefreshOutcome['type'][]

/** Renews sessions' tokens, one grant at a time for each session. */
export interface Refresher {
  /**
   * Refreshes, or joins the refresh that is under way. During the pause after a failure, and the cooldown after a
   * success, returns the last result. Returns the session unchanged when its token is still valid and another process
   * is refreshing. Never rejects.
   */
  refresh(session: Session, cause: RefreshCause, now: number): Promise<Refreshed>
  /**
   * Redeems the refresh token for another resource or scope, under the same lock as refreshes. Rejects like a grant.
   * @see https://www.rfc-editor.org/rfc/rfc8707#section-2.2
   */
  redeem(session: Session, wanted: Route['token'], now: number): Promise<TokenSet>
  /** Whether another refresh is held back at `now`, by the cooldown after one or by the pause after a failure. */
  heldBack(session: Session, now: number): boolean
  /** Returns the OAuth `error` of the last refresh, or the gateway's own word for it; `null` when it succeeded. */
  lastError(session: Session): string | null
  /** Resolves when no refresh is under way. */
  settled(): Promise<void>
}

/** How much longer the lock lives than a call to the provider may take. */
const LOCK_MARGIN_MS = 5_000
/** How long a valid token is left alone after another process was found refreshing it. */
const BUSY_PAUSE_MS = 1_000
const MAX_BUSY = 10_000
/** Bounds the burst of refreshes that a provider gets when it comes back after an outage. */
const RETRIES_AT_ONCE = 16
/** How long a retry waits for its turn: a provider that hangs must not hold up all sessions. */
const RETRY_PATIENCE_MS = 2_000

interface Parts {
  readonly provider: Provider
  readonly store: Store
  readonly sessions: Sessions
  readonly log: Log
  readonly metrics: Metrics
}

function failed({ until, stuck }: FailedRefresh): RefreshOutcome {
  return { type: 'failed', retryAfter: Math.max(1, Math.ceil((until - performance.now()) / 1000)), stuck }
}

function resultOf(outcome: RefreshOutcome): Refreshed {
  switch (outcome.type) {
    case 'refreshed':
      return { ok: true, session: outcome.session }
    case 'ended':
      return { ok: false, denial: { reason: 'session-expired', clearCookie: true } }
    case 'failed':
      return {
        ok: false,
        denial: outcome.stuck
          ? { reason: 'session-expired', clearCookie: false }
          : { reason: 'token-unavailable', retryAfter: outcome.retryAfter },
      }
  }
}

/** Creates the refresher, the only part of the gateway that redeems refresh tokens. */
export function createRefresher({ provider, store, sessions, log, metrics }: Parts): Refresher {
  const flights = singleFlight<string, Refreshed>()
  const redemptions = new Set<Promise<unknown>>()
  const backoff = createBackoff(() => provider.successes())
  const retries = createSemaphore(RETRIES_AT_ONCE)
  const busyUntil = new LRUCache<string, number>({ max: MAX_BUSY })
  sessions.onEnd((id) => {
    backoff.forget(id)
  })

  const lockParts = { store, sessions, metrics, life: provider.settings.timeout + LOCK_MARGIN_MS }
  for (const outcome of OUTCOMES) for (const cause of CAUSES) metrics.refreshes.inc({ outcome, cause }, 0)

  /** `keepLock` while the store does not have the result: no other process may redeem the spent refresh token. */
  async function save(
    session: Session,
    result: RefreshResult,
    now: number,
  ): Promise<{ outcome: RefreshOutcome; keepLock: boolean }> {
    const { identity, claims, tokens } = result
    const change: SessionChange = {
      tokens,
      refreshedAt: now,
      ...(claims === null ? {} : { claims }),
      ...(identity === null
        ? {}
        : {
            idToken: identity.idToken,
            sid: sidOf(identity.idTokenClaims) ?? session.sid,
            endsAt: absoluteEnd(sessions.policy, session.createdAt, identity.idTokenClaims.exp * 1000),
          }),
    }
    const { session: renewed, saved } = await sessions.renew(session, change)
    if (renewed !== null) return { outcome: { type: 'refreshed', session: renewed }, keepLock: !saved }
    // The session ended during the grant, and the new refresh token must not outlive it. The session that has replaced
    // it may live on the same grant, which a revocation could end: https://www.rfc-editor.org/rfc/rfc7009#section-2.1.
    if (!(await sessions.wasRenewed(session.id))) await revokeRefreshToken(provider, tokens.refreshToken, log)
    return { outcome: { type: 'ended' }, keepLock: false }
  }

  async function afterFailure(
    session: Session,
    error: unknown,
    abandoned: boolean,
    now: number,
  ): Promise<RefreshOutcome> {
    const refusal = error instanceof ForeignIdentity ? 'invalid-grant' : refusalOf(error)
    const over = refusal === 'invalid-grant' || (refusal === 'rejected' && isExpired(session, now))
    // A process that stalled past its lock's life comes back with a token that another process has redeemed since.
    const latest = await sessions.reload(session.ticket, now).catch((unread: unknown) => {
      // Without the latest session, the end of this one can't be decided.
      if (over) throw unread
      return session
    })
    if (latest === null) return { type: 'ended' }
    if (latest.refreshedAt !== session.refreshedAt) return { type: 'refreshed', session: latest }
    // Another process has redeemed the refresh token for another resource. Its successor is in the latest session.
    if (latest.version > session.version) return { type: 'failed', retryAfter: 1, stuck: false }
    log.warn(
      { event: 'refresh_failed', session: session.id, refusal, ended: over, abandoned, cause: causes(error) },
      abandoned && over
        ? 'the refresh token was spent by a process that stopped before it could save the new one: the user has ' +
            'to log in again'
        : 'tokens could not be renewed',
    )
    if (over) {
      await sessions.end(session, 'refused')
      return { type: 'ended' }
    }
    return failed(backoff.add(session, error))
  }

  async function refreshUnderLock(seen: Session, cause: RefreshCause): Promise<RefreshOutcome> {
    // A redemption for another resource rotates the refresh token and does not change `refreshedAt`.
    const isDone = (latest: Session): boolean => latest.refreshedAt !== seen.refreshedAt
    const lock = await takeLock({ ...lockParts, isDone }, seen, cause !== 'due')
    if (lock.type === 'over') return { type: 'ended' }
    if (lock.type === 'done') return { type: 'refreshed', session: lock.session }
    if (lock.type === 'busy') {
      busyUntil.set(seen.id, performance.now() + BUSY_PAUSE_MS)
      return { type: 'refreshed', session: seen }
    }
    const { abandoned, release, keep } = lock
    let { session } = lock
    let keepLock = false
    let outcome: RefreshOutcome
    const keepRefreshToken = async (refreshToken: string): Promise<void> => {
      const tokens = { ...session.tokens, refreshToken }
      const kept = await sessions.renew(session, { tokens })
      // While the store is unavailable it holds a spent token: the lock keeps other processes from redeeming it.
      keepLock = !kept.saved
      session = kept.session ?? session
    }
    try {
      // The wait for the lock may have been long, and the lifetime of the new tokens counts from here.
      const askedAt = Date.now()
      const result = await refreshTokens(provider, log, keepRefreshToken, session, askedAt)
      backoff.forget(session.id)
      const saved = await save(session, result, askedAt)
      outcome = saved.outcome
      keepLock = saved.keepLock
    } catch (error) {
      outcome = await afterFailure(session, error, abandoned, Date.now())
    } finally {
      if (keepLock) keep()
      else await release()
    }
    metrics.refreshes.inc({ outcome: outcome.type, cause })
    if (outcome.type === 'refreshed')
      log.debug({ event: 'refresh', session: session.id, why: cause }, 'tokens were renewed')
    return outcome
  }

  function waitForLock(session: Session): Promise<LockOutcome> {
    return takeLock({ ...lockParts, isDone: () => false }, session, true)
  }

  async function refreshInTurn(seen: Session, cause: RefreshCause): Promise<RefreshOutcome> {
    if (!(await retries.acquire(RETRY_PATIENCE_MS))) return { type: 'failed', retryAfter: 1, stuck: false }
    try {
      return await refreshUnderLock(seen, cause)
    } finally {
      retries.release()
    }
  }

  return {
    redeem(session, wanted, now) {
      const redemption = redeem({ provider, sessions, log, takeLock: waitForLock }, session, wanted, now)
      redemptions.add(redemption)
      const settle = (): void => {
        redemptions.delete(redemption)
      }
      redemption.then(settle, settle)
      return redemption
    },
    refresh(session, cause, now) {
      const underWay = flights.current(session.id)
      if (underWay !== null) return underWay
      const failure = backoff.standing(session, now)
      if (failure !== null) return Promise.resolve(resultOf(failed(failure)))
      if (cooldownUntil(session, now) > now) return Promise.resolve({ ok: true, session })
      return flights.run(session.id, () => {
        const outcome =
          backoff.lastError(session) === null ? refreshUnderLock(session, cause) : refreshInTurn(session, cause)
        return outcome
          .catch((error: unknown): RefreshOutcome => {
            log.error(
              { event: 'refresh_failed', session: session.id, cause: causes(error) },
              'without the store nothing is refreshed',
            )
            metrics.refreshes.inc({ outcome: 'failed', cause })
            return failed(backoff.addWithoutStore(session))
          })
          .then(resultOf)
      })
    },
    heldBack: (session, now) =>
      (busyUntil.get(session.id) ?? Number.NEGATIVE_INFINITY) > performance.now() ||
      backoff.standing(session, now) !== null ||
      cooldownUntil(session, now) > now,
    lastError: (session) => backoff.lastError(session),
    async settled() {
      for (;;) {
        const underWay = [...flights.all(), ...redemptions]
        if (underWay.length === 0) return
        await Promise.allSettled(underWay)
      }
    },
  }
}

interface RedeemParts {
  readonly provider: Provider
  readonly sessions: Pick<Sessions, 'renew' | 'wasRenewed'>
  readonly log: Log
  /** Waits until this process has the lock. */
  readonly takeLock: (session: Session) => Promise<LockOutcome>
}

/** Redeems the refresh token for another resource or scope, and saves the refresh token that replaces it. */
async function redeem(parts: RedeemParts, seen: Session, wanted: Route['token'], now: number): Promise<TokenSet> {
  const { provider, sessions, log, takeLock } = parts
  const lock = await takeLock(seen)
  if (lock.type !== 'mine') throw new Error('the session has ended')
  const { session, release, keep } = lock
  let keepLock = false

  /** Saves the new refresh token of a provider that rotates them: the session's own is spent. */
  async function save(refreshToken: string | null): Promise<void> {
    if (refreshToken === null || refreshToken === session.tokens.refreshToken) return
    const tokens = { ...session.tokens, refreshToken }
    const { session: renewed, saved } = await sessions.renew(session, { tokens })
    keepLock = !saved
    if (renewed !== null) return
    // For the same reason as after a refresh, see `save` above.
    if (!(await sessions.wasRenewed(session.id))) await revokeRefreshToken(provider, refreshToken, log)
    throw new Error('the session has ended')
  }

  try {
    const token = await grantForRoute(provider, wanted, session.tokens, now).catch(async (error: unknown) => {
      await save(refreshTokenBeside(error))
      throw error
    })
    await save(token.refreshToken)
    return token
  } finally {
    if (keepLock) keep()
    else await release()
  }
}
