import type { Route } from '../config/schema.ts'
import type { RefreshBefore } from '../config/value-types/amount.ts'
import type { DpopKey } from '../oidc/dpop.ts'
import { proofKeyOf } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { dueAt, isExpired } from './clock.ts'
import type { Denied } from './denial.ts'
import type { ClientToken, RouteToken, RouteTokens } from './route-tokens.ts'
import type { Refreshed, Refresher } from './refresh.ts'

export type Acquired =
  | {
      readonly ok: true
      readonly accessToken: string | null
      /** See `RouteToken`. */
      readonly proofKey: DpopKey | null
      readonly session: Session
    }
  | Denied

export interface Tokens {
  /**
   * Returns the route's token. While the token is valid, the return is synchronous, and a due refresh runs in the
   * background. Rejects with `store_unavailable`.
   */
  acquire(session: Session, route: Route['token'], now: number): Acquired | Promise<Acquired>
  /**
   * Replaces `stale`, a token that the upstream rejected. Returns `null` if the token cannot be refreshed or was issued a
   * moment ago. Rejects with `store_unavailable`.
   */
  renew(session: Session, route: Route['token'], stale: string, now: number): Promise<Acquired> | null
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
  function acquireSessionToken(session: Session, now: number): Acquired | Promise<Acquired> {
    if (isExpired(session, now)) {
      if (session.tokens.refreshToken === null)
        return { ok: false, denial: { reason: 'session-expired', clearCookie: false } }
      // The session is unchanged if this call joined a background refresh, which does not wait for another process that
      // is refreshing the session. The second refresh waits for that process.
      return refresher
        .refresh(session, 'expired', now)
        .then((result) =>
          result.ok && result.session === session
            ? refresher.refresh(session, 'expired', Date.now()).then(withSessionToken)
            : withSessionToken(result),
        )
    }
    const due = dueAt(session, before, now)
    if (due !== null && now >= due && session.tokens.refreshToken !== null && !refresher.isHeldBack(session, now)) {
      void refresher.refresh(session, 'due', now)
    }
    return withTokenOf(session)
  }

  function acquireRouteToken(base: Acquired, wanted: Route['token'], now: number): Acquired | Promise<Acquired> {
    if (!base.ok) return base
    const { session } = base
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
      if (wanted.grant === 'none') return withoutToken(session)
      if (!needsSessionToken(wanted)) return acquireRouteToken(withoutToken(session), wanted, now)
      const base = acquireSessionToken(session, now)
      if (takesSessionToken(wanted)) return base
      return base instanceof Promise
        ? base.then((late) => acquireRouteToken(late, wanted, now))
        : acquireRouteToken(base, wanted, now)
    },
    renew(session, wanted, stale, now) {
      if (wanted.grant === 'none') return null
      if (!takesSessionToken(wanted)) {
        const renewed = routeTokens.renew(session, wanted, stale, now)
        return renewed?.then((token) => recheckSession(token, session)) ?? null
      }
      if (session.tokens.refreshToken === null || refresher.isHeldBack(session, now)) return null
      return refresher.refresh(session, 'upstream', now).then(withSessionToken)
    },
    exchange: (client, wanted, now) => routeTokens.acquire(client, wanted, now),
    renewExchanged: (client, wanted, stale, now) => routeTokens.renew(client, wanted, stale, now),
  }
}

function withTokenOf(session: Session): Acquired {
  const { tokens } = session
  return { ok: true, accessToken: tokens.accessToken, proofKey: proofKeyOf(tokens), session }
}

function withoutToken(session: Session): Acquired {
  return { ok: true, accessToken: null, proofKey: null, session }
}

function withSession(token: RouteToken, session: Session): Acquired {
  return token.ok ? { ...token, session } : token
}

function withSessionToken(result: Refreshed): Acquired {
  return result.ok ? withTokenOf(result.session) : result
}

function takesSessionToken({ grant, resource, audience, scopes }: Route['token']): boolean {
  return grant === 'session' && resource === null && audience === null && scopes === null
}

function needsSessionToken(wanted: Route['token']): boolean {
  return wanted.grant === 'token-exchange' || wanted.grant === 'on-behalf-of' || takesSessionToken(wanted)
}
