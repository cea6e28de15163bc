import type { Session } from '../session/session.ts'

/** When a token is due for renewal: a share of its lifetime, or a duration in ms, before its end. */
export type RefreshBefore = { readonly share: number } | { readonly duration: number }

/** How far the clocks of replicas may be apart. */
export const CLOCK_SKEW_MS = 60_000
const MAX_COOLDOWN_MS = 60_000

/**
 * Returns whether the access token has expired at `now`, in ms since the epoch. A token without a lifetime never does.
 */
export function isExpired(session: Session, now: number): boolean {
  const { expiresAt } = session.tokens
  return expiresAt !== null && now >= expiresAt
}

/** Returns when the access token is due for renewal, in ms since the epoch, or `null` if its lifetime is unknown. */
export function dueAt(session: Session, before: RefreshBefore, now: number): number | null {
  const { expiresAt, issuedAt } = session.tokens
  if (expiresAt === null) return null
  // Issued in the future: the clock was set back, and `expiresAt` means nothing any more.
  if (issuedAt > now + CLOCK_SKEW_MS) return now
  const remaining = 'share' in before ? (expiresAt - issuedAt) * before.share : before.duration
  return Math.max(issuedAt, expiresAt - remaining)
}

/** Returns how long a refresh holds back the next one, in ms: a minute, or half the life of a shorter-lived token. */
export function cooldown(session: Session): number {
  const { expiresAt, issuedAt } = session.tokens
  return expiresAt === null ? MAX_COOLDOWN_MS : Math.min(MAX_COOLDOWN_MS, (expiresAt - issuedAt) / 2)
}

/**
 * Returns until when the last refresh holds back the next one, in ms since the epoch. A login holds nothing back, and
 * neither does a refresh that lies in the future because the clock was set back.
 */
export function cooldownUntil(session: Session, now: number): number {
  const { createdAt, refreshedAt } = session
  const pause = cooldown(session)
  return refreshedAt === createdAt || refreshedAt > now + pause ? 0 : refreshedAt + pause
}
