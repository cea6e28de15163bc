import type { Session } from '../session/session.ts'

/** When a token is due: a share of its lifetime that remains, or a time before its end in ms. */
export type RefreshBefore = { readonly share: number } | { readonly duration: number }

const COOLDOWN_MOST = 60_000
/** How far the clocks of replicas may be apart, ms. */
const CLOCKS_APART = 60_000

/** Whether the access token can't be used any more at `now` (ms). One without a known lifetime never expires here. */
export function isExpired(session: Session, now: number): boolean {
  const { expiresAt } = session.tokens
  return expiresAt !== null && now >= expiresAt
}

/** When the access token becomes due for renewal (ms since the epoch), or `null` when its lifetime is not known. */
export function dueAt(session: Session, before: RefreshBefore, now: number): number | null {
  const { expiresAt, issuedAt } = session.tokens
  if (expiresAt === null) return null
  // Issued in the future: the clock was set back, and when it expires can't be told any more.
  if (issuedAt > now + CLOCKS_APART) return now
  const remaining = 'share' in before ? (expiresAt - issuedAt) * before.share : before.duration
  return Math.max(issuedAt, expiresAt - remaining)
}

/** How long a refresh holds back the next one, ms: a minute, or half the life of tokens under two minutes. */
export function cooldown(session: Session): number {
  const { expiresAt, issuedAt } = session.tokens
  return expiresAt === null ? COOLDOWN_MOST : Math.min(COOLDOWN_MOST, (expiresAt - issuedAt) / 2)
}

/**
 * Until when the last refresh holds back the next one (ms since the epoch) at `now`; a login holds nothing back, nor
 * does a refresh that is still to come, because the clock was set back since.
 */
export function cooldownUntil(session: Session, now: number): number {
  const { createdAt, refreshedAt } = session
  const pause = cooldown(session)
  return refreshedAt === createdAt || refreshedAt > now + pause ? 0 : refreshedAt + pause
}
