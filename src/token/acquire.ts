import type { Route } from '../config/schema.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { dueAt, isExpired, type RefreshBefore } from './clock.ts'
import { isSessionsOwn, needsSessionsOwn, type Exchanged, type RouteTokens } from './exchange.ts'
import type { Refresher, RefreshOutcome } from './refresh.ts'

/** Which access token goes upstream, or why none can. */
export type Acquired =
  | { readonly ok: true; readonly accessToken: string | null; readonly session: Session }
  /** Expired, and nothing but a login can renew it: for this route the session is over. */
  | { readonly ok: false; readonly problem: 'spent' }
  /** The provider ended the session. */
  | { readonly ok: false; readonly problem: 'ended' }
  /** The provider gives no token for this route. */
  | { readonly ok: false; readonly problem: 'refused' }
  /** It would after another login. */
  | { readonly ok: false; readonly problem: 'step-up'; readonly claims: string | null }
  /** None can be had just now; seconds until another try makes sense. */
  | { readonly ok: false; readonly problem: 'unavailable'; readonly retryAfter: number }

/** Gives each request its access token: the one that is kept while it is valid, a renewed one after that. */
export interface Tokens {
  /**
   * At once while the token is valid (one that is due is renewed in the background); a promise only when it has
   * expired.
   */
  acquire(session: Session, route: Route['token'], now: number): Acquired | Promise<Acquired>
  /**
   * Another one in place of `refused`, which its upstream did not take; `null` where none can be had, or one was just
   * now.
   */
  renew(session: Session, route: Route['token'], refused: string, now: number): Promise<Acquired> | null
}

interface Parts {
  readonly refresher: Refresher
  readonly routeTokens: RouteTokens
  readonly sessions: Pick<Sessions, 'load'>
  readonly before: RefreshBefore
}

/** Makes the source of access tokens. */
export function createTokens({ refresher, routeTokens, sessions, before }: Parts): Tokens {
  function own(session: Session, now: number): Acquired | Promise<Acquired> {
    if (isExpired(session, now)) {
      if (session.tokens.refreshToken === null) return { ok: false, problem: 'spent' }
      // A background refresh that another process was found at may have been joined just as the token expired.
      return refresher
        .refresh(session, 'expired', now)
        .then((outcome) =>
          outcome.type === 'refreshed' && outcome.session === session
            ? refresher.refresh(session, 'expired', Date.now()).then(acquired)
            : acquired(outcome),
        )
    }
    const due = dueAt(session, before, now)
    if (due !== null && now >= due && session.tokens.refreshToken !== null && !refresher.heldBack(session, now)) {
      void refresher.refresh(session, 'due', now)
    }
    return { ok: true, accessToken: session.tokens.accessToken, session }
  }

  function exchanged(base: Acquired, wanted: Route['token'], now: number): Acquired | Promise<Acquired> {
    if (!base.ok) return base
    const { session } = base
    const answer = routeTokens.acquire(session, wanted, now)
    return answer instanceof Promise ? answer.then((one) => ifStillLiving(one, session)) : withSession(answer, session)
  }

  /** While the provider was asked the session may have ended: what was granted then is for nobody. */
  async function ifStillLiving(answer: Exchanged, session: Session): Promise<Acquired> {
    const living = await sessions.load(session.ticket, Date.now())
    return living === null ? { ok: false, problem: 'ended' } : withSession(answer, session)
  }

  return {
    acquire(session, wanted, now) {
      if (wanted.grant === 'none') return { ok: true, accessToken: null, session }
      if (!needsSessionsOwn(wanted)) return exchanged({ ok: true, accessToken: null, session }, wanted, now)
      const base = own(session, now)
      if (isSessionsOwn(wanted)) return base
      return base instanceof Promise ? base.then((got) => exchanged(got, wanted, now)) : exchanged(base, wanted, now)
    },
    renew(session, wanted, refused, now) {
      if (wanted.grant === 'none') return null
      if (!isSessionsOwn(wanted)) {
        const renewed = routeTokens.renew(session, wanted, refused, now)
        return renewed?.then((answer) => ifStillLiving(answer, session)) ?? null
      }
      if (session.tokens.refreshToken === null || refresher.heldBack(session, now)) return null
      return refresher.refresh(session, 'upstream', now).then(acquired)
    },
  }
}

function withSession(answer: Exchanged, session: Session): Acquired {
  return answer.ok ? { ...answer, session } : answer
}

function acquired(outcome: RefreshOutcome): Acquired {
  switch (outcome.type) {
    case 'refreshed':
      return { ok: true, accessToken: outcome.session.tokens.accessToken, session: outcome.session }
    case 'ended':
      return { ok: false, problem: 'ended' }
    case 'failed':
      return outcome.stuck
        ? { ok: false, problem: 'spent' }
        : { ok: false, problem: 'unavailable', retryAfter: outcome.retryAfter }
  }
}
