import type { AccessTokens, Demand } from '../oidc/access-token.ts'
import { BOUND, type VerifiedToken } from '../oidc/token-rules.ts'
import { admit } from './admit.ts'
import type { CompiledRoute, Facts, GateDenial, Verdict } from './verdict.ts'

type BearerRoute = NonNullable<CompiledRoute['bearer']>

/**
 * Decides on a request with the client's own access token. Such a request has no session. Returns `null` if the request
 * has no such token. Returns a decision synchronously if the token was verified before. Rejects only with
 * `provider_unavailable`.
 */
export type BearerGate = (route: CompiledRoute, settings: BearerRoute, facts: Facts, now: number) => Pending | null

type Decision = Verdict | GateDenial
type Pending = Decision | Promise<Decision>

export function buildBearerGate(bearers: Pick<AccessTokens, 'verify'>): BearerGate {
  function decide(route: CompiledRoute, settings: BearerRoute, verified: VerifiedToken, now: number): Decision {
    const { claims } = verified
    if (verified.jkt !== null) return { reason: 'invalid-token', why: BOUND }
    // `createdAt: 0`: without a session, only the token's `auth_time` can show when the user logged in.
    const denial = admit(requiring(route, settings), { claims, createdAt: 0, requestedStepUp: null }, false, now)
    if (denial === null)
      return { type: 'forward', route, session: null, who: verified, accessToken: null, proofKey: null }
    return denial.reason === 'step-up' ? { reason: 'insufficient-authentication', stepUp: denial.stepUp } : denial
  }

  return (route, settings, facts, now) => {
    const token = bearerToken(facts)
    if (token === null)
      return beginsAsBearer(facts)
        ? { reason: 'invalid-token', why: 'Authorization has no well-formed bearer token' }
        : null
    const found = bearers.verify(token, demandOf(route, settings, facts), now)
    return found instanceof Promise
      ? found.then((late) =>
          'why' in late ? { reason: 'invalid-token', ...late } : decide(route, settings, late, now),
        )
      : 'why' in found
        ? { reason: 'invalid-token', ...found }
        : decide(route, settings, found, now)
  }
}

const requirements = new WeakMap<CompiledRoute, CompiledRoute>()

/** Returns the route with `bearer.require` in place of `require`. It also counts where a session is optional. */
function requiring(route: CompiledRoute, { require }: BearerRoute): CompiledRoute {
  if (require === null) return route
  const known = requirements.get(route) ?? { ...route, access: 'required', require }
  requirements.set(route, known)
  return known
}

function demandOf(route: CompiledRoute, settings: BearerRoute, { client }: Facts): Demand {
  return { settings, audiences: settings.audience ?? [], providers: route.provider, address: client.address }
}

/**
 * Returns the token in the client's own `Authorization: Bearer`, or `null`.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 */
function bearerToken({ headers }: Pick<Facts, 'headers'>): string | null {
  const [, token = null] = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(headers.authorization ?? '') ?? []
  return token
}

/**
 * Returns whether any Authorization header begins with `Bearer`, well-formed or not. An application with a more lenient
 * parser than `bearerToken` would accept an unverified token from such a header.
 */
export function beginsAsBearer(facts: Pick<Facts, 'headers' | 'rawHeaders'>): boolean {
  return authorizationFields(facts).some((value) => /^\W*bearer/i.test(value))
}

/** Returns whether there is a single Authorization header with Basic credentials, which cannot contain a JWT. */
export function isBasicAlone(facts: Pick<Facts, 'headers' | 'rawHeaders'>): boolean {
  const [only = '', ...others] = authorizationFields(facts)
  return others.length === 0 && /^Basic +[\w+/-]+=*$/i.test(only)
}

function authorizationFields({ headers, rawHeaders }: Pick<Facts, 'headers' | 'rawHeaders'>): string[] {
  if (headers.authorization === undefined) return []
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'authorization')
}
