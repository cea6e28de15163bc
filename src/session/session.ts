import type { Claims, TokenSet } from '../oidc/token-set.ts'
import type { Owner } from '../store/store.ts'
import type { Ticket } from './ticket.ts'

/** A logged-in user in one browser. Plain data; every change makes a new one, but for `lastSeenAt`. */
export interface Session {
  readonly id: string
  /** What opens its record; never part of it. */
  readonly ticket: Ticket
  /** Counts the writes of the record, so that an older one never overwrites a newer one. */
  readonly version: number
  readonly issuer: string
  /** See `LoginResult`; sessions are found by it where there is one, because tenants are not known by themselves. */
  readonly issuerTemplate?: string
  readonly subject: string
  /** The provider's session id (OpenID Connect Front-Channel Logout 1.0, section 3). */
  readonly sid: string | null
  /** The public origin that the login started from. */
  readonly origin: string
  readonly claims: Claims
  /** What the login asked for beyond the usual, as `stepUpMark` names it. */
  readonly asked: string | null
  readonly idToken: string
  readonly tokens: TokenSet
  /** All times are milliseconds since the epoch. */
  readonly createdAt: number
  /** The absolute end. */
  readonly endsAt: number
  /** When the tokens were last renewed; `createdAt` before that. */
  readonly refreshedAt: number
  lastSeenAt: number
}

/** The configured rules of the clock, in ms. */
export interface SessionPolicy {
  readonly lifetime: number
  readonly idleTimeout: number | null
  readonly endWithIdToken: boolean
}

/** Why a session is over. */
export type EndReason = (typeof END_REASONS)[number]

/** All reasons that there are. */
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

/** The absolute end of a session that began at `createdAt`, given the ID token that it holds now. */
export function absoluteEnd(policy: SessionPolicy, createdAt: number, idTokenExpiresAt: number | null): number {
  const end = createdAt + policy.lifetime
  return policy.endWithIdToken && idTokenExpiresAt !== null ? Math.min(end, idTokenExpiresAt) : end
}

/** When the session ends if nothing more happens (ms), or `null` without an idle time-out. */
export function timeoutAt(policy: SessionPolicy, session: Session): number | null {
  return policy.idleTimeout === null ? null : Math.min(session.lastSeenAt + policy.idleTimeout, session.endsAt)
}

/** Why the session is over at `now`, or `null` while it lives. */
export function endedBecause(policy: SessionPolicy, session: Session, now: number): EndReason | null {
  if (now >= session.endsAt) return session.endsAt < session.createdAt + policy.lifetime ? 'id_token' : 'lifetime'
  if (policy.idleTimeout !== null && now >= session.lastSeenAt + policy.idleTimeout) return 'idle'
  return null
}

/**
 * Whether it is over for all that this process knows, while another may have seen the user since, or have moved the
 * end. (The lifetime ends at the same time everywhere.)
 */
export function mayBeOver(policy: SessionPolicy, session: Session, now: number): boolean {
  const reason = endedBecause(policy, session, now)
  return reason !== null && reason !== 'lifetime'
}

/** By what the store finds the session. */
export function ownerOf({ issuer, issuerTemplate, subject, sid }: Session): Owner {
  return { issuer: issuerTemplate ?? issuer, subject, sid }
}
