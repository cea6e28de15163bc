import type { AccessTokens } from '../oidc/access-token.ts'
import type { Claims } from '../oidc/token-set.ts'
import { admitToken } from './admit.ts'
import { resourceAudiences } from './protected-resource.ts'
import type { CompiledRoute, Facts, GateDenial, Verdict } from './verdict.ts'

type BearerRoute = NonNullable<CompiledRoute['bearer']>

/**
 * Decides on a request with the client's own access token. Such a request has no session. Returns `null` if the request
 * has no such token. Rejects only with `provider_unavailable`.
 */
export type BearerGate = (
  route: CompiledRoute,
  settings: BearerRoute,
  facts: Facts,
  now: number,
) => Promise<Verdict | GateDenial> | null

export function buildBearerGate(bearers: Pick<AccessTokens, 'verify'>): BearerGate {
  async function decide(
    route: CompiledRoute,
    { audience, metadata, scopes }: BearerRoute,
    token: string,
    { client: { address }, origin }: Facts,
    now: number,
  ): Promise<Verdict | GateDenial> {
    let why = ''
    const audiences = [...(audience ?? []), ...(metadata ? resourceAudiences(route, origin) : [])]
    const verified = await bearers.verify(token, audiences, now, route.provider, (reason) => {
      why = reason
    })
    if (verified === null) return { reason: 'invalid-token', why }
    const missing = missingScopes(verified.claims, scopes)
    if (missing.length > 0) return { reason: 'insufficient-scope', why: `its scopes lack ${missing.join(' ')}` }
    const denial = admitToken(route, verified.claims, now, address)
    if (denial === null)
      return {
        type: 'forward',
        route,
        session: null,
        who: { ...verified, bearer: true },
        accessToken: null,
        proofKey: null,
      }
    return denial
  }

  return (route, settings, facts, now) => {
    const token = bearerToken(facts)
    if (token !== null) return decide(route, settings, token, facts, now)
    if (!beginsAsBearer(facts)) return null
    return Promise.resolve({ reason: 'invalid-token', why: 'Authorization has no well-formed bearer token' })
  }
}

/**
 * Returns the required scopes that a token lacks. Its `scope` or `scp` is a list, or a text with spaces.
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3
 */
function missingScopes(claims: Claims, required: readonly string[]): readonly string[] {
  if (required.length === 0) return required
  const granted = new Set([claims['scope'], claims['scp']].flat().flatMap((value) => String(value ?? '').split(' ')))
  return required.filter((scope) => !granted.has(scope))
}

/**
 * Returns the token in the client's own `Authorization: Bearer`, or `null`.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 */
export function bearerToken({ headers }: Pick<Facts, 'headers'>): string | null {
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
