import type { AccessTokens, Demand, NotAccepted } from '../oidc/access-token.ts'
import type { ClientProof } from '../oidc/dpop-proof.ts'
import type { VerifiedToken } from '../oidc/token-rules.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Tokens } from '../token/acquire.ts'
import type { ClientToken, RouteToken } from '../token/route-tokens.ts'
import { admitToken } from './admit.ts'
import type { ClientProofs } from './dpop.ts'
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

/** A request with a token, and the route that it is for. */
interface Asked {
  readonly route: CompiledRoute
  readonly settings: BearerRoute
  readonly sent: SentToken
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
    const verified = pending.get(facts) ?? bearers.verify(token, demandOf(route, settings, facts), now)
    return verified instanceof Promise
      ? verified.then((late) => decideByToken(asked, late, proof))
      : decideByToken(asked, verified, proof)
  }

  function decideByToken(asked: Asked, token: VerifiedToken | NotAccepted, proof: ClientProof | null): Pending {
    const { scheme } = asked.sent
    if ('why' in token) return { reason: 'invalid-token', scheme, why: token.why }
    if (proof !== null)
      return proofs
        .prove(proof, token.claims, asked.now)
        .then((unproven) =>
          unproven === null ? decideByClaims(asked, token) : { reason: 'invalid-token', scheme, ...unproven },
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
    const sent = sentToken(facts, settings)
    if (sent !== null) return decide({ route, settings, sent, address: facts.client.address, now }, facts)
    if (!carriesToken(facts, settings)) return null
    return { reason: 'invalid-token', why: 'Authorization has no well-formed bearer token' }
  }
}

/**
 * Returns the owner of the token of a request, or `null` if the request has no token, or `mayVerify` forbids to verify a
 * new one. Returns a promise for a token that was not verified before: it resolves to `null` if the route does not accept
 * the token, and rejects with `provider_unavailable`.
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
    const sent = sentToken(facts, route.bearer)
    if (sent === null) return null
    const demand = demandOf(route, route.bearer, facts)
    const known = bearers.known(sent.token, demand, now)
    if (known !== null) return known.owner
    if (!mayVerify()) return null
    const verified = Promise.resolve(bearers.verify(sent.token, demand, now))
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

/** The client's own token goes upstream. */
const UNCHANGED = { accessToken: null, proofKey: null }

function demandOf(route: CompiledRoute, settings: BearerRoute, { client, origin }: Facts): Demand {
  const { audience, metadata } = settings
  const audiences = metadata ? [...(audience ?? []), ...resourceAudiences(route, origin)] : (audience ?? [])
  return { settings, audiences, providers: route.provider, address: client.address || client.peer }
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
  // Without a URI, a scope that ends with a slash would have an empty name.
  granted.delete('')
  const isOfEntra = typeof claims['scp'] === 'string'
  return required.filter((scope) => !granted.has(scope) && !(isOfEntra && granted.has(withoutUri(scope))))
}

/** Entra ID leaves out the URI of the application: a token for `api://orders/orders.read` has `orders.read` in `scp`. */
function withoutUri(scope: string): string {
  return scope.slice(scope.lastIndexOf('/') + 1)
}

/**
 * Returns the token in the client's own Authorization, or `null`. The scheme `DPoP` counts on routes that accept proofs.
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-7.1
 */
export function sentToken({ headers }: Pick<Facts, 'headers'>, { dpop }: Pick<BearerRoute, 'dpop'>): SentToken | null {
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
