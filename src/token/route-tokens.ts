import { LRUCache } from 'lru-cache'
import { causes } from '../errors.ts'
import type { Providers } from '../oidc/providers.ts'
import { isUnreachable, requiredLogin, refusalOf } from '../oidc/oauth-errors.ts'
import { grantForRoute, missingAudience, type TokenSettings } from '../oidc/route-grants.ts'
import type { DpopKey } from '../oidc/dpop.ts'
import { proofKeyOf, type TokenSet } from '../oidc/token-set.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { type Log, whose } from '../telemetry/log.ts'
import { pauseUntil } from './refresh-backoff.ts'
import type { Denied, TokenDenial } from './denial.ts'
import type { Refresher } from './refresh.ts'

export type RouteToken =
  /** `proofKey` must sign a proof for each use of the token, unless it is `null`. */
  { readonly ok: true; readonly accessToken: string; readonly proofKey: DpopKey | null } | Denied

/** The tokens of routes that do not use the session's access token. */
export interface RouteTokens {
  /** Returns the cached token while it is valid, otherwise requests one. Concurrent calls for a token share a request. */
  acquire(session: Session, wanted: TokenSettings, now: number): RouteToken | Promise<RouteToken>
  /** Replaces `stale`, which the upstream rejected. Returns `null` if `stale` was issued a moment ago. */
  renew(session: Session, wanted: TokenSettings, stale: string, now: number): Promise<RouteToken> | null
}

/** The last share of a token's lifetime, in which the token is refreshed in the background. */
const RENEW_SHARE = 0.2
const MAX_SESSIONS = 20_000
const PAUSE_MS = 2_000
/** Prevents a grant for every request if the upstream rejects even a new token. */
const MIN_RENEWAL_AGE_MS = 10_000

interface Entry {
  token: TokenSet | null
  failure: { readonly denied: Denied; readonly at: number; readonly successes: number } | null
}

interface RouteTokenServices {
  readonly providers: Providers
  readonly refresher: Pick<Refresher, 'redeem' | 'refresh'>
  readonly sessions: Pick<Sessions, 'onEnd'>
  readonly log: Log
}

/** Creates the cache of route tokens. The tokens of a session are dropped when the session ends. */
export function createRouteTokens({ providers, refresher, sessions, log }: RouteTokenServices): RouteTokens {
  const entries = new LRUCache<string, Map<string, Entry>>({ max: MAX_SESSIONS })
  const flights = singleFlight<Entry, RouteToken>()
  const warned = new Set<string>()
  sessions.onEnd((id) => {
    entries.delete(id)
  })

  function entryFor(session: Session, wanted: TokenSettings): Entry {
    // The tokens of that grant belong to the gateway's client at the provider. No session id contains a space.
    const owner = wanted.grant === 'client-credentials' ? `client ${session.provider ?? ''}` : session.id
    const name = JSON.stringify([wanted.grant, wanted.audience, wanted.resource, wanted.scopes])
    const tokens = entries.get(owner) ?? new Map<string, Entry>()
    entries.set(owner, tokens)
    const entry = tokens.get(name) ?? { token: null, failure: null }
    tokens.set(name, entry)
    return entry
  }

  /** Returns the failure that delays the next attempt. The pause after an outage is shorter once the provider recovers. */
  function activeFailure(session: Session, { failure }: Entry): Denied | null {
    if (failure === null) return null
    const { denied, at, successes } = failure
    const hasRecovered = denied.denial.reason === 'token-unavailable' && successes !== providers.of(session).successes()
    return performance.now() < pauseUntil(at, PAUSE_MS, hasRecovered) ? denied : null
  }

  /** Logs once if the token is for another audience: a provider may ignore `audience` or `resource`. */
  function warnOfAudience(wanted: TokenSettings, { accessToken }: TokenSet): void {
    const missing = missingAudience(accessToken, [wanted.audience, wanted.resource])
    if (missing === null) return
    const name = JSON.stringify([wanted.grant, wanted.audience, wanted.resource])
    if (warned.has(name)) return
    warned.add(name)
    const { grant, audience, resource } = wanted
    log.warn(
      { event: 'audience_not_granted', grant, audience, resource, granted: missing },
      'the provider issued a token whose aud is not the one that a route requests; the token goes upstream unchanged',
    )
  }

  async function request(session: Session, wanted: TokenSettings, entry: Entry, now: number): Promise<RouteToken> {
    try {
      entry.token =
        wanted.grant === 'session'
          ? await refresher.redeem(session, wanted, now)
          : await grantForRoute(providers.of(session), wanted, session.tokens, now)
      entry.failure = null
      warnOfAudience(wanted, entry.token)
      return usable(entry.token)
    } catch (error) {
      log.warn(
        {
          event: 'exchange_failed',
          ...whose(log, session),
          grant: wanted.grant,
          cause: causes(error),
        },
        'the provider issued no token for a route',
      )
      const login = requiredLogin(error)
      if (wanted.grant === 'session' && refusalOf(error) === 'invalid-grant' && login === null) {
        // The provider rejected the refresh token itself. An ordinary refresh decides whether the session has ended.
        const refreshed = await refresher.refresh(session, 'asked', Date.now())
        if (!refreshed.ok && refreshed.denial.reason === 'session-expired' && refreshed.denial.clearCookie)
          return refreshed
      }
      const denied: Denied = { ok: false, denial: denialFor(error, login) }
      entry.failure = { denied, at: performance.now(), successes: providers.of(session).successes() }
      return denied
    }
  }

  function requestOnce(session: Session, wanted: TokenSettings, entry: Entry, now: number): Promise<RouteToken> {
    return flights.run(entry, () => request(session, wanted, entry, now))
  }

  return {
    acquire(session, wanted, now) {
      const entry = entryFor(session, wanted)
      const { token } = entry
      const failure = activeFailure(session, entry)
      const left = token === null ? 0 : (token.expiresAt ?? Number.POSITIVE_INFINITY) - now
      if (token !== null && left > 0) {
        const life = (token.expiresAt ?? Number.POSITIVE_INFINITY) - token.issuedAt
        if (left < life * RENEW_SHARE && failure === null) void requestOnce(session, wanted, entry, now)
        return usable(token)
      }
      return failure ?? requestOnce(session, wanted, entry, now)
    },
    renew(session, wanted, stale, now) {
      const entry = entryFor(session, wanted)
      const { token } = entry
      if (token !== null && token.accessToken !== stale) return Promise.resolve(usable(token))
      const age = token === null ? null : now - token.issuedAt
      // The age of a token is negative after the clock was set back.
      const isYoung = age !== null && age >= 0 && age < MIN_RENEWAL_AGE_MS
      if (isYoung || activeFailure(session, entry) !== null) return null
      return requestOnce(session, wanted, entry, now)
    },
  }
}

function usable(token: TokenSet): RouteToken {
  return { ok: true, accessToken: token.accessToken, proofKey: proofKeyOf(token) }
}

function denialFor(error: unknown, login: ReturnType<typeof requiredLogin>): TokenDenial {
  if (login !== null) {
    const claims = login.claims === null ? {} : { claims: login.claims }
    return { reason: 'step-up', stepUp: { acrValues: null, maxAge: null, ...claims } }
  }
  return isUnreachable(error)
    ? { reason: 'token-unavailable', retryAfter: PAUSE_MS / 1000 }
    : { reason: 'token-refused' }
}
