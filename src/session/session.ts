import type { Claims, TokenSet } from '../oidc/token-set.ts'
import type { Owner } from '../store/store.ts'
import type { Ticket } from './ticket.ts'

/** A logged-in user in one browser. Every change creates a new object, except a change of `lastSeenAt`. */
export interface Session {
  readonly id: string
  /** Opens the session's record. Never stored in it. */
  readonly ticket: Ticket
  /** The number of writes of the record. An older version never overwrites a newer one. */
  readonly version: number
  readonly issuer: string
  /** See `LoginResult`. The store indexes the session by the template, because a logout may not name the tenant. */
  readonly issuerTemplate?: string
  readonly subject: string
  /** The provider's session id. @see https://openid.net/specs/openid-connect-frontchannel-1_0.html#OPLogout */
  readonly sid: string | null
  /** The public origin that the login started from. */
  readonly origin: string
  readonly claims: Claims
  /** The `stepUpKey` of the step-up that the login requested, or `null`. */
  readonly requestedStepUp: string | null
  readonly idToken: string
  readonly tokens: TokenSet
  /** All times are in ms since the epoch. */
  readonly createdAt: number
  /** The absolute end. */
  readonly endsAt: number
  /** The time of the last refresh; `createdAt` before the first one. */
  readonly refreshedAt: number
  lastSeenAt: number
}

/** The configured lifetime of sessions, in ms. */
export interface SessionPolicy {
  readonly lifetime: number
  readonly idleTimeout: number | null
  readonly endWithIdToken: boolean
}

/** The configured settings of sessions. */
export interface SessionSettings extends SessionPolicy {
  /** How long a session may be used without confirmation by the store, in ms. */
  readonly outageGrace: number
  readonly maxPerUser: number | null
}

/** Why a session has ended. */
export type EndReason = (typeof END_REASONS)[number]

/** All reasons for the end of a session. */
export const END_REASONS = [
  'lifetime',
  'idle',
  'id_token',
  'logout',
  'local_logout',
  'frontchannel',
  'backchannel',
  'refused',
  'replaced',
  'renewed',
  'admin',
  'max_per_user',
  'lost',
] as const

/** Returns the absolute end of a session with this start and the expiry of its ID token. All times are in ms. */
export function absoluteEnd(policy: SessionPolicy, createdAt: number, idTokenExpiresAt: number | null): number {
  const end = createdAt + policy.lifetime
  return policy.endWithIdToken && idTokenExpiresAt !== null ? Math.min(end, idTokenExpiresAt) : end
}

/** Returns the time at which the session ends without further activity, in ms, or `null` without an idle timeout. */
export function timeoutAt(policy: SessionPolicy, session: Session): number | null {
  return policy.idleTimeout === null ? null : Math.min(session.lastSeenAt + policy.idleTimeout, session.endsAt)
}

/** Returns the reason why the session has ended at `now`, or `null` if it is valid. */
export function endReasonOf(policy: SessionPolicy, session: Session, now: number): EndReason | null {
  if (now >= session.endsAt) return session.endsAt < session.createdAt + policy.lifetime ? 'id_token' : 'lifetime'
  if (policy.idleTimeout !== null && now >= session.lastSeenAt + policy.idleTimeout) return 'idle'
  return null
}

/**
 * Returns whether the session has ended by the data of this process. Another process may have recorded activity or moved
 * the end, so the store must confirm it. The end of the lifetime needs no confirmation.
 */
export function mayHaveEnded(policy: SessionPolicy, session: Session, now: number): boolean {
  const reason = endReasonOf(policy, session, now)
  return reason !== null && reason !== 'lifetime'
}

/** Returns the owner by which the store finds the session. */
export function ownerOf({ issuer, issuerTemplate, subject, sid }: Session): Owner {
  return { issuer: issuerTemplate ?? issuer, subject, sid }
}
