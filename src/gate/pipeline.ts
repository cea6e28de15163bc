import type { Config } from '../config/schema.ts'
import type { AccessTokens } from '../oidc/access-token.ts'
import type { Session } from '../session/session.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Acquired, Tokens } from '../token/acquire.ts'
import { admit } from './admit.ts'
import { classify } from './classify.ts'
import { provesOrigin } from './csrf.ts'
import { hostOf, type RouteTable } from './match.ts'
import { keepsCookie, denialForMissingToken } from './token-denial.ts'
import type { CompiledRoute, Denial, Facts, Verdict } from './verdict.ts'

/** What the gate asks. */
export interface GateParts {
  readonly config: Pick<Config, 'scripts'>
  readonly routes: RouteTable
  readonly sessions: Pick<Sessions, 'load' | 'wasFollowed'>
  readonly tokens: Pick<Tokens, 'acquire'>
  readonly bearers: Pick<AccessTokens, 'verify'>
}

/**
 * Decides what a request gets: at once while the session is at hand and its token valid, which is the usual; else as a
 * promise. Throws or rejects only when the store can't be asked (`store_unavailable`).
 */
export type Gate = (facts: Facts, now: number) => Verdict | Promise<Verdict>

/** Builds the gate: every request goes through these steps, in this order. */
export function buildGate({ config, routes, sessions, tokens, bearers }: GateParts): Gate {
  function deny(denial: Denial, route: CompiledRoute | null, { method, headers }: Facts): Verdict {
    return { type: 'deny', denial, kind: classify(method, headers, config.scripts), route }
  }

  function byRoute(facts: Facts, now: number): Verdict | Promise<Verdict> {
    const host = hostOf(facts.origin)
    const route = routes.match(host, facts.method, facts.path)
    const reading = routes.conflictingVariant(host, facts.method, facts.path, route)
    if (reading !== null) return deny({ reason: 'ambiguous-path', reading }, null, facts)
    if (route === null || route === 'endpoint') return deny({ reason: 'no-route' }, null, facts)
    if (route.access === 'public') return anonymous(route)

    if (route.bearer !== null) {
      const bearer = bearerToken(facts)
      if (bearer !== null) return byBearer(route, bearer, route.bearer.audience, facts, now)
      if (beginsAsBearer(facts)) {
        return deny({ reason: 'invalid-token', why: 'Authorization has no well-formed bearer token' }, route, facts)
      }
    }
    if (facts.ticket === null) return bySession(route, null, facts, now)
    const found = sessions.load(facts.ticket, now)
    return found instanceof Promise
      ? found.then((session) => bySession(route, session, facts, now))
      : bySession(route, found, facts, now)
  }

  async function byBearer(
    route: CompiledRoute,
    bearer: string,
    audience: readonly string[],
    facts: Facts,
    now: number,
  ): Promise<Verdict> {
    let why = ''
    const claims = await bearers.verify(bearer, audience, now, (because) => {
      why = because
    })
    if (claims === null) return deny({ reason: 'invalid-token', why }, route, facts)
    // When its user logged in, only the token itself can tell.
    const denial = admit(route, { claims, createdAt: 0, asked: null }, false, now)
    if (denial?.reason === 'step-up') return deny({ ...denial, bearer: true }, route, facts)
    return denial === null
      ? { type: 'forward', route, session: null, who: { claims, bearer: true }, accessToken: null }
      : deny(denial, route, facts)
  }

  function bySession(
    route: CompiledRoute,
    session: Session | null,
    facts: Facts,
    now: number,
  ): Verdict | Promise<Verdict> {
    const denial = admit(route, session, facts.ticket !== null, now)
    if (denial !== null) return deny(keepsCookie(denial, facts, sessions), route, facts)
    if (!provesOrigin(facts, route, session)) return deny({ reason: 'cross-origin' }, route, facts)
    if (session === null) return anonymous(route)
    const token = tokens.acquire(session, route.token, now)
    return token instanceof Promise
      ? token.then((late) => byToken(route, session, late, facts, now))
      : byToken(route, session, token, facts, now)
  }

  function byToken(route: CompiledRoute, session: Session, token: Acquired, facts: Facts, now: number): Verdict {
    if (!token.ok) {
      const denial = denialForMissingToken(token, route, session, now)
      // A session that has ended is none, and this route does without one.
      if (route.access === 'optional' && denial.reason === 'session-expired') return anonymous(route)
      return deny(keepsCookie(denial, facts, sessions), route, facts)
    }
    // Tokens that were renewed meanwhile may have brought other claims.
    const later = token.session === session ? null : admit(route, token.session, true, now)
    if (later !== null) return deny(later, route, facts)
    return { type: 'forward', route, session: token.session, who: token.session, accessToken: token.accessToken }
  }

  return byRoute
}

function anonymous(route: CompiledRoute): Verdict {
  return { type: 'forward', route, session: null, who: null, accessToken: null }
}

/** The token that a client brings itself in `Authorization: Bearer` (RFC 6750, section 2.1), or `null`. */
function bearerToken({ headers }: Pick<Facts, 'headers'>): string | null {
  const [, token = null] = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(headers.authorization ?? '') ?? []
  return token
}

/**
 * Whether any Authorization begins with `Bearer`, well-formed or not: an application may read more leniently than
 * `bearerToken` does, and find a token in it that was not verified.
 */
export function beginsAsBearer(facts: Pick<Facts, 'headers' | 'rawHeaders'>): boolean {
  return authorizationFields(facts).some((value) => /^\W*bearer/i.test(value))
}

/** Whether the only Authorization has Basic credentials (RFC 7617), which can't hold a JWT. */
export function isBasicAlone(facts: Pick<Facts, 'headers' | 'rawHeaders'>): boolean {
  const [only = '', ...others] = authorizationFields(facts)
  return others.length === 0 && /^Basic +[\w+/-]+=*$/i.test(only)
}

function authorizationFields({ headers, rawHeaders }: Pick<Facts, 'headers' | 'rawHeaders'>): string[] {
  if (headers.authorization === undefined) return []
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization')
}
