import type { Claims, TokenSet } from '../oidc/token-set.ts'
import type { Owner } from '../store/store.ts'
import type { Ticket } from './ticket.ts'

/** A logged-in user in one browser. Every change creates a new object, except a change of `lastSeenAt`. */
export interface Session {
  readonly id: string
  /** Opens the session's record. The record never contains the ticket. */
  readonly ticket: Ticket
  /** The number of writes of the record. An older version never overwrites a newer one. */
  readonly version: number
  /** The name of the session's provider in `providers`. Missing with the key `provider`. */
  readonly provider?: string
  /** The `client` of that provider. Missing in records of earlier releases. */
  readonly client?: string
  readonly issuer: string
  /** See `LoginResult`. The store lists the session under the template too, because a logout may not name the tenant. */
  readonly issuerTemplate?: string
  readonly subject: string
  /** The provider's session id. @see https://openid.net/specs/openid-connect-frontchannel-1_0.html#OPLogout */
  readonly sid: string | null
  /** The public origin that the login started from. */
  readonly origin: string
  readonly claims: Claims
  /**
   * When the session ends because the provider's API no longer says who the user is or which groups they are in. `null`
   * or missing after a successful read.
   */
  readonly claimsEndAt?: number | null
  /** The `stepUpKey` of the step-up that the login requested, or `null`. */
  readonly requestedStepUp: string | null
  /**
   * Whether the login had `prompt=login`, so that the user authenticated at `createdAt`. Missing otherwise, and in records
   * of earlier releases.
   */
  readonly reauthenticated?: true
  /** `null` from a provider without OpenID Connect. */
  readonly idToken: string | null
  readonly tokens: TokenSet
  /** All times are in ms since the epoch. */
  readonly createdAt: number
  /** The absolute end. */
  readonly endsAt: number
  /** The time of the last refresh; `createdAt` before the first one. */
  readonly refreshedAt: number
  lastSeenAt: number
}

export type EndReason = (typeof END_REASONS)[number]

export const END_REASONS = [
  'lifetime',
  'idle',
  'id_token',
  'stale_claims',
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

export function ownerOf({ issuer, issuerTemplate, subject, sid }: Session): Owner {
  return { issuer, ...(issuerTemplate === undefined ? {} : { issuerTemplate }), subject, sid }
}
