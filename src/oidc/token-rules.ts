import { createHash } from 'node:crypto'
import type { Preset } from '../config/presets/table.ts'
import { quote } from '../errors.ts'
import { isIdentifier, type Claims } from './token-set.ts'

/**
 * How a token was verified: by its signature, with the type of RFC 9068 (`at+jwt`) or without (`jwt`), or by the
 * provider's introspection endpoint (`opaque`).
 */
export type TokenForm = 'at+jwt' | 'jwt' | 'opaque'

/** Which tokens of one issuer a route accepts: those for one of the audiences, and those of one of the clients. */
export interface AcceptedTokens {
  readonly audiences: readonly string[]
  readonly clientIds: readonly string[]
  /** The claims of the issuer's tokens that stand in for `aud` and `client_id`. */
  readonly substitutes: Pick<Preset, 'audienceClaim' | 'clientClaim'>
  /** The client IDs of the gateway at this issuer, which are the audiences of its ID tokens. */
  readonly ownClientIds: readonly string[]
}

/** A claim of a token whose value is not accepted. */
interface ClaimMismatch {
  readonly claim: string
  readonly value: unknown
  readonly accepted: readonly string[]
}

/** Why a token is refused: the mismatched claims, or `other-kind` for a token that is not an access token. */
export type TokenMismatch = readonly ClaimMismatch[] | 'other-kind'

/**
 * Returns why a route does not accept a token whose issuer and times are valid, or `null` if the route accepts it. Runs
 * for every request with a token, so it creates no objects for an access token that names its kind.
 */
export function checkToken(claims: Claims, form: TokenForm, accepted: AcceptedTokens): TokenMismatch | null {
  const { audiences, clientIds, substitutes } = accepted
  const isForAudience = names(claims[audienceClaimOf(claims, substitutes)], audiences)
  const client = claims[clientClaimOf(claims, substitutes)]
  if (!isForAudience && !(typeof client === 'string' && clientIds.includes(client))) return mismatches(claims, accepted)
  if (isOfOtherKind(claims, form)) return 'other-kind'
  // Providers may answer about refresh tokens too, which are for a client and not for an audience.
  if (form === 'opaque') return isForAudience || saysAccess(claims) ? null : 'other-kind'
  // An ID token always has `aud`.
  if (form !== 'jwt' || claims['aud'] === undefined || hasAccessClaim(claims)) return null
  // Nothing shows that this is an access token. An ID token is for a client, which its `azp` may name.
  const isForClient = names(claims['aud'], accepted.ownClientIds) || names(claims['azp'], [claims['aud']].flat())
  // The `sid` of the provider's own ID tokens is the id of a session.
  return isForClient || (accepted.ownClientIds.length > 0 && 'sid' in claims) ? 'other-kind' : null
}

const OTHER_KIND = 'it is an ID token or of another kind, or nothing shows that it is an access token'

/** Returns for the log why a route does not accept a token. */
export function mismatchText(mismatch: TokenMismatch): string {
  if (mismatch === 'other-kind') return OTHER_KIND
  const parts = mismatch.map(
    ({ claim, value, accepted }) => `its ${claim} is ${quote(value)}, not ${accepted.map(quote).join(' or ')}`,
  )
  return parts.join(', and ')
}

/** Returns the claim that names the audience of a token. */
export function audienceClaimOf({ aud }: Claims, { audienceClaim = 'aud' }: AcceptedTokens['substitutes']): string {
  return aud === undefined ? audienceClaim : 'aud'
}

/**
 * Returns the claim that names the client to which a token was issued.
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2
 */
export function clientClaimOf(claims: Claims, { clientClaim = 'azp' }: AcceptedTokens['substitutes']): string {
  if (claims['client_id'] !== undefined) return 'client_id'
  return claims['azp'] === undefined ? clientClaim : 'azp'
}

/** Returns whether a claim, or one item of a list, is one of `wanted`. */
function names(claim: unknown, wanted: readonly unknown[]): boolean {
  if (!Array.isArray(claim)) return typeof claim === 'string' && wanted.includes(claim)
  for (const one of claim) if (wanted.includes(one)) return true
  return false
}

function hasOneOf(claims: Claims, names: readonly string[]): boolean {
  for (const name of names) if (name in claims) return true
  return false
}

function mismatches(claims: Claims, { audiences, clientIds, substitutes }: AcceptedTokens): ClaimMismatch[] {
  const compared = [
    { claim: audienceClaimOf(claims, substitutes), accepted: audiences },
    { claim: clientClaimOf(claims, substitutes), accepted: clientIds },
  ]
  return compared
    .filter(({ accepted }) => accepted.length > 0)
    .map(({ claim, accepted }) => ({ claim, value: claims[claim], accepted }))
}

/** Claims that only ID tokens and logout tokens contain. */
const OTHER_USE = ['nonce', 'at_hash', 'c_hash', 's_hash', 'events']
/** Values of the `typ` claim with which Keycloak marks tokens that are not access tokens. */
const OTHER_TYPES: ReadonlySet<unknown> = new Set(['ID', 'Refresh', 'Offline', 'Logout'])
/** Values of the `token_use` claim with which Cognito and Hydra mark access tokens. */
const ACCESS_USES: ReadonlySet<unknown> = new Set(['access', 'access_token'])

/**
 * Returns whether the claims say that a token is not an access token. A provider that does not implement RFC 9068 may
 * give ID tokens and access tokens the same type.
 */
function isOfOtherKind(claims: Claims, form: TokenForm): boolean {
  if (form === 'at+jwt') return false
  if (OTHER_TYPES.has(claims['typ'])) return true
  if (claims['token_use'] !== undefined && !ACCESS_USES.has(claims['token_use'])) return true
  return form === 'jwt' && hasOneOf(claims, OTHER_USE)
}

/**
 * Claims of access tokens that ID tokens do not contain: those of RFC 9068, and those of Okta, Entra ID, ADFS and Auth0.
 */
const ACCESS = ['scope', 'scp', 'client_id', 'cid', 'appid', 'azpacr', 'gty']
/** Values of the `typ` claim with which Keycloak marks access tokens. */
const ACCESS_TYPES: ReadonlySet<unknown> = new Set(['Bearer', 'DPoP'])

function hasAccessClaim(claims: Claims): boolean {
  return hasOneOf(claims, ACCESS) || ACCESS_TYPES.has(claims['typ']) || ACCESS_USES.has(claims['token_use'])
}

/**
 * Returns whether the answer about an opaque token calls it an access token. oidc-provider and Spring Authorization Server
 * send `token_type` for access tokens only.
 */
function saysAccess(claims: Claims): boolean {
  return claims['token_type'] !== undefined || ACCESS_TYPES.has(claims['typ']) || ACCESS_USES.has(claims['token_use'])
}

/** A client's own access token that is valid at its issuer. */
export interface VerifiedToken {
  readonly claims: Claims
  /** The name of the provider in `providers`. Missing with the key `provider`, and for the other issuers of a route. */
  readonly provider?: string
  readonly bearer: true
  /** Identifies the token without revealing it. */
  readonly digest: string
  /** Identifies the issuer, the client and the user of the token. */
  readonly owner: string
}

/** Returns a token whose claims its issuer has confirmed, or why no route can accept it. */
export function toVerifiedToken(
  token: string,
  claims: Claims,
  {
    issuer,
    name,
    substitutes,
  }: { issuer: string; name: string | undefined; substitutes: AcceptedTokens['substitutes'] },
): VerifiedToken | string {
  const { sub } = claims
  const client = claims[clientClaimOf(claims, substitutes)]
  if (sub !== undefined && !isIdentifier(sub)) return 'its sub is empty or too long'
  if (sub === undefined && !isIdentifier(client)) return 'it has neither sub nor client_id'
  return {
    claims,
    ...(name === undefined ? {} : { provider: name }),
    bearer: true,
    digest: createHash('sha256').update(token).digest('base64url'),
    owner: JSON.stringify([claims['iss'] ?? issuer, client, sub]),
  }
}

/**
 * Returns the end of a token, by which caches find it: hashing a whole token takes longer than the rest of a look-up.
 * Another token may have the same end, so a cache must compare the whole token.
 */
export function tailOf(token: string): string {
  return token.slice(-43)
}
