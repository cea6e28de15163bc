import { LRUCache } from 'lru-cache'
import { causes } from '../errors.ts'
import type { Provider } from '../oidc/provider.ts'
import type { Providers } from '../oidc/providers.ts'
import { isUnreachable, requiredLogin, refusalOf } from '../oidc/oauth-errors.ts'
import { grantForRoute, missingAudience, type TokenSettings } from '../oidc/route-grants.ts'
import type { DpopKey } from '../oidc/dpop.ts'
import { proofKeyOf, type TokenSet } from '../oidc/token-set.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import { type Log, sessionFields } from '../telemetry/log.ts'
import { pauseUntil } from './refresh-backoff.ts'
import type { Denied, TokenDenial } from './denial.ts'
import type { Refresher } from './refresh.ts'

export type RouteToken =
  /** `proofKey` must sign a proof for each use of the token, unless it is `null`. */
  { readonly ok: true; readonly accessToken: string; readonly proofKey: DpopKey | null } | Denied

/** A client's own access token, which is exchanged for the token of a route. */
export interface ClientToken {
  /** Identifies the token. Differs from the ids of sessions. */
  readonly id: string
  /** The name of the provider that exchanges the token. `undefined` for the first provider. */
  readonly provider: string | undefined
  readonly accessToken: string
}

type Owner = Session | ClientToken

/** The tokens of routes that use neither the session's access token nor the client's own token. */
export interface RouteTokens {
  /** Returns the cached token while it is valid, otherwise requests one. Concurrent calls for a token share a request. */
  acquire(owner: Owner, wanted: TokenSettings, now: number): RouteToken | Promise<RouteToken>
  /** Replaces `stale`, which the upstream rejected. Returns `null` if `stale` was issued a moment ago. */
  renew(owner: Owner, wanted: TokenSettings, stale: string, now: number): Promise<RouteToken> | null
}

/** The last share of a token's lifetime, in which the token is refreshed in the background. */
const RENEW_SHARE = 0.2
const MAX_OWNERS = 20_000
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
  const entries = new LRUCache<string, Map<string, Entry>>({ max: MAX_OWNERS })
  const flights = singleFlight<Entry, RouteToken>()
  const warned = new Set<string>()
  sessions.onEnd((id) => {
    entries.delete(id)
  })

  function providerOf(owner: Owner): Provider {
    if (isSession(owner)) return providers.of(owner)
    const provider = providers.find(owner.provider) ?? providers.all[0]
    if (provider === undefined) throw new Error('there is no provider')
    return provider
  }

  function entryFor(owner: Owner, wanted: TokenSettings): Entry {
    // The tokens of that grant belong to the gateway's client at the provider. No id contains a space.
    const key = wanted.grant === 'client-credentials' ? `client ${owner.provider ?? ''}` : owner.id
    const name = JSON.stringify([wanted.grant, wanted.audience, wanted.resource, wanted.scopes])
    const tokens = entries.get(key) ?? new Map<string, Entry>()
    entries.set(key, tokens)
    const entry = tokens.get(name) ?? { token: null, failure: null }
    tokens.set(name, entry)
    return entry
  }

  /** Returns the failure that delays the next attempt. The pause after an outage is shorter once the provider recovers. */
  function activeFailure(owner: Owner, { failure }: Entry): Denied | null {
    if (failure === null) return null
    const { denied, at, successes } = failure
    const hasRecovered = denied.denial.reason === 'token-unavailable' && successes !== providerOf(owner).successes()
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

  async function request(owner: Owner, wanted: TokenSettings, entry: Entry, now: number): Promise<RouteToken> {
    const session = isSession(owner) ? owner : null
    try {
      entry.token =
        session !== null && wanted.grant === 'session'
          ? await refresher.redeem(session, wanted, now)
          : await grantForRoute(providerOf(owner), wanted, 'tokens' in owner ? owner.tokens : owner, now)
      entry.failure = null
      warnOfAudience(wanted, entry.token)
      return usable(entry.token)
    } catch (error) {
      log.warn(
        {
          event: 'exchange_failed',
          ...(session === null ? { provider: owner.provider } : sessionFields(log, session)),
          grant: wanted.grant,
          cause: causes(error),
        },
        'the provider issued no token for a route',
      )
      const login = requiredLogin(error)
      if (session !== null && wanted.grant === 'session' && refusalOf(error) === 'invalid-grant' && login === null) {
        // The provider rejected the refresh token itself. An ordinary refresh decides whether the session has ended.
        const refreshed = await refresher.refresh(session, 'asked', Date.now())
        if (!refreshed.ok && refreshed.denial.reason === 'session-expired' && refreshed.denial.clearCookie)
          return refreshed
      }
      const denied: Denied = { ok: false, denial: denialFor(error, login) }
      entry.failure = { denied, at: performance.now(), successes: providerOf(owner).successes() }
      return denied
    }
  }

  function requestOnce(owner: Owner, wanted: TokenSettings, entry: Entry, now: number): Promise<RouteToken> {
    return flights.run(entry, () => request(owner, wanted, entry, now))
  }

  return {
    acquire(owner, wanted, now) {
      const entry = entryFor(owner, wanted)
      const { token } = entry
      const failure = activeFailure(owner, entry)
      const left = token === null ? 0 : (token.expiresAt ?? Number.POSITIVE_INFINITY) - now
      if (token !== null && left > 0) {
        const life = (token.expiresAt ?? Number.POSITIVE_INFINITY) - token.issuedAt
        if (left < life * RENEW_SHARE && failure === null) void requestOnce(owner, wanted, entry, now)
        return usable(token)
      }
      return failure ?? requestOnce(owner, wanted, entry, now)
    },
    renew(owner, wanted, stale, now) {
      const entry = entryFor(owner, wanted)
      const { token } = entry
      if (token !== null && token.accessToken !== stale) return Promise.resolve(usable(token))
      const age = token === null ? null : now - token.issuedAt
      // The age of a token is negative after the clock was set back.
      const isYoung = age !== null && age >= 0 && age < MIN_RENEWAL_AGE_MS
      if (isYoung || activeFailure(owner, entry) !== null) return null
      return requestOnce(owner, wanted, entry, now)
    },
  }
}

function isSession(owner: Owner): owner is Session {
  return 'ticket' in owner
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
