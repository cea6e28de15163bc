import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose'
import { refreshTokenGrant, type IDToken, type TokenEndpointResponse } from 'openid-client'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { userinfo, verifiedClaims } from './claims.ts'
import { mayHaveIssued } from './issuer.ts'
import { UNVERIFIED_ID_TOKEN, refreshTokenBeside } from './oauth-answers.ts'
import type { Discovered, Provider } from './provider.ts'
import { toTokenSet, type Claims, type TokenSet } from './token-set.ts'

/** What a refresh brought. */
export interface RefreshResult {
  readonly tokens: TokenSet
  /** `null` when the answer had no new ID token, or one that can't be used. */
  readonly identity: { readonly idToken: string; readonly idTokenClaims: IDToken } | null
  /** `null` where they stay as they were. */
  readonly claims: Claims | null
}

/** The provider answered a refresh with an identity that is not the session's. */
export class ForeignIdentity extends Error {}

/** About how the user logged in: a refresh changes nothing there, and many providers leave it out then. */
const OF_THE_LOGIN = ['acr', 'amr', 'auth_time'] as const

/** What an answer's identity needs to be verified with is at hand as a rule: what takes longer is asked for, ms. */
const AT_HAND = 200

interface Previous {
  readonly tokens: TokenSet
  readonly issuer: string
  readonly subject: string
  readonly idToken: string
  readonly claims: Claims
}

interface Parts {
  readonly provider: Provider
  readonly log: Log
  /** Keeps a new refresh token while it is not known yet what else has come, or where that can't be used. */
  readonly keep: (refreshToken: string) => Promise<void>
}

/**
 * Redeems a session's refresh token (RFC 6749, section 6; OpenID Connect Core 1.0, section 12). Rejects with what
 * `refusalOf` reads, or with `ForeignIdentity`; nothing else that is wrong with an ID token costs the new tokens.
 */
export async function refreshTokens(
  { provider, log, keep }: Parts,
  previous: Previous,
  now: number,
): Promise<RefreshResult> {
  const found = await provider.discovered()
  const { refreshToken } = previous.tokens
  if (refreshToken === null) throw new Error('the session has no refresh token')
  // The store may outlive the configuration: a refresh token of another provider is not sent to this one.
  if (!mayHaveIssued(found.configuration.serverMetadata().issuer, previous.issuer))
    throw new ForeignIdentity(`the session is of another provider: ${previous.issuer}`)
  const response = await refreshTokenGrant(found.configuration, refreshToken).catch(async (error: unknown) => {
    const beside = refreshTokenBeside(error)
    if (beside !== null && beside !== refreshToken) await keep(beside)
    throw error
  })
  const tokens = toTokenSet(response, now, previous.tokens)
  const news = newsOf(provider, found, previous, response).catch((error: unknown) => {
    if (error instanceof ForeignIdentity) throw error
    log.warn({ event: 'claims_not_renewed', cause: causes(error) }, 'tokens were renewed, claims stay as they were')
    return { identity: null, claims: null }
  })
  if (tokens.refreshToken !== null && tokens.refreshToken !== refreshToken) {
    // The old one is spent: should this process end while it waits for keys or userinfo, the new one must not be lost.
    const late = await Promise.race([news, sleep(AT_HAND, 'late' as const, { ref: false })])
    if (late === 'late') await keep(tokens.refreshToken)
  }
  return { tokens, ...(await news) }
}

/** What a refresh says about the user. Rejects where that can't be used. */
async function newsOf(
  provider: Provider,
  found: Discovered,
  previous: Previous,
  { access_token: accessToken, [UNVERIFIED_ID_TOKEN]: idToken }: TokenEndpointResponse,
): Promise<Pick<RefreshResult, 'identity' | 'claims'>> {
  if (idToken === undefined) {
    const claims = await freshUserInfo(provider, found, previous, accessToken)
    return { identity: null, claims: claims === null ? null : withLogin(previous.claims, claims) }
  }
  const identity = readIdentity(idToken, provider, found, previous)
  const claims = await verifiedClaims(provider, found, { ...identity, accessToken })
  return { identity, claims: withLogin(previous.claims, claims) }
}

/**
 * What an ID token from a refresh says (OpenID Connect Core 1.0, section 12.2), its signature and times apart. Throws
 * `ForeignIdentity` where it names another `iss`, `sub` or audience, whatever else is wrong with it.
 */
function readIdentity(
  idToken: unknown,
  { settings }: Provider,
  { configuration }: Discovered,
  previous: Previous,
): { idToken: string; idTokenClaims: IDToken } {
  if (typeof idToken !== 'string') throw new Error('the ID token is not a text')
  const claims = decodeJwt(idToken)
  const { iss, sub, aud } = claims
  const audience = aud === undefined ? [] : [aud].flat()
  const isForeign =
    (iss !== undefined && iss !== previous.issuer) ||
    (sub !== undefined && sub !== previous.subject) ||
    (audience.length > 0 && !audience.includes(settings.clientId))
  if (isForeign)
    throw new ForeignIdentity('the refreshed ID token names another issuer or sub, or is for another client')
  const { alg = 'none' } = decodeProtectedHeader(idToken)
  const allowed = configuration.serverMetadata().id_token_signing_alg_values_supported ?? ['RS256']
  if (!allowed.includes(alg)) throw new Error(`the ID token is signed with ${alg}, not with ${allowed.join(' or ')}`)
  if (audience.length > 1 && claims['azp'] !== settings.clientId)
    throw new Error('the ID token is for several clients, and its azp does not name this one')
  if (!isComplete(claims)) throw new Error('the ID token lacks iss, sub, aud, exp or iat')
  return { idToken, idTokenClaims: claims }
}

function isComplete(claims: JWTPayload): claims is IDToken {
  const { iss, sub, aud, exp, iat } = claims
  const texts: unknown[] = [iss, sub, ...[aud].flat()]
  return (
    texts.length > 2 &&
    texts.every((one) => typeof one === 'string') &&
    typeof exp === 'number' &&
    typeof iat === 'number'
  )
}

/** Without a new ID token the old one still counts, and the userinfo endpoint has the news. */
async function freshUserInfo(
  provider: Provider,
  found: Discovered,
  { idToken, subject }: Previous,
  accessToken: string,
): Promise<Claims | null> {
  if (!provider.settings.userinfo) return null
  const signed: Claims = decodeJwt(idToken)
  return { ...(await userinfo(provider, found, accessToken, subject)), ...signed }
}

function withLogin(before: Claims, fresh: Claims): Claims {
  return {
    ...Object.fromEntries(OF_THE_LOGIN.flatMap((name) => (name in before ? [[name, before[name]]] : []))),
    ...fresh,
  }
}
