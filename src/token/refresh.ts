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
import { takeLock, type LockOutcome } from './refresh-lock.ts'

/** What became of a refresh. */
export type RefreshOutcome =
  | { readonly type: 'refreshed'; readonly session: Session }
  | { readonly type: 'ended' }
  /**
   * The session goes on with what it has; seconds until another try makes sense. `stuck`: its token has expired, and only
   * another login can help.
   */
  | { readonly type: 'failed'; readonly retryAfter: number; readonly stuck: boolean }

/** Why a refresh was wanted, for the metrics. */
export type RefreshCause = (typeof CAUSES)[number]

const CAUSES = ['due', 'expired', 'asked', 'upstream'] as const
const OUTCOMES = ['refreshed', 'ended', 'failed'] as const satisfies readonly RefreshOutcome['type'][]

/** Renews sessions' tokens, one grant at a time for each session. */
export interface Refresher {
  /**
   * Refreshes now, or joins the refresh that is under way, or says what the last one came to while it still counts.
   * Never rejects.
   */
  refresh(session: Session, cause: RefreshCause, now: number): Promise<RefreshOutcome>
  /**
   * Redeems the refresh token for another resource or scope (RFC 8707, section 2.2), in turn with the refreshes.
   * Rejects like a grant.
   */
  redeem(session: Session, wanted: Route['token'], now: number): Promise<TokenSet>
  /** Whether another try is held back at `now`, by the cooldown after a refresh or by the pause after a failure. */
  heldBack(session: Session, now: number): boolean
  /** The OAuth `error`, or a word of ours, of the last refresh when it failed. */
  lastError(session: Session): string | null
  /** Resolves when nothing is under way. */
  settled(): Promise<void>
}

/** How much longer the lock lives than a call to the provider, ms. */
const LOCK_MARGIN = 5_000
/** After another process was found at it, a token that is still valid is left alone for this long, ms. */
const BUSY_PAUSE = 1_000
const MAX_BUSY = 10_000
/** A provider that comes back is not asked at once for all that waited for it: so many tries after a failure at a time. */
const RETRIES_AT_ONCE = 16
/** How long such a try waits for its turn, ms: where the provider hangs, other sessions do not wait behind it. */
const RETRY_PATIENCE = 2_000

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

/** Makes the one place where refresh tokens are redeemed. */
export function createRefresher({ provider, store, sessions, log, metrics }: Parts): Refresher {
  const flights = singleFlight<string, RefreshOutcome>()
  const redemptions = new Set<Promise<unknown>>()
  const backoff = createBackoff(() => provider.successes())
  const retries = createSemaphore(RETRIES_AT_ONCE)
  const busyUntil = new LRUCache<string, number>({ max: MAX_BUSY })
  sessions.onEnd((id) => {
    backoff.forget(id)
  })

  const lockParts = { store, sessions, metrics, life: provider.settings.timeout + LOCK_MARGIN }
  for (const outcome of OUTCOMES) for (const cause of CAUSES) metrics.refreshes.inc({ outcome, cause }, 0)

  /** `keepLock` while the result is not in the store yet: nobody else may redeem the old refresh token. */
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
    // It ended while the provider was being asked: the new refresh token must not outlive it. But the session that has
    // taken its place may live on the same grant, which a revocation could take along (RFC 7009, section 2.1).
    if (!(await sessions.wasRenewed(session.id))) await revokeRefreshToken(provider, tokens.refreshToken, log)
    return { outcome: { type: 'ended' }, keepLock: false }
  }

  async function refuse(session: Session, error: unknown, abandoned: boolean, now: number): Promise<RefreshOutcome> {
    const refusal = error instanceof ForeignIdentity ? 'invalid-grant' : refusalOf(error)
    const over = refusal === 'invalid-grant' || (refusal === 'rejected' && isExpired(session, now))
    // A holder that stalled past its lock's life comes back with a token that somebody else has redeemed since.
    const latest = await sessions.reload(session.ticket, now).catch((unread: unknown) => {
      // Whether the session is over can't be said without.
      if (over) throw unread
      return session
    })
    if (latest === null) return { type: 'ended' }
    if (latest.refreshedAt !== session.refreshedAt) return { type: 'refreshed', session: latest }
    // Somebody else has redeemed it for another resource: with what that brought the next try is good.
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

  async function fly(seen: Session, cause: RefreshCause): Promise<RefreshOutcome> {
    // A redemption for another resource rotates the refresh token and leaves the access token as it was.
    const isDone = (latest: Session): boolean => latest.refreshedAt !== seen.refreshedAt
    const lock = await takeLock({ ...lockParts, isDone }, seen, cause !== 'due')
    if (lock.type === 'over') return { type: 'ended' }
    if (lock.type === 'done') return { type: 'refreshed', session: lock.session }
    if (lock.type === 'busy') {
      busyUntil.set(seen.id, performance.now() + BUSY_PAUSE)
      return { type: 'refreshed', session: seen }
    }
    const { abandoned, release, keep } = lock
    let { session } = lock
    let keepLock = false
    let outcome: RefreshOutcome
    const keepRefreshToken = async (refreshToken: string): Promise<void> => {
      const tokens = { ...session.tokens, refreshToken }
      const kept = await sessions.renew(session, { tokens })
      // While the store is away it has a token that is spent: the lock keeps others from trying it.
      keepLock = !kept.saved
      session = kept.session ?? session
    }
    try {
      // It may have been a long wait: what the provider gives now lives from now on.
      const askedAt = Date.now()
      const result = await refreshTokens(provider, log, keepRefreshToken, session, askedAt)
      backoff.forget(session.id)
      const saved = await save(session, result, askedAt)
      outcome = saved.outcome
      keepLock = saved.keepLock
    } catch (error) {
      outcome = await refuse(session, error, abandoned, Date.now())
    } finally {
      if (keepLock) keep()
      else await release()
    }
    metrics.refreshes.inc({ outcome: outcome.type, cause })
    if (outcome.type === 'refreshed')
      log.debug({ event: 'refresh', session: session.id, why: cause }, 'tokens were renewed')
    return outcome
  }

  async function retry(seen: Session, cause: RefreshCause): Promise<RefreshOutcome> {
    if (!(await retries.acquire(RETRY_PATIENCE))) return { type: 'failed', retryAfter: 1, stuck: false }
    try {
      return await fly(seen, cause)
    } finally {
      retries.release()
    }
  }

  const waitForLock = (one: Session): Promise<LockOutcome> => takeLock({ ...lockParts, isDone: () => false }, one, true)

  return {
    redeem(session, wanted, now) {
      const mine = redeem({ provider, sessions, log, takeLock: waitForLock }, session, wanted, now)
      redemptions.add(mine)
      const settle = (): void => {
        redemptions.delete(mine)
      }
      mine.then(settle, settle)
      return mine
    },
    refresh(session, cause, now) {
      const underWay = flights.current(session.id)
      if (underWay !== null) return underWay
      const failure = backoff.standing(session, now)
      if (failure !== null) return Promise.resolve(failed(failure))
      if (cooldownUntil(session, now) > now) return Promise.resolve({ type: 'refreshed', session })
      return flights.run(session.id, () =>
        (backoff.lastError(session) === null ? fly(session, cause) : retry(session, cause)).catch(
          (error: unknown): RefreshOutcome => {
            log.error(
              { event: 'refresh_failed', session: session.id, cause: causes(error) },
              'without the store nothing is refreshed',
            )
            metrics.refreshes.inc({ outcome: 'failed', cause })
            return failed(backoff.addWithoutStore(session))
          },
        ),
      )
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
  /** Waits for this process's turn. */
  readonly takeLock: (session: Session) => Promise<LockOutcome>
}

/**
 * Redeems the refresh token for another resource or scope (RFC 8707, section 2.2), in turn with the refreshes, and
 * saves the one that replaces it. Rejects like a grant.
 */
async function redeem(parts: RedeemParts, seen: Session, wanted: Route['token'], now: number): Promise<TokenSet> {
  const { provider, sessions, log, takeLock } = parts
  const lock = await takeLock(seen)
  if (lock.type !== 'mine') throw new Error('the session has ended')
  const { session, release, keep } = lock
  let keepLock = false

  /** A provider that rotates has spent the session's own. */
  async function save(refreshToken: string | null): Promise<void> {
    if (refreshToken === null || refreshToken === session.tokens.refreshToken) return
    const tokens = { ...session.tokens, refreshToken }
    const { session: renewed, saved } = await sessions.renew(session, { tokens })
    keepLock = !saved
    if (renewed !== null) return
    // See `save` in refresh.ts.
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
