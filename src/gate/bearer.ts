import type { AccessTokens } from '../oidc/access-token.ts'
import type { Claims } from '../oidc/token-set.ts'
import { admit } from './admit.ts'
import type { ClientProof } from '../oidc/dpop-proof.ts'
import type { ClientProofs, Unproven } from './dpop.ts'
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

export function buildBearerGate(bearers: Pick<AccessTokens, 'verify'>, proofs: ClientProofs): BearerGate {
  async function decide(
    route: CompiledRoute,
    { audience, metadata, scopes, dpop }: BearerRoute,
    { scheme, token }: SentToken,
    facts: Facts,
    now: number,
  ): Promise<Verdict | GateDenial> {
    let why = ''
    if (scheme === 'Bearer' && dpop === 'required')
      return { reason: 'invalid-token', scheme, why: 'the route requires a DPoP proof' }
    const proof = scheme === 'DPoP' ? proofs.read(facts, token, now) : null
    if (proof !== null && 'error' in proof) return { reason: 'invalid-token', scheme, ...proof }
    const audiences = [...(audience ?? []), ...(metadata ? resourceAudiences(route, facts.origin) : [])]
    const verified = await bearers.verify(token, audiences, now, route.provider, (reason) => {
      why = reason
    })
    if (verified === null) return { reason: 'invalid-token', scheme, why }
    const { claims } = verified
    const unproven = await whyUnproven(proof, claims, now)
    if (unproven !== null) return { reason: 'invalid-token', scheme, ...unproven }
    const missing = missingScopes(claims, scopes)
    if (missing.length > 0) return { reason: 'insufficient-scope', scheme, why: `its scopes lack ${missing.join(' ')}` }
    // `createdAt: 0`: without a session, only the token's `auth_time` can show when the user logged in.
    const denial = admit(route, { claims, createdAt: 0, requestedStepUp: null }, false, now)
    if (denial === null)
      return {
        type: 'forward',
        route,
        session: null,
        who: { ...verified, bearer: true },
        accessToken: null,
        proofKey: null,
        ...(scheme === 'DPoP' ? { dpopNonce: proofs.nonce(now) } : {}),
      }
    return denial.reason === 'step-up'
      ? { reason: 'insufficient-authentication', scheme, stepUp: denial.stepUp }
      : denial
  }

  /** A bound token without a proof may be stolen: https://www.rfc-editor.org/rfc/rfc7800#section-3 */
  async function whyUnproven(proof: ClientProof | null, claims: Claims, now: number): Promise<Unproven | null> {
    if (proof !== null) return proofs.prove(proof, claims, now)
    return 'cnf' in claims
      ? { error: 'invalid_token', why: 'it is bound to a key of the client (cnf), and there is no proof' }
      : null
  }

  return (route, settings, facts, now) => {
    const sent = sentToken(facts, settings)
    if (sent !== null) return decide(route, settings, sent, facts, now)
    if (!carriesToken(facts, settings)) return null
    return Promise.resolve({ reason: 'invalid-token', why: 'Authorization has no well-formed bearer token' })
  }
}

interface SentToken {
  readonly scheme: 'Bearer' | 'DPoP'
  readonly token: string
}

/**
 * Returns the required scopes that a token lacks. Its `scope` or `scp` is a list, or a text with spaces.
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3
 */
function missingScopes(claims: Claims, required: readonly string[]): readonly string[] {
  if (required.length === 0) return required
  const values: unknown[] = [claims['scope'], claims['scp']].flat()
  const granted = new Set(values.flatMap((value) => (typeof value === 'string' ? value.split(' ') : [])))
  return required.filter((scope) => !granted.has(scope))
}

/**
 * Returns the token in the client's own Authorization, or `null`. The scheme `DPoP` counts on routes that accept proofs.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-7.1
 */
function sentToken({ headers }: Pick<Facts, 'headers'>, { dpop }: Pick<BearerRoute, 'dpop'>): SentToken | null {
  const [, scheme = '', token = null] =
    /^(Bearer|DPoP) +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(headers.authorization ?? '') ?? []
  if (token === null) return null
  if (scheme.toLowerCase() === 'bearer') return { scheme: 'Bearer', token }
  return dpop === 'off' ? null : { scheme: 'DPoP', token }
}

/**
 * Returns whether any Authorization header begins with `Bearer`, or with `DPoP` where proofs are accepted, well-formed or
 * not. An application with a more lenient parser than `sentToken` would accept an unverified token from such a header.
 */
export function carriesToken(
  facts: Pick<Facts, 'headers' | 'rawHeaders'>,
  { dpop }: Pick<BearerRoute, 'dpop'>,
): boolean {
  const begins = dpop === 'off' ? /^\W*bearer/i : /^\W*(?:bearer|dpop)/i
  return authorizationFields(facts).some((value) => begins.test(value))
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
