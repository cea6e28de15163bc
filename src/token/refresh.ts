import { LRUCache } from 'lru-cache'
import type { Route } from '../config/schema.ts'
import { timeFrom } from '../config/numbers.ts'
import { causes } from '../errors.ts'
import { ForeignIdentity, refreshTokens, type RefreshResult } from '../oidc/grants.ts'
import { revokeRefreshToken } from '../oidc/logout.ts'
import { refreshTokenFromError } from '../oidc/oauth-responses.ts'
import type { Providers } from '../oidc/providers.ts'
import { refusalOf } from '../oidc/oauth-errors.ts'
import { grantForRoute } from '../oidc/route-grants.ts'
import { sidOf, unverifiedClaims, type TokenSet } from '../oidc/token-set.ts'
import { createSemaphore } from '../resilience/semaphore.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { SessionChange } from '../session/changes.ts'
import { type Session } from '../session/session.ts'
import { absoluteEnd, claimsEndAfterFailure } from '../session/lifetime.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Store } from '../store/store.ts'
import { type Log, sessionFields } from '../telemetry/log.ts'
import { countFromZero, providerLabel, type Metrics } from '../telemetry/metrics.ts'
import { createBackoff, type FailedRefresh } from './refresh-backoff.ts'
import { cooldownUntil, isExpired } from './clock.ts'
import type { TokenDenial } from './denial.ts'
import { takeLock, type LockOutcome } from './refresh-lock.ts'

export type Refreshed =
  | { readonly ok: true; readonly session: Session }
  | {
      readonly ok: false
      readonly denial: Extract<TokenDenial, { readonly reason: 'session-expired' | 'token-unavailable' }>
    }

/** The outcome of one refresh. Each `type` is also the value of a metric label. */
type RefreshOutcome =
  | { readonly type: 'refreshed'; readonly session: Session }
  | { readonly type: 'ended' }
  /**
   * The session keeps its current tokens. `retryAfter`: seconds until another attempt makes sense. `stuck`: the token has
   * expired, and only another login can help.
   */
  | { readonly type: 'failed'; readonly retryAfter: number; readonly stuck: boolean }

export type RefreshCause = (typeof CAUSES)[number]

const CAUSES = ['due', 'expired', 'asked', 'upstream'] as const
const OUTCOMES = ['refreshed', 'ended', 'failed'] as const satisfies readonly RefreshOutcome['type'][]

/** Refreshes the tokens of sessions, with at most one grant at a time for each session. */
export interface Refresher {
  /**
   * Refreshes, or joins a pending refresh. Returns the last result during the pause after a failure and the cooldown
   * after a success. Returns the session unchanged if its token is still valid and another process is refreshing it. Never
   * rejects.
   */
  refresh(session: Session, cause: RefreshCause, now: number): Promise<Refreshed>
  /**
   * Redeems the refresh token for another resource or scope, under the same lock as a refresh. Rejects with the errors
   * of `grantForRoute` or of the store, or if the session has ended.
   * @see https://www.rfc-editor.org/rfc/rfc8707#section-2.2
   */
  redeem(session: Session, wanted: Route['token'], now: number): Promise<TokenSet>
  /** Returns whether the next refresh must wait at `now`, for the end of a cooldown or of the pause after a failure. */
  isHeldBack(session: Session, now: number): boolean
  /** Returns the OAuth `error` of the last refresh, or the gateway's own error code, or `null` if it succeeded. */
  lastError(session: Session): string | null
  settled(): Promise<void>
}

/** The lock's time to live beyond the time limit of a call to the provider. */
const LOCK_MARGIN_MS = 5_000
/** The time for which a due refresh is not tried again after another process was found refreshing the session. */
const BUSY_PAUSE_MS = 1_000
const MAX_BUSY = 10_000
/** Limits the burst of refreshes when a provider comes back after an outage. */
const MAX_CONCURRENT_RETRIES = 16
/** How long a retry waits for a permit. A provider that does not respond must not block all sessions. */
const RETRY_WAIT_MS = 2_000

interface RefreshServices {
  readonly providers: Providers
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
export function createRefresher({ providers, store, sessions, log, metrics }: RefreshServices): Refresher {
  const flights = singleFlight<string, Refreshed>()
  const redemptions = new Set<Promise<unknown>>()
  const backoff = createBackoff((session) => providers.of(session).successes())
  const retries = createSemaphore(MAX_CONCURRENT_RETRIES)
  const busyUntil = new LRUCache<string, number>({ max: MAX_BUSY })
  sessions.onEnd((id) => {
    backoff.forget(id)
  })

  const lockServices = (session: Session) => ({
    store,
    sessions,
    metrics,
    lifeMs: providers.of(session).settings.timeout + LOCK_MARGIN_MS,
  })
  for (const { name } of providers.all) {
    for (const cause of CAUSES) countFromZero(metrics.refreshes, 'outcome', OUTCOMES, { cause, ...providerLabel(name) })
  }

  /**
   * Saves the result of a refresh. `keepLock`: the store does not have the result, so the lock must keep other
   * processes from using the spent refresh token.
   */
  async function save(
    session: Session,
    result: RefreshResult,
    now: number,
  ): Promise<{ outcome: RefreshOutcome; keepLock: boolean }> {
    const { identity, claims, areClaimsStale, tokens } = result
    const claimsEndAt = areClaimsStale ? claimsEndAfterFailure(session, now) : null
    const idTokenClaims = identity?.idTokenClaims ?? unverifiedClaims(session.idToken ?? '')
    const expiry = timeFrom(idTokenClaims['exp'])
    const change: SessionChange = {
      tokens,
      refreshedAt: now,
      claimsEndAt,
      ...(claims === null ? {} : { claims }),
      ...(identity === null ? {} : { idToken: identity.idToken, sid: sidOf(identity.idTokenClaims) ?? session.sid }),
      ...(identity === null && claimsEndAt === (session.claimsEndAt ?? null)
        ? {}
        : {
            endsAt: absoluteEnd(
              sessions.policy,
              session.createdAt,
              expiry === null ? null : expiry * 1000,
              claimsEndAt,
            ),
          }),
    }
    const { session: renewed, saved } = await sessions.renew(session, change)
    if (renewed !== null) return { outcome: { type: 'refreshed', session: renewed }, keepLock: !saved }
    await revokeUnsaved({ providers, sessions, log }, session, tokens)
    return { outcome: { type: 'ended' }, keepLock: false }
  }

  async function afterFailure(
    session: Session,
    error: unknown,
    abandoned: boolean,
    now: number,
  ): Promise<RefreshOutcome> {
    const refusal = error instanceof ForeignIdentity ? 'invalid-grant' : refusalOf(error)
    const hasEnded = refusal === 'invalid-grant' || (refusal === 'rejected' && isExpired(session, now))
    // If this process stalled until its lock expired, another process may have redeemed the token in the meantime.
    const latest = await sessions.reload(session.ticket, now).catch((storeError: unknown) => {
      // Without the latest version, the session must not be ended.
      if (hasEnded) throw storeError
      return session
    })
    if (latest === null) return { type: 'ended' }
    if (latest.refreshedAt !== session.refreshedAt) return { type: 'refreshed', session: latest }
    // Another process has redeemed the refresh token for another resource, and `latest` has the new refresh token.
    if (latest.version > session.version) return { type: 'failed', retryAfter: 1, stuck: false }
    log.warn(
      {
        event: 'refresh_failed',
        ...sessionFields(log, session),
        refusal,
        ended: hasEnded,
        abandoned,
        cause: causes(error),
      },
      abandoned && hasEnded
        ? 'a process spent the refresh token and stopped before it could save the new one; the user has to log in again'
        : 'tokens could not be refreshed',
    )
    if (hasEnded) {
      await sessions.end(session, 'refused')
      return { type: 'ended' }
    }
    return failed(backoff.add(session, error))
  }

  async function refreshUnderLock(seen: Session, cause: RefreshCause): Promise<RefreshOutcome> {
    // `isDone` does not compare versions, because a redemption for another resource changes the version too, but does
    // not refresh the session.
    const isDone = (latest: Session): boolean => latest.refreshedAt !== seen.refreshedAt
    const lock = await takeLock({ ...lockServices(seen), isDone }, seen, cause !== 'due')
    if (lock.type === 'ended') return { type: 'ended' }
    if (lock.type === 'done') return { type: 'refreshed', session: lock.session }
    if (lock.type === 'busy') {
      busyUntil.set(seen.id, performance.now() + BUSY_PAUSE_MS)
      return { type: 'refreshed', session: seen }
    }
    const { abandoned, release, keep } = lock
    let { session } = lock
    let keepLock = false
    let outcome: RefreshOutcome
    const saveRefreshToken = async (refreshToken: string): Promise<void> => {
      const tokens = { ...session.tokens, refreshToken }
      const renewed = await sessions.renew(session, { tokens })
      // If the new refresh token could not be saved, the store still has the spent refresh token. The lock prevents
      // other processes from using the spent refresh token.
      keepLock = !renewed.saved
      session = renewed.session ?? session
    }
    try {
      // The time is read after the wait for the lock, because the lifetime of the new tokens counts from the request.
      const requestedAt = Date.now()
      const result = await refreshTokens(providers.of(session), log, saveRefreshToken, session, requestedAt)
      backoff.forget(session.id)
      const saved = await save(session, result, requestedAt)
      outcome = saved.outcome
      keepLock = saved.keepLock
    } catch (error) {
      outcome = await afterFailure(session, error, abandoned, Date.now())
    } finally {
      if (keepLock) keep()
      else await release()
    }
    metrics.refreshes.inc({ outcome: outcome.type, cause, ...providerLabel(seen.provider) })
    if (outcome.type === 'refreshed')
      log.debug({ event: 'refresh', ...sessionFields(log, session), why: cause }, 'tokens were refreshed')
    return outcome
  }

  function waitForLock(session: Session): Promise<LockOutcome> {
    return takeLock({ ...lockServices(session), isDone: () => false }, session, true)
  }

  async function retryWithPermit(seen: Session, cause: RefreshCause): Promise<RefreshOutcome> {
    if (!(await retries.acquire(RETRY_WAIT_MS))) return { type: 'failed', retryAfter: 1, stuck: false }
    try {
      return await refreshUnderLock(seen, cause)
    } finally {
      retries.release()
    }
  }

  return {
    redeem(session, wanted, now) {
      const redemption = redeem({ providers, sessions, log, takeLock: waitForLock }, session, wanted, now)
      redemptions.add(redemption)
      const settle = (): void => {
        redemptions.delete(redemption)
      }
      redemption.then(settle, settle)
      return redemption
    },
    refresh(session, cause, now) {
      const pending = flights.current(session.id)
      if (pending !== null) return pending
      const failure = backoff.activeFailure(session, now)
      if (failure !== null) return Promise.resolve(resultOf(failed(failure)))
      if (cooldownUntil(session, now) > now) return Promise.resolve({ ok: true, session })
      return flights.run(session.id, () => {
        const outcome =
          backoff.lastError(session) === null ? refreshUnderLock(session, cause) : retryWithPermit(session, cause)
        return outcome
          .catch((error: unknown): RefreshOutcome => {
            log.error(
              { event: 'refresh_failed', ...sessionFields(log, session), cause: causes(error) },
              'the store is unavailable, so the tokens were not refreshed',
            )
            metrics.refreshes.inc({ outcome: 'failed', cause, ...providerLabel(session.provider) })
            return failed(backoff.addWithoutStore(session))
          })
          .then(resultOf)
      })
    },
    isHeldBack: (session, now) =>
      (busyUntil.get(session.id) ?? Number.NEGATIVE_INFINITY) > performance.now() ||
      backoff.activeFailure(session, now) !== null ||
      cooldownUntil(session, now) > now,
    lastError: (session) => backoff.lastError(session),
    async settled() {
      for (;;) {
        const pending = [...flights.all(), ...redemptions]
        if (pending.length === 0) return
        await Promise.allSettled(pending)
      }
    },
  }
}

/**
 * Revokes the refresh token of a session that ended during a grant. Does not revoke it after a local logout, except with
 * `revoke: local-too`, nor if a new session has replaced this session: both may share one grant, and a revocation could
 * end the grant for both.
 * @see https://www.rfc-editor.org/rfc/rfc7009#section-2.1
 */
async function revokeUnsaved(
  { providers, sessions, log }: Pick<RedeemServices, 'providers' | 'sessions' | 'log'>,
  session: Session,
  tokens: TokenSet,
): Promise<void> {
  const provider = providers.of(session)
  const reason = await sessions.notedReason(session.id)
  const isLocal = reason === 'local_logout' && provider.settings.logout.revoke !== 'local-too'
  if (reason !== 'renewed' && !isLocal) await revokeRefreshToken(provider, tokens, log)
}

interface RedeemServices {
  readonly providers: Providers
  readonly sessions: Pick<Sessions, 'renew' | 'notedReason'>
  readonly log: Log
  readonly takeLock: (session: Session) => Promise<LockOutcome>
}

async function redeem(
  { providers, sessions, log, takeLock }: RedeemServices,
  seen: Session,
  wanted: Route['token'],
  now: number,
): Promise<TokenSet> {
  const lock = await takeLock(seen)
  if (lock.type !== 'acquired') throw new Error('the session has ended')
  const { session, release, keep } = lock
  let keepLock = false

  /** Saves the new refresh token, because a provider that rotates refresh tokens has revoked the old one. */
  async function save(refreshToken: string | null): Promise<void> {
    if (refreshToken === null || refreshToken === session.tokens.refreshToken) return
    const tokens = { ...session.tokens, refreshToken }
    const { session: renewed, saved } = await sessions.renew(session, { tokens })
    keepLock = !saved
    if (renewed !== null) return
    await revokeUnsaved({ providers, sessions, log }, session, tokens)
    throw new Error('the session has ended')
  }

  try {
    const token = await grantForRoute(providers.of(session), wanted, session.tokens, now).catch(
      async (error: unknown) => {
        await save(refreshTokenFromError(error))
        throw error
      },
    )
    await save(token.refreshToken)
    return token
  } finally {
    if (keepLock) keep()
    else await release()
  }
}
