import { errors } from 'jose'
import { LRUCache } from 'lru-cache'
import type { Route } from '../config/schema.ts'
import { Fault, causes, quote } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { createIntrospection, type Introspection } from './introspection.ts'
import { accessTokenIssuers, mayHaveIssued } from './issuer.ts'
import { jwtType } from './jwks.ts'
import { isUnreachable } from './oauth-errors.ts'
import type { Provider } from './provider.ts'
import type { Providers } from './providers.ts'
import { createTokenIssuers, substitutesOf, type TokenIssuer } from './token-issuers.ts'
import {
  tailOf,
  toVerifiedToken,
  checkToken,
  mismatchText,
  type AcceptedTokens,
  type TokenMismatch,
  type TokenForm,
  type VerifiedToken,
} from './token-rules.ts'
import { unverifiedClaims, type Claims } from './token-set.ts'

/**
 * What a route requires of the access token of a client. Results are cached by this object, so it should be the same for
 * all requests to a route at an origin.
 */
export interface TokenRequirements {
  readonly settings: Pick<NonNullable<Route['bearer']>, 'audience' | 'clientIds' | 'issuers' | 'introspection'>
  /** `bearer.audience`, and the URL of the resource if that is an accepted audience. */
  readonly audiences: readonly string[]
  /** The names of the providers that the route allows, or `null` for all. */
  readonly providers: readonly string[] | null
}

/** Why a token is not accepted, for the log. */
export interface NotAccepted {
  readonly why: string
}

export interface AccessTokens {
  /**
   * Verifies an access token of a provider or another issuer of the route: a JWT by its signature, any other token at
   * the provider's introspection endpoint. Returns the result synchronously if the token was verified before. Rejects
   * with `provider_unavailable` if the token cannot be verified at the moment. `address` is the client's address.
   * @see https://www.rfc-editor.org/rfc/rfc9068#section-4
   */
  verify(
    token: string,
    requirements: TokenRequirements,
    now: number,
    address: string,
  ): VerifiedToken | NotAccepted | Promise<VerifiedToken | NotAccepted>
  /** Returns a token that was verified before and that the route accepts, or `null`. */
  known(token: string, requirements: TokenRequirements, now: number): VerifiedToken | null
  close(): Promise<void>
}

const FORMS: ReadonlyMap<string, TokenForm> = new Map([
  ['at+jwt', 'at+jwt'],
  ['application/at+jwt', 'at+jwt'],
  ['jwt', 'jwt'],
])
const MAX_REMEMBERED = 5_000

interface Signed {
  readonly raw: string
  readonly source: Provider | TokenIssuer
  readonly form: TokenForm
  readonly token: VerifiedToken
  readonly expiresAt: number
}

/** The requirements of a route, with everything that does not depend on the token. */
interface CompiledRequirements {
  readonly providers: readonly Provider[]
  /** A reload may change the preset of a provider. */
  readonly byPreset: Map<AcceptedTokens['substitutes'], AcceptedTokens>
  /** In the order of `bearer.issuers`. */
  readonly byIssuer: readonly (Pick<TokenIssuer, 'issuer' | 'jwksUri'> & { readonly accepted: AcceptedTokens })[]
}

/** Creates a verifier that caches each verified token until the token expires. */
export function createAccessTokens(providers: Providers, log: Log): AccessTokens {
  const verified = new LRUCache<string, Signed>({ max: MAX_REMEMBERED })
  const issuers = createTokenIssuers()
  const introspections = new Map<Provider, Introspection>()
  const warned = new Set<string>()

  // Several providers may be clients at the same issuer. A reload never changes their names, issuers and client IDs.
  const ownClientIds = providers.all.map(({ settings }) => settings.clientId)
  const compiled = new WeakMap<TokenRequirements, CompiledRequirements>()

  function compiledOf(requirements: TokenRequirements): CompiledRequirements {
    const known = compiled.get(requirements)
    if (known !== undefined) return known
    const { settings, audiences, providers: names } = requirements
    const clientIds = settings.clientIds ?? []
    const fresh: CompiledRequirements = {
      providers: names === null ? providers.all : providers.all.filter(({ name }) => names.includes(name ?? '')),
      byPreset: new Map(),
      byIssuer: settings.issuers.map(({ issuer, jwksUri, audience }) => ({
        issuer,
        jwksUri,
        accepted: {
          audiences: audience ?? audiences,
          clientIds: audience === null ? clientIds : [],
          substitutes: substitutesOf(issuer),
          ownClientIds: clientsAt(issuer),
        },
      })),
    }
    compiled.set(requirements, fresh)
    return fresh
  }

  function allowed(requirements: TokenRequirements): readonly Provider[] {
    return compiledOf(requirements).providers
  }

  function introspectionOf(provider: Provider): Introspection {
    const known = introspections.get(provider) ?? createIntrospection(provider)
    introspections.set(provider, known)
    return known
  }

  function checkAtProvider(
    provider: Provider,
    claims: Claims,
    form: TokenForm,
    requirements: TokenRequirements,
  ): TokenMismatch | null {
    const { settings, audiences } = requirements
    const { byPreset } = compiledOf(requirements)
    const substitutes = provider.peek()?.preset ?? NO_SUBSTITUTES
    let accepted = byPreset.get(substitutes)
    if (accepted === undefined) {
      accepted = { audiences, clientIds: settings.clientIds ?? [], substitutes, ownClientIds }
      byPreset.set(substitutes, accepted)
    }
    return checkToken(claims, form, accepted)
  }

  /** Returns the client IDs of the gateway at an issuer that a route lists although it is that of a provider. */
  function clientsAt(issuer: string): readonly string[] {
    return providers.all.filter(({ settings }) => settings.issuer === issuer).map(({ settings }) => settings.clientId)
  }

  /** Returns why a route does not accept a JWT whose signature is valid, or `null` if the route accepts it. */
  function checkSigned(
    { source, form, token: { claims } }: Signed,
    requirements: TokenRequirements,
  ): TokenMismatch | null {
    if ('discovered' in source)
      return allowed(requirements).includes(source) ? checkAtProvider(source, claims, form, requirements) : NO_CLAIM
    let mismatch: TokenMismatch | null = NO_CLAIM
    for (const { issuer, jwksUri, accepted } of compiledOf(requirements).byIssuer) {
      if (issuer !== source.issuer || jwksUri !== source.jwksUri) continue
      mismatch = checkToken(claims, form, accepted)
      if (mismatch === null) return null
    }
    return mismatch
  }

  function known(token: string, requirements: TokenRequirements, now: number): VerifiedToken | null {
    const found = verified.get(tailOf(token))
    if (found !== undefined && found.raw === token)
      return now < found.expiresAt && checkSigned(found, requirements) === null ? found.token : null
    if (requirements.settings.introspection === 'off') return null
    for (const [provider, introspection] of introspections) {
      const active = introspection.peek(token, now)
      if (active === null || !allowed(requirements).includes(provider)) continue
      return checkAtProvider(provider, active.claims, 'opaque', requirements) === null ? active : null
    }
    return null
  }

  /** Yields the result of each possible issuer of a JWT. */
  async function* verifications(raw: string, form: TokenForm, requirements: TokenRequirements, now: number) {
    const { iss } = unverifiedClaims(raw)
    const candidates = allowed(requirements)
    const [first] = candidates
    const others = requirements.settings.issuers.filter(({ issuer }) => issuer === iss)
    if (first !== undefined)
      for (const source of new Set(others.map((one) => issuers.of(one, first))))
        yield await verifyAtIssuer(source, raw, form, now)
    const possible = providers.mayHaveIssued(raw, candidates, issuersOf)
    for (const provider of possible)
      // A single provider is possible for any issuer.
      if (others.length === 0 || issuersOf(provider).some((one) => mayHaveIssued(one, String(iss))))
        yield await verifyAtProvider(provider, raw, form, now)
  }

  async function verifyJwt(raw: string, type: string, requirements: TokenRequirements, now: number) {
    const form = FORMS.get(type)
    if (form === undefined)
      return { why: type === '' ? 'its typ is not text' : `its typ is ${quote(type)}, not at+jwt` }
    let why = UNKNOWN_ISSUER
    for await (const result of verifications(raw, form, requirements, now)) {
      const mismatch = typeof result === 'string' ? null : checkSigned(result, requirements)
      if (typeof result === 'string') why = result
      else if (mismatch !== null) why = mismatchText(mismatch)
      else {
        verified.set(tailOf(raw), result)
        return result.token
      }
    }
    return { why }
  }

  /**
   * Returns the provider that is asked about tokens that are not JWTs. Such a token does not say who issued it, and must
   * not be disclosed to another provider, so there must be one provider with an introspection endpoint.
   */
  async function introspector(requirements: TokenRequirements): Promise<Provider | NotAccepted> {
    const able: Provider[] = []
    for (const provider of allowed(requirements)) if ((await provider.discovered()).introspects) able.push(provider)
    const [one, other] = able
    if (one !== undefined && other === undefined) return one
    const why =
      other === undefined
        ? 'it is not a JWT, and the provider has no introspection endpoint'
        : 'it is not a JWT, and several providers of the route have an introspection endpoint'
    warnOnce(
      why,
      other === undefined ? 'set provider.endpoints.introspection' : 'set provider on the route to one of them',
    )
    return { why }
  }

  function warnOnce(why: string, advice: string): void {
    if (warned.has(why)) return
    warned.add(why)
    log.warn({ event: 'introspection_unavailable' }, `a client’s token was not accepted, because ${why}: ${advice}`)
  }

  async function verifyOpaque(
    raw: string,
    requirements: TokenRequirements,
    now: number,
    address: string,
  ): Promise<VerifiedToken | NotAccepted> {
    if (requirements.settings.introspection === 'off') return { why: 'it is not a JWT' }
    const provider = await introspector(requirements)
    if ('why' in provider) return provider
    const answer = await introspectionOf(provider).ask(raw, address, now)
    if ('why' in answer) return answer
    const mismatch = checkAtProvider(provider, answer.token.claims, 'opaque', requirements)
    return mismatch === null ? answer.token : { why: mismatchText(mismatch) }
  }

  return {
    known,
    verify(raw, requirements, now, address) {
      const found = known(raw, requirements, now)
      if (found !== null) return found
      // An encrypted JWT has five parts, and only its audience can read it.
      const type = raw.split('.', 4).length === 3 ? jwtType(raw) : null
      return type === null ? verifyOpaque(raw, requirements, now, address) : verifyJwt(raw, type, requirements, now)
    },
    close: () => issuers.close(),
  }
}

/** A token of an issuer that the route does not name. */
const NO_CLAIM: TokenMismatch = []
const NO_SUBSTITUTES: AcceptedTokens['substitutes'] = {}
const UNKNOWN_ISSUER = 'no issuer of this route has its iss'

async function verifyAtProvider(provider: Provider, raw: string, form: TokenForm, now: number) {
  const { configuration, preset, keys } = await provider.discovered()
  const server = configuration.serverMetadata()
  if (server.jwks_uri === undefined) return 'the provider has no keys that verify a JWT'
  const { iss } = unverifiedClaims(raw)
  const issuer = accessTokenIssuers(server, preset).find((one) => mayHaveIssued(one, String(iss))) ?? server.issuer
  try {
    const claims = await keys.verify(raw, { issuer, requiredClaims: ['exp', 'sub'] }, now)
    return toSigned(provider, raw, form, claims, { issuer, name: provider.name, substitutes: preset ?? {} })
  } catch (error) {
    if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
    return whyUnverified(error, issuer)
  }
}

async function verifyAtIssuer(source: TokenIssuer, raw: string, form: TokenForm, now: number) {
  try {
    const claims = await source.verify(raw, now)
    const { issuer } = source
    return toSigned(source, raw, form, claims, { issuer, name: undefined, substitutes: source.substitutes })
  } catch (error) {
    if (error instanceof Fault) throw error
    return whyUnverified(error, source.issuer)
  }
}

function issuersOf(provider: Provider): readonly string[] {
  const found = provider.peek()
  if (found === null) return [provider.settings.issuer]
  return accessTokenIssuers(found.configuration.serverMetadata(), found.preset)
}

function toSigned(
  source: Signed['source'],
  raw: string,
  form: TokenForm,
  claims: Claims,
  issuedBy: Parameters<typeof toVerifiedToken>[2],
): Signed | string {
  const token = toVerifiedToken(raw, claims, issuedBy)
  if (typeof token === 'string') return token
  const { exp } = claims
  return typeof exp === 'number' ? { raw, source, form, token, expiresAt: exp * 1000 } : 'its exp is not a number'
}

/** Returns the reason why a token is refused. Quotes the token's claims only if its signature is valid. */
function whyUnverified(error: unknown, issuer: string): string {
  if (error instanceof errors.JWTExpired) return `it has expired (exp ${quote(error.payload.exp)})`
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'iss')
    return `its iss is ${quote(error.payload.iss)}, not ${quote(issuer)}`
  return causes(error)
}
