import type { EndReason, Session } from './session.ts'

/** The configured lifetime of sessions, in ms. */
export interface SessionPolicy {
  readonly lifetime: number
  readonly idleTimeout: number | null
  readonly endWithIdToken: boolean
}

export interface SessionSettings extends SessionPolicy {
  /** How long a session may be used without confirmation by the store, in ms. */
  readonly outageGrace: number
  readonly maxPerUser: number | null
}

/**
 * Returns the absolute end of a session from its creation, the expiry of its ID token and the end of its claims. All
 * times are in ms.
 */
export function absoluteEnd(
  policy: SessionPolicy,
  createdAt: number,
  idTokenExpiresAt: number | null,
  claimsEndAt: number | null = null,
): number {
  const end = Math.min(createdAt + policy.lifetime, claimsEndAt ?? Number.POSITIVE_INFINITY)
  return policy.endWithIdToken && idTokenExpiresAt !== null ? Math.min(end, idTokenExpiresAt) : end
}

/** How long claims from an API may be used after the last successful read. */
const MAX_CLAIMS_AGE_MS = 3_600_000
/** The least time from the first failed read to the end of the session, so that a short outage ends no session. */
const MIN_CLAIMS_RETRIES_MS = 600_000

/**
 * Returns when the claims of a session end after a read of the API failed at `now`, in ms since the epoch: the time that
 * an earlier failure in the same row has set, otherwise an hour after the last read.
 */
export function claimsEndAfterFailure({ claimsEndAt = null, refreshedAt }: Session, now: number): number {
  return claimsEndAt ?? Math.max(refreshedAt + MAX_CLAIMS_AGE_MS, now + MIN_CLAIMS_RETRIES_MS)
}

/** Returns the time at which the session ends without further activity, in ms, or `null` without an idle timeout. */
export function timeoutAt(policy: SessionPolicy, session: Session): number | null {
  return policy.idleTimeout === null ? null : Math.min(session.lastSeenAt + policy.idleTimeout, session.endsAt)
}

export function endReasonOf(policy: SessionPolicy, session: Session, now: number): EndReason | null {
  if (now >= session.endsAt) {
    if (session.endsAt === session.claimsEndAt) return 'stale_claims'
    return session.endsAt < session.createdAt + policy.lifetime ? 'id_token' : 'lifetime'
  }
  if (policy.idleTimeout !== null && now >= session.lastSeenAt + policy.idleTimeout) return 'idle'
  return null
}

/**
 * Returns whether the session has ended by the data of this process. Another process may have recorded activity or
 * moved the end, so the store must confirm the result. The end of the lifetime needs no confirmation.
 */
export function mayHaveEnded(policy: SessionPolicy, session: Session, now: number): boolean {
  const reason = endReasonOf(policy, session, now)
  return reason !== null && reason !== 'lifetime'
}
