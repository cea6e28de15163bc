import type { AccessTokens, NotAccepted, TokenRequirements } from '../oidc/access-token.ts'
import type { ClientProof } from '../oidc/dpop-proof.ts'
import type { VerifiedToken } from '../oidc/token-rules.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Tokens } from '../token/acquire.ts'
import type { ClientToken, RouteToken } from '../token/route-tokens.ts'
import { admitToken } from './admit.ts'
import { carriesToken, presentedToken, type PresentedToken } from './authorization.ts'
import type { ClientProofs } from './client-proofs.ts'
import { hostOf, type RouteTable } from './match.ts'
import { resourceAudiences } from './protected-resource.ts'
import type { CompiledRoute, Facts, GateDenial, Verdict, Who } from './verdict.ts'

type BearerRoute = NonNullable<CompiledRoute['bearer']>

type Forward = Extract<Verdict, { type: 'forward' }>
/** `who`: the client, if its token has been verified. */
export type ClientDenial = GateDenial & { readonly who?: Who }

type Decision = Verdict | ClientDenial
type Pending = Decision | Promise<Decision>

/**
 * Decides on a request with the client's own access token. Such a request has no session. Returns `null` if the request
 * has no such token. Decides synchronously if the token was verified before and needs no proof. Rejects only with
 * `provider_unavailable` and `store_unavailable`.
 */
export type BearerGate = (route: CompiledRoute, settings: BearerRoute, facts: Facts, now: number) => Pending | null

/** A request with a token, and its route. */
interface Asked {
  readonly route: CompiledRoute
  readonly settings: BearerRoute
  readonly sent: PresentedToken
  readonly address: string
  readonly now: number
}

interface BearerServices {
  readonly bearers: Pick<AccessTokens, 'verify'>
  readonly proofs: ClientProofs
  readonly tokens: Pick<Tokens, 'exchange'>
}

export function buildBearerGate({ bearers, proofs, tokens }: BearerServices): BearerGate {
  function decide(asked: Asked, facts: Facts): Pending {
    const { route, settings, now } = asked
    const { scheme, token } = asked.sent
    if (scheme === 'Bearer' && settings.dpop === 'required')
      return { reason: 'invalid-token', scheme, why: 'the route requires a DPoP proof' }
    const proof = scheme === 'DPoP' ? proofs.read(facts, token, now) : null
    if (proof !== null && 'error' in proof) return { reason: 'invalid-token', scheme, ...proof }
    const verified =
      pending.get(facts) ?? bearers.verify(token, requirementsOf(route, settings, facts.origin), now, sourceOf(facts))
    return verified instanceof Promise
      ? verified.then((late) => decideByToken(asked, late, proof))
      : decideByToken(asked, verified, proof)
  }

  function decideByToken(asked: Asked, token: VerifiedToken | NotAccepted, proof: ClientProof | null): Pending {
    const { scheme } = asked.sent
    if ('why' in token) return { reason: 'invalid-token', scheme, why: token.why }
    if (proof !== null)
      return proofs
        .verify(proof, token.claims, asked.now)
        .then((error) =>
          error === null ? decideByClaims(asked, token) : { reason: 'invalid-token', scheme, ...error },
        )
    // A bound token without a proof may be stolen: https://www.rfc-editor.org/rfc/rfc7800#section-3
    return 'cnf' in token.claims
      ? { reason: 'invalid-token', scheme, why: 'it is bound to a key of the client (cnf), and there is no proof' }
      : decideByClaims(asked, token)
  }

  function decideByClaims(asked: Asked, token: VerifiedToken): Pending {
    const { route, settings, sent, now } = asked
    const { scheme } = sent
    const { claims } = token
    const missing = missingScopes(claims, settings.scopes)
    if (missing.length > 0)
      return { reason: 'insufficient-scope', scheme, why: `its scopes lack ${missing.join(' ')}`, who: token }
    const denial = admitToken(route, claims, now, asked.address)
    if (denial !== null) return denialForClient(denial, asked, token)
    if (settings.token === 'pass') return forward(asked, token, UNCHANGED)
    const provider = token.provider ?? route.provider?.[0]
    const client = { id: `token ${token.digest}`, provider, accessToken: sent.token }
    const got = tokens.exchange(client, route.token, now)
    return got instanceof Promise
      ? got.then((late) => decideByExchange(asked, token, client, late))
      : decideByExchange(asked, token, client, got)
  }

  function decideByExchange(asked: Asked, who: VerifiedToken, exchanged: ClientToken, got: RouteToken): Decision {
    if (got.ok) return forward(asked, who, { accessToken: got.accessToken, proofKey: got.proofKey, exchanged })
    return denialForClient(got.denial, asked, who)
  }

  function forward(
    { route, sent, now }: Asked,
    who: VerifiedToken,
    token: Pick<Forward, 'accessToken' | 'proofKey' | 'exchanged'>,
  ): Forward {
    const nonce = sent.scheme === 'DPoP' ? { dpopNonce: proofs.nonce(now) } : {}
    return { type: 'forward', route, session: null, who, ...token, ...nonce }
  }

  return (route, settings, facts, now) => {
    const sent = presentedToken(facts, settings)
    if (sent !== null) return decide({ route, settings, sent, address: facts.client.address, now }, facts)
    if (!carriesToken(facts, settings)) return null
    return { reason: 'invalid-token', why: 'Authorization has no well-formed bearer token' }
  }
}

/**
 * Returns the owner of the token of a request. Returns `null` if the request has no token, or if `mayVerify` forbids
 * verifying a new one. Returns a promise for a token that was not verified before: it resolves to `null` if the route
 * does not accept the token, and rejects with `provider_unavailable`.
 */
export type FindTokenOwner = (
  facts: Facts,
  now: number,
  mayVerify: () => boolean,
) => string | null | Promise<string | null>

export function buildFindTokenOwner(
  routes: RouteTable,
  bearers: Pick<AccessTokens, 'known' | 'verify'>,
): FindTokenOwner {
  return (facts, now, mayVerify) => {
    if (facts.headers.authorization === undefined) return null
    const route = routes.match(hostOf(facts.origin), facts.method, facts.path)
    if (route === null || route === 'endpoint' || route.bearer === null) return null
    const sent = presentedToken(facts, route.bearer)
    if (sent === null) return null
    const requirements = requirementsOf(route, route.bearer, facts.origin)
    const known = bearers.known(sent.token, requirements, now)
    if (known !== null) return known.owner
    if (!mayVerify()) return null
    const verified = Promise.resolve(bearers.verify(sent.token, requirements, now, sourceOf(facts)))
    pending.set(facts, verified)
    return verified.then((token) => ('why' in token ? null : token.owner))
  }
}

/** The verifications that rate limits have begun, by request. The decision on the request does not verify again. */
const pending = new WeakMap<Facts, Promise<VerifiedToken | NotAccepted>>()

/** A client that needs another login gets a 401, because the gateway cannot send it to a login. */
function denialForClient(denial: GateDenial, { sent: { scheme } }: Asked, who: Who): ClientDenial {
  return denial.reason === 'step-up' || denial.reason === 'insufficient-authentication'
    ? { reason: 'insufficient-authentication', scheme, stepUp: denial.stepUp, who }
    : { ...denial, who }
}

/** Returns the address by which calls about unknown tokens are limited: that of the proxy if it reports none that can be read. */
function sourceOf({ client }: Facts): string {
  return client.address || client.peer
}

/** The client's own token goes upstream. */
const UNCHANGED = { accessToken: null, proofKey: null }

/** The requirements of each route at the origin of its last request. */
const requirementsByRoute = new WeakMap<CompiledRoute, { origin: string; readonly requirements: TokenRequirements }>()

function requirementsOf(route: CompiledRoute, settings: BearerRoute, origin: string): TokenRequirements {
  const { audience, metadata } = settings
  const known = requirementsByRoute.get(route)
  if (known !== undefined && (known.origin === origin || !metadata)) return known.requirements
  const audiences = metadata ? [...(audience ?? []), ...resourceAudiences(route, origin)] : (audience ?? [])
  const requirements = { settings, audiences, providers: route.provider }
  requirementsByRoute.set(route, { origin, requirements })
  return requirements
}

/** Returns the required scopes that a token lacks. */
function missingScopes(claims: Claims, required: readonly string[]): readonly string[] {
  if (required.length === 0) return required
  const granted = grantedScopes(claims)
  let missing: string[] | null = null
  for (const scope of required) if (!covers(granted, scope)) (missing ??= []).push(scope)
  return missing ?? NO_SCOPES
}

const NO_SCOPES: readonly string[] = []

interface GrantedScopes {
  readonly names: ReadonlySet<string>
  /** Whether the token is one of Entra ID, by its `scp`. */
  readonly isOfEntra: boolean
}

const scopesByClaims = new WeakMap<Claims, GrantedScopes>()

/**
 * Returns the scopes of a token. Its `scope` or `scp` is a list, or a text with spaces.
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3
 */
function grantedScopes(claims: Claims): GrantedScopes {
  const known = scopesByClaims.get(claims)
  if (known !== undefined) return known
  const values: unknown[] = [claims['scope'], claims['scp']].flat()
  const names = new Set(values.flatMap((value) => (typeof value === 'string' ? value.split(' ') : [])))
  // Without a URI, a scope that ends with a slash would have an empty name.
  names.delete('')
  const granted = { names, isOfEntra: typeof claims['scp'] === 'string' }
  scopesByClaims.set(claims, granted)
  return granted
}

function covers({ names, isOfEntra }: GrantedScopes, scope: string): boolean {
  return names.has(scope) || (isOfEntra && names.has(withoutUri(scope)))
}

/** Entra ID leaves out the URI of the application: a token for `api://orders/orders.read` has `orders.read` in `scp`. */
function withoutUri(scope: string): string {
  return scope.slice(scope.lastIndexOf('/') + 1)
}
