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

/** Returns the absolute end of a session from its creation and the expiry of its ID token. All times are in ms. */
export function absoluteEnd(policy: SessionPolicy, createdAt: number, idTokenExpiresAt: number | null): number {
  const end = createdAt + policy.lifetime
  return policy.endWithIdToken && idTokenExpiresAt !== null ? Math.min(end, idTokenExpiresAt) : end
}

/** Returns the time at which the session ends without further activity, in ms, or `null` without an idle timeout. */
export function timeoutAt(policy: SessionPolicy, session: Session): number | null {
  return policy.idleTimeout === null ? null : Math.min(session.lastSeenAt + policy.idleTimeout, session.endsAt)
}

export function endReasonOf(policy: SessionPolicy, session: Session, now: number): EndReason | null {
  if (now >= session.endsAt) return session.endsAt < session.createdAt + policy.lifetime ? 'id_token' : 'lifetime'
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
