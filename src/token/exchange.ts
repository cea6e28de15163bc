import { LRUCache } from 'lru-cache'
import type { Route } from '../config/schema.ts'
import { causes } from '../errors.ts'
import type { Provider } from '../oidc/provider.ts'
import { isUnreachable, loginThatHelps, refusalOf } from '../oidc/refusal.ts'
import { grantForRoute, missingAudience } from '../oidc/route-grants.ts'
import type { TokenSet } from '../oidc/token-set.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Log } from '../telemetry/log.ts'
import { pauseUntil } from './backoff.ts'
import type { Refresher } from './refresh.ts'

type Wanted = Route['token']

/** What came of asking for a route's own token. */
export type Exchanged =
  | { readonly ok: true; readonly accessToken: string }
  /** The provider says no, and asking again is of no use. */
  | { readonly ok: false; readonly problem: 'refused' }
  /** It said no to the session's refresh token, too. */
  | { readonly ok: false; readonly problem: 'ended' }
  /** It would say yes after another login. */
  | { readonly ok: false; readonly problem: 'step-up'; readonly claims: string | null }
  | { readonly ok: false; readonly problem: 'unavailable'; readonly retryAfter: number }

/** The tokens that routes want instead of the session's own. */
export interface RouteTokens {
  /** At once while a kept one is valid; each is asked for once, whoever waits. */
  acquire(session: Session, wanted: Wanted, now: number): Exchanged | Promise<Exchanged>
  /** Another one in place of `refused`; `null` where that is one that has only just been given. */
  renew(session: Session, wanted: Wanted, refused: string, now: number): Promise<Exchanged> | null
}

/** Renewed in the background once this share of a token's life is left. */
const RENEW_SHARE = 0.2
const MAX_SESSIONS = 20_000
/** After a failure nobody asks again for so long, ms. */
const PAUSE = 2_000
/** A token that is younger is not renewed because its upstream does not take it, ms. */
const TOO_YOUNG = 10_000
/** For tokens that belong to nobody. */
const EVERYBODY = ''

interface Kept {
  token: TokenSet | null
  failure: { readonly answer: Exchanged; readonly at: number; readonly successes: number } | null
}

interface Parts {
  readonly provider: Provider
  readonly refresher: Pick<Refresher, 'redeem' | 'refresh'>
  readonly sessions: Pick<Sessions, 'onEnd'>
  readonly log: Log
}

/** Whether a route takes the session's own access token. */
export function isSessionsOwn({ grant, resource, audience, scopes }: Wanted): boolean {
  return grant === 'session' && resource === null && audience === null && scopes === null
}

/** Whether a route's token is made with the session's own access token, so that this one must be valid. */
export function needsSessionsOwn(wanted: Wanted): boolean {
  return wanted.grant === 'token-exchange' || wanted.grant === 'on-behalf-of' || isSessionsOwn(wanted)
}

/** Makes the keeper of routes' tokens; they end with their session. */
export function createRouteTokens({ provider, refresher, sessions, log }: Parts): RouteTokens {
  const bySession = new LRUCache<string, Map<string, Kept>>({ max: MAX_SESSIONS })
  const flights = singleFlight<Kept, Exchanged>()
  const warned = new Set<string>()
  sessions.onEnd((id) => {
    bySession.delete(id)
  })

  function keptFor(session: Session, wanted: Wanted): Kept {
    const owner = wanted.grant === 'client-credentials' ? EVERYBODY : session.id
    const name = JSON.stringify([wanted.grant, wanted.audience, wanted.resource, wanted.scopes])
    const tokens = bySession.get(owner) ?? new Map<string, Kept>()
    bySession.set(owner, tokens)
    const kept = tokens.get(name) ?? { token: null, failure: null }
    tokens.set(name, kept)
    return kept
  }

  /** What still holds the next try back: no outage does when the provider has granted something to anybody since. */
  function standing({ failure }: Kept): Exchanged | null {
    if (failure === null) return null
    const { answer, at, successes } = failure
    const isRecovered = !answer.ok && answer.problem === 'unavailable' && successes !== provider.successes()
    return performance.now() < pauseUntil(at, PAUSE, isRecovered) ? answer : null
  }

  /** A provider may leave `audience` or `resource` unread, and give a token for something else. */
  function warnOfAudience(wanted: Wanted, { accessToken }: TokenSet): void {
    const missing = missingAudience(accessToken, [wanted.audience, wanted.resource])
    if (missing === null) return
    const name = JSON.stringify([wanted.grant, wanted.audience, wanted.resource])
    if (warned.has(name)) return
    warned.add(name)
    const { grant, audience, resource } = wanted
    log.warn(
      { event: 'audience_not_granted', grant, audience, resource, granted: missing },
      'the provider gave a token whose aud is not what a route asks for, and it goes upstream as it is',
    )
  }

  async function ask(session: Session, wanted: Wanted, kept: Kept, now: number): Promise<Exchanged> {
    try {
      kept.token =
        wanted.grant === 'session'
          ? await refresher.redeem(session, wanted, now)
          : await grantForRoute(provider, wanted, session.tokens, now)
      kept.failure = null
      warnOfAudience(wanted, kept.token)
      return { ok: true, accessToken: kept.token.accessToken }
    } catch (error) {
      log.warn(
        { event: 'exchange_failed', session: session.id, grant: wanted.grant, cause: causes(error) },
        'a route’s token could not be had',
      )
      const login = loginThatHelps(error)
      if (wanted.grant === 'session' && refusalOf(error) === 'invalid-grant' && login === null) {
        // About the refresh token itself, and whether that ends the session, the usual refresh has the last word.
        const { type } = await refresher.refresh(session, 'asked', Date.now())
        if (type === 'ended') return { ok: false, problem: 'ended' }
      }
      const answer: Exchanged =
        login !== null
          ? { ok: false, problem: 'step-up', claims: login.claims }
          : isUnreachable(error)
            ? { ok: false, problem: 'unavailable', retryAfter: PAUSE / 1000 }
            : { ok: false, problem: 'refused' }
      kept.failure = { answer, at: performance.now(), successes: provider.successes() }
      return answer
    }
  }

  function start(session: Session, wanted: Wanted, kept: Kept, now: number): Promise<Exchanged> {
    return flights.run(kept, () => ask(session, wanted, kept, now))
  }

  return {
    acquire(session, wanted, now) {
      const kept = keptFor(session, wanted)
      const { token } = kept
      const held = standing(kept)
      const left = token === null ? 0 : (token.expiresAt ?? Number.POSITIVE_INFINITY) - now
      if (token !== null && left > 0) {
        const life = (token.expiresAt ?? Number.POSITIVE_INFINITY) - token.issuedAt
        if (left < life * RENEW_SHARE && held === null) void start(session, wanted, kept, now)
        return { ok: true, accessToken: token.accessToken }
      }
      return held ?? start(session, wanted, kept, now)
    },
    renew(session, wanted, refused, now) {
      const kept = keptFor(session, wanted)
      const { token } = kept
      if (token !== null && token.accessToken !== refused)
        return Promise.resolve({ ok: true, accessToken: token.accessToken })
      const age = token === null ? null : now - token.issuedAt
      // A negative age is that of a token from before the clock was set back.
      const isYoung = age !== null && age >= 0 && age < TOO_YOUNG
      if (isYoung || standing(kept) !== null) return null
      return start(session, wanted, kept, now)
    },
  }
}
