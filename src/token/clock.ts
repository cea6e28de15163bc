import type { RefreshBefore } from '../config/value-types/amount.ts'
import { numberFrom, timeFrom } from '../config/numbers.ts'
import { unverifiedClaims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'

/** The accepted difference between the clocks of replicas. */
export const CLOCK_SKEW_MS = 60_000
const MAX_COOLDOWN_MS = 60_000
/** The time from a refresh that could not read the claims to the next refresh. */
const CLAIMS_RETRY_MS = 120_000

/** Returns whether the access token has expired at `now` (ms since the epoch). A token without a lifetime never expires. */
export function isExpired(session: Session, now: number): boolean {
  const { expiresAt } = session.tokens
  return expiresAt !== null && now >= expiresAt
}

/**
 * Returns when the access token is due for a refresh, in ms since the epoch, or `null` if its lifetime is unknown. After
 * a refresh that could not read the claims from an API, the next one is due soon.
 */
export function dueAt(session: Session, before: RefreshBefore, now: number): number | null {
  const { expiresAt, issuedAt } = session.tokens
  const { claimsEndAt = null, refreshedAt } = session
  const retryAt = claimsEndAt === null ? Number.POSITIVE_INFINITY : refreshedAt + CLAIMS_RETRY_MS
  if (expiresAt === null) return claimsEndAt === null ? null : retryAt
  // An `issuedAt` in the future shows that the clock was set back, so `expiresAt` is meaningless.
  if (issuedAt > now + CLOCK_SKEW_MS) return now
  const remaining = 'share' in before ? (expiresAt - issuedAt) * before.share : before.duration
  return Math.min(retryAt, Math.max(issuedAt, expiresAt - remaining))
}

interface Times {
  readonly issuedAt: number | null
  readonly expiresAt: number | null
}

/** The times of the sessions' ID tokens, in ms since the epoch, so that each ID token is read once. */
const idTokenTimes = new WeakMap<Session, Times>()

function timesOfIdToken(session: Session): Times {
  const known = idTokenTimes.get(session)
  if (known !== undefined) return known
  const { iat, exp } = unverifiedClaims(session.idToken ?? '')
  const times = { issuedAt: inMs(iat), expiresAt: inMs(exp) }
  idTokenTimes.set(session, times)
  return times
}

function inMs(seconds: unknown): number | null {
  const value = numberFrom(seconds)
  return value === null ? null : timeFrom(value * 1000)
}

/** Returns whether the session has an ID token that has expired at `now` (ms since the epoch). */
export function isIdTokenExpired(session: Session, now: number): boolean {
  const { expiresAt } = timesOfIdToken(session)
  return expiresAt !== null && now >= expiresAt
}

/**
 * Returns when the ID token is due for a refresh, in ms since the epoch. Returns `null` if the last refresh brought no
 * ID token, because the next one would probably bring none either.
 */
export function idTokenDueAt(session: Session, before: RefreshBefore): number | null {
  const { issuedAt, expiresAt } = timesOfIdToken(session)
  if (issuedAt === null || expiresAt === null) return null
  if (session.refreshedAt !== session.createdAt && issuedAt < session.refreshedAt - CLOCK_SKEW_MS) return null
  const remaining = 'share' in before ? (expiresAt - issuedAt) * before.share : before.duration
  return Math.max(issuedAt, expiresAt - remaining)
}

/** Returns the cooldown after a refresh, in ms: one minute, or half the token's lifetime if that is shorter. */
export function cooldown(session: Session): number {
  const { expiresAt, issuedAt } = session.tokens
  return expiresAt === null ? MAX_COOLDOWN_MS : Math.min(MAX_COOLDOWN_MS, (expiresAt - issuedAt) / 2)
}

/**
 * Returns when the cooldown after the last refresh ends, in ms since the epoch. There is no cooldown after a login, and
 * none after a refresh whose time is in the future because the clock was set back.
 */
export function cooldownUntil(session: Session, now: number): number {
  const { createdAt, refreshedAt } = session
  const pause = cooldown(session)
  return refreshedAt === createdAt || refreshedAt > now + pause ? 0 : refreshedAt + pause
}
