import type { Config } from '../config/schema.ts'
import type { AccessTokens } from '../oidc/access-token.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Acquired, Tokens } from '../token/acquire.ts'
import { admit, allowsProvider, denyWithoutToken, keepCookieOfSuccessor } from './admit.ts'
import { buildBearerGate, type ClientDenial } from './bearer.ts'
import { classify } from './classify.ts'
import { preflightRoute } from './cors.ts'
import { passesCsrfCheck } from './csrf.ts'
import type { ClientProofs } from './client-proofs.ts'
import { hostOf, type RouteTable } from './match.ts'
import type { CompiledRoute, Facts, GateDenial, Verdict } from './verdict.ts'

interface GateServices {
  readonly config: Pick<Config, 'scripts'>
  readonly routes: RouteTable
  readonly sessions: Pick<Sessions, 'load' | 'hasSuccessor'>
  readonly tokens: Pick<Tokens, 'acquire' | 'exchange'>
  readonly bearers: Pick<AccessTokens, 'verify'>
  readonly proofs: ClientProofs
}

/**
 * Decides whether a request is forwarded. Returns the verdict synchronously in the usual case, in which the session is
 * cached and its token is valid. Throws or rejects only with `store_unavailable`.
 */
export type Gate = (facts: Facts, now: number) => Verdict | Promise<Verdict>

export function buildGate({ config, routes, sessions, tokens, bearers, proofs }: GateServices): Gate {
  function deny(
    denial: GateDenial,
    route: CompiledRoute | null,
    { method, headers }: Facts,
    now: number,
    session: Session | null = null,
  ): Extract<Verdict, { type: 'deny' }> {
    const kind = classify(method, headers, config.scripts)
    const takesProofs = route !== null && route.bearer !== null && route.bearer.dpop !== 'off'
    const nonce = takesProofs ? { dpopNonce: proofs.nonce(now) } : {}
    return { type: 'deny', denial, kind, route, session, ...nonce }
  }

  /** A client with a token of its own is a program, regardless of the media types that it accepts. */
  function denyClient({ who, ...denial }: ClientDenial, route: CompiledRoute, facts: Facts, now: number): Verdict {
    const denied = deny(denial, route, facts, now)
    const kind = denied.kind === 'websocket' ? denied.kind : 'script'
    return { ...denied, kind, ...(who === undefined ? {} : { who }) }
  }

  function verdictOf(decided: Verdict | ClientDenial, route: CompiledRoute, facts: Facts, now: number): Verdict {
    return 'type' in decided ? decided : denyClient(decided, route, facts, now)
  }

  const decideByBearer = buildBearerGate({ bearers, proofs, tokens })

  /** Takes all steps synchronously. A request that must wait for its session or token continues in another function. */
  function decideNow(facts: Facts, now: number): Verdict | Promise<Verdict> {
    // Browsers send preflight requests without cookies, so these requests need no session.
    const asked = preflightRoute(routes, facts)
    if (asked !== null) return { type: 'preflight', route: asked }
    const host = hostOf(facts.origin)
    const route = routes.match(host, facts.method, facts.path)
    const variant = routes.conflictingVariant(host, facts.method, facts.path, route)
    if (variant !== null) return deny({ reason: 'ambiguous-path', variant }, null, facts, now)
    if (route === null || route === 'endpoint') return deny({ reason: 'no-route' }, null, facts, now)
    if (route.access === 'public') return anonymous(route)

    if (route.bearer !== null) {
      const decided = decideByBearer(route, route.bearer, facts, now)
      if (decided instanceof Promise) return decided.then((late) => verdictOf(late, route, facts, now))
      if (decided !== null) return verdictOf(decided, route, facts, now)
    }

    const session = facts.ticket === null ? null : sessions.load(facts.ticket, now)
    return session instanceof Promise
      ? session.then((late) => decideBySession(route, late, facts, now))
      : decideBySession(route, session, facts, now)
  }

  function decideBySession(
    route: CompiledRoute,
    found: Session | null,
    facts: Facts,
    now: number,
  ): Verdict | Promise<Verdict> {
    if (found !== null && !allowsProvider(route, found.provider)) {
      const denial = denyBySession(route, null, facts, false, now)
      if (denial === null) return anonymous(route)
      const { provider: foreign = '' } = found
      return deny(denial.reason === 'login-required' ? { ...denial, foreign } : denial, route, facts, now)
    }
    const denial = denyBySession(route, found, facts, facts.ticket !== null, now)
    if (denial !== null) return deny(denial, route, facts, now, found)
    if (found === null) return anonymous(route)
    const token = tokens.acquire(found, route.token, now)
    return token instanceof Promise
      ? token.then((late) => decideByToken(route, found, late, facts, now))
      : decideByToken(route, found, token, facts, now)
  }

  function denyBySession(
    route: CompiledRoute,
    session: Session | null,
    facts: Facts,
    hadTicket: boolean,
    now: number,
  ): GateDenial | null {
    const denial = admit(route, session, hadTicket, now, facts.client.address)
    if (denial !== null) return keepCookieOfSuccessor(denial, facts, sessions)
    return passesCsrfCheck(facts, route, session) ? null : { reason: 'cross-origin' }
  }

  function decideByToken(route: CompiledRoute, session: Session, token: Acquired, facts: Facts, now: number): Verdict {
    if (!token.ok) {
      const denial = denyWithoutToken(token.denial, route, session, facts, sessions, now)
      // A route with an optional session treats an ended session like a missing one.
      if (denial.reason === 'session-expired' && route.access === 'optional') return anonymous(route)
      return deny(denial, route, facts, now, session)
    }
    // A refresh may have changed the claims.
    const denial = token.session === session ? null : admit(route, token.session, true, now, facts.client.address)
    if (denial !== null) return deny(denial, route, facts, now, token.session)
    const { accessToken, proofKey } = token
    return { type: 'forward', route, session: token.session, who: token.session, accessToken, proofKey }
  }

  return decideNow
}

function anonymous(route: CompiledRoute): Verdict {
  return { type: 'forward', route, session: null, who: null, accessToken: null, proofKey: null }
}
