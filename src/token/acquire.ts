import type { Route } from '../config/schema.ts'
import type { RefreshBefore } from '../config/value-types/amount.ts'
import type { DpopKey } from '../oidc/dpop.ts'
import { proofKeyOf } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { dueAt, idTokenDueAt, isExpired, isIdTokenExpired } from './clock.ts'
import type { Denied } from './denial.ts'
import type { ClientToken, RouteToken, RouteTokens } from './route-tokens.ts'
import type { Refreshed, Refresher } from './refresh.ts'

/** The token that a route sends in `token.header`, and the session's own tokens that its other headers carry. */
export type WantedTokens = Route['token'] & { readonly alsoAccessToken?: true; readonly alsoIdToken?: true }

export type Acquired =
  | {
      readonly ok: true
      /** The token for `token.header`, which is the ID token with `grant: id-token`, or `null` with `none`. */
      readonly accessToken: string | null
      /** See `RouteToken`. */
      readonly proofKey: DpopKey | null
      /** The session, in which the tokens that the route's other headers carry are valid. */
      readonly session: Session
    }
  | Denied

export interface Tokens {
  /**
   * Returns the route's token. While all tokens that the route needs are valid, the return is synchronous, and a due
   * refresh runs in the background. Rejects with `store_unavailable`.
   */
  acquire(session: Session, route: WantedTokens, now: number): Acquired | Promise<Acquired>
  /**
   * Replaces `stale`, a token that the upstream rejected. Returns `null` if the token cannot be refreshed or was issued a
   * moment ago. Rejects with `store_unavailable`.
   */
  renew(session: Session, route: WantedTokens, stale: string | null, now: number): Promise<Acquired> | null
  /** Returns the token for which a client's own token is exchanged. Synchronous while that token is valid. */
  exchange(client: ClientToken, route: Route['token'], now: number): RouteToken | Promise<RouteToken>
  /** Like `renew`, for a token that `exchange` has returned. */
  renewExchanged(client: ClientToken, route: Route['token'], stale: string, now: number): Promise<RouteToken> | null
}

interface TokenServices {
  readonly refresher: Refresher
  readonly routeTokens: RouteTokens
  readonly sessions: Pick<Sessions, 'load'>
  readonly before: RefreshBefore
}

export function createTokens({ refresher, routeTokens, sessions, before }: TokenServices): Tokens {
  /**
   * Returns `null` if the session's own tokens that the route needs are valid. Otherwise refreshes them, or returns why
   * they cannot be refreshed.
   */
  function refreshExpired(session: Session, wanted: WantedTokens, now: number): Promise<Refreshed> | Denied | null {
    const access = needsAccessToken(wanted)
    const id = needsIdToken(wanted)
    if ((access && isExpired(session, now)) || (id && isIdTokenExpired(session, now))) {
      if (session.tokens.refreshToken === null) return needsLogin(session, wanted)
      // The session is unchanged if this call joined a background refresh, which does not wait for another process that
      // is refreshing the session. The second refresh waits for that process.
      return refresher
        .refresh(session, 'expired', now)
        .then((result) =>
          result.ok && result.session === session ? refresher.refresh(session, 'expired', Date.now()) : result,
        )
    }
    if (session.tokens.refreshToken === null) return null
    const due = Math.min(
      (access ? dueAt(session, before, now) : null) ?? Number.POSITIVE_INFINITY,
      (id ? idTokenDueAt(session, before) : null) ?? Number.POSITIVE_INFINITY,
    )
    if (now >= due && !refresher.isHeldBack(session, now)) void refresher.refresh(session, 'due', now)
    return null
  }

  /** Returns the route's token after a refresh. Not every provider issues a new ID token with the other tokens. */
  function afterRefresh(result: Refreshed, wanted: WantedTokens, now: number): Acquired | Promise<Acquired> {
    if (!result.ok) return result
    const { session } = result
    return needsIdToken(wanted) && isIdTokenExpired(session, Date.now())
      ? needsLogin(session, wanted)
      : tokenFor(session, wanted, now)
  }

  /** Returns the route's token for a session whose own tokens are valid. */
  function tokenFor(session: Session, wanted: WantedTokens, now: number): Acquired | Promise<Acquired> {
    if (wanted.grant === 'none') return withToken(session, null)
    if (wanted.grant === 'id-token') return session.idToken === null ? REFUSED : withToken(session, session.idToken)
    if (takesSessionToken(wanted)) return withToken(session, session.tokens.accessToken, proofKeyOf(session.tokens))
    const token = routeTokens.acquire(session, wanted, now)
    return token instanceof Promise ? token.then((late) => recheckSession(late, session)) : withSession(token, session)
  }

  /** Drops a token if the session ended while the token was requested. */
  async function recheckSession(token: RouteToken, session: Session): Promise<Acquired> {
    const current = await sessions.load(session.ticket, Date.now())
    return current === null
      ? { ok: false, denial: { reason: 'session-expired', clearCookie: true } }
      : withSession(token, session)
  }

  return {
    acquire(session, wanted, now) {
      // A bound token is of no use without a proof, which goes with the token in `token.header`. `gatehouse check` refuses
      // such routes, but sessions that began with another `dpop` may have bound tokens.
      if (sendsUnproven(wanted) && proofKeyOf(session.tokens) !== null) return needsLogin(session, wanted)
      const refreshed = refreshExpired(session, wanted, now)
      if (refreshed === null) return tokenFor(session, wanted, now)
      return refreshed instanceof Promise ? refreshed.then((result) => afterRefresh(result, wanted, now)) : refreshed
    },
    renew(session, wanted, stale, now) {
      if (!needsAccessToken(wanted) && !needsIdToken(wanted) && wanted.grant === 'none') return null
      if (isRouteToken(wanted)) {
        const renewed = routeTokens.renew(session, wanted, stale ?? '', now)
        return renewed?.then((token) => recheckSession(token, session)) ?? null
      }
      if (session.tokens.refreshToken === null || refresher.isHeldBack(session, now)) return null
      return refresher.refresh(session, 'upstream', now).then((result) => afterRefresh(result, wanted, now))
    },
    exchange: (client, wanted, now) => routeTokens.acquire(client, wanted, now),
    renewExchanged: (client, wanted, stale, now) => routeTokens.renew(client, wanted, stale, now),
  }
}

const REFUSED: Denied = { ok: false, denial: { reason: 'token-refused' } }

/**
 * Returns the denial of a session without a valid token that cannot be refreshed. A login helps, unless the last one
 * brought an ID token that had already expired.
 */
function needsLogin(session: Session, wanted: WantedTokens): Denied {
  if (needsIdToken(wanted) && isIdTokenExpired(session, session.createdAt)) return REFUSED
  return { ok: false, denial: { reason: 'session-expired', clearCookie: false } }
}

function withToken(session: Session, accessToken: string | null, proofKey: DpopKey | null = null): Acquired {
  return { ok: true, accessToken, proofKey, session }
}

function withSession(token: RouteToken, session: Session): Acquired {
  return token.ok ? { ...token, session } : token
}

function takesSessionToken({ grant, resource, audience, scopes }: WantedTokens): boolean {
  return grant === 'session' && resource === null && audience === null && scopes === null
}

/** Returns whether the route's token is another one than those of the session. */
function isRouteToken(wanted: WantedTokens): boolean {
  return wanted.grant !== 'none' && wanted.grant !== 'id-token' && !takesSessionToken(wanted)
}

/** Returns whether a header carries the session's access token although `token.header` carries none. */
function sendsUnproven({ grant, alsoAccessToken }: WantedTokens): boolean {
  return alsoAccessToken === true && (grant === 'none' || grant === 'id-token')
}

function needsAccessToken(wanted: WantedTokens): boolean {
  const { grant } = wanted
  return grant === 'token-exchange' || grant === 'on-behalf-of' || takesSessionToken(wanted) || sendsUnproven(wanted)
}

function needsIdToken({ grant, alsoIdToken }: WantedTokens): boolean {
  return grant === 'id-token' || alsoIdToken === true
}
