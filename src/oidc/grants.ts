import { refreshTokenGrant } from 'openid-client'
import { userApiOf } from '../config/presets/apply.ts'
import { causes, quote } from '../errors.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Log } from '../telemetry/log.ts'
import { groupsOf, userinfo, verifiedClaims } from './claims.ts'
import { decryptedIdToken, readIdToken, type Identity } from './id-token.ts'
import { mayHaveIssued } from './issuer.ts'
import { UNVERIFIED_ID_TOKEN, refreshTokenFromError } from './oauth-responses.ts'
import type { Discovered, Provider } from './provider.ts'
import { decodeClaims, toTokenSet, type Claims, type TokenSet } from './token-set.ts'
import { readUser } from './user-api.ts'

export interface RefreshResult {
  readonly tokens: TokenSet
  /** `null` if the response had no new ID token, or if the new ID token was unusable. */
  readonly identity: Identity | null
  /** `null` if the claims are unchanged. */
  readonly claims: Claims | null
  /** Whether the gateway could not read the user or the groups from an API, so that those of before remain. */
  readonly areClaimsStale: boolean
}

/** A refresh returned the identity of another user, client or provider. */
export class ForeignIdentity extends Error {}

/**
 * Claims about the login itself. A refresh does not change them, and many providers omit them from the ID token of a
 * refresh.
 */
const LOGIN_CLAIMS = ['acr', 'amr', 'auth_time'] as const

/** How long a refresh waits for the keys and userinfo before it saves the new refresh token. */
const IDENTITY_WITHIN_MS = 200

interface Previous {
  readonly tokens: TokenSet
  readonly issuer: string
  readonly subject: string
  readonly idToken: string | null
  readonly claims: Claims
}

/**
 * Redeems a session's refresh token. Calls `saveRefreshToken` if the identity takes long to verify or the rest of the
 * response is unusable, so that a rotated refresh token is not lost. Rejects with `ForeignIdentity`, or with an error
 * that `refusalOf` can classify. Any other problem with an ID token leaves the claims unchanged.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-6
 * @see https://openid.net/specs/openid-connect-core-1_0.html#RefreshTokens
 */
export async function refreshTokens(
  provider: Provider,
  log: Log,
  saveRefreshToken: (refreshToken: string) => Promise<void>,
  previous: Previous,
  now: number,
): Promise<RefreshResult> {
  const found = await provider.discovered()
  const { refreshToken } = previous.tokens
  if (refreshToken === null) throw new Error('the session has no refresh token')
  // A store may contain sessions from an earlier configuration. Their refresh tokens must not reach this provider.
  if (!mayHaveIssued(found.configuration.serverMetadata().issuer, previous.issuer))
    throw new ForeignIdentity(`the session belongs to another provider: ${previous.issuer}`)
  const { configuration, proofs } = found
  const proof = await proofs.optionsFor(configuration, previous.tokens.dpopKey ?? null)
  const response = await refreshTokenGrant(configuration, refreshToken, {}, proof).catch(async (error: unknown) => {
    const rotated = refreshTokenFromError(error)
    if (rotated !== null && rotated !== refreshToken) await saveRefreshToken(rotated)
    throw error
  })
  const tokens = toTokenSet(response, now, previous.tokens)
  let newest = tokens.refreshToken
  let saving = Promise.resolve()
  const saveNewest = async (refreshToken: string): Promise<void> => {
    newest = refreshToken
    saving = saving.then(async () => saveRefreshToken(refreshToken))
    return saving
  }
  const user = userAfterRefresh(provider, found, log, previous, tokens, response[UNVERIFIED_ID_TOKEN], saveNewest)
  if (tokens.refreshToken !== null && tokens.refreshToken !== refreshToken) {
    // The old refresh token is spent, so the new one must not be lost if this process ends while it waits for keys or
    // userinfo.
    const verified = await withDeadline(user, IDENTITY_WITHIN_MS, () => null)
    if (verified === null && newest === tokens.refreshToken) await saveNewest(newest)
  }
  return user
}

/**
 * Returns the result of a refresh with the identity, claims and groups that belong to the new tokens. Rejects only with
 * `ForeignIdentity`; without new claims, those of before remain.
 */
async function userAfterRefresh(
  provider: Provider,
  found: Discovered,
  log: Log,
  previous: Previous,
  tokens: TokenSet,
  idToken: unknown,
  saveRefreshToken: (refreshToken: string) => Promise<void>,
): Promise<RefreshResult> {
  const logUnchanged = (error: unknown): null => {
    if (error instanceof ForeignIdentity) throw error
    const facts = { event: 'claims_not_renewed', provider: provider.name, cause: causes(error) }
    log.warn(facts, 'tokens were refreshed, and the claims are unchanged')
    return null
  }
  if (userApiOf(provider.settings) !== null) {
    const claims = await userFromApi(provider, found, previous, tokens).catch(logUnchanged)
    return { tokens, identity: null, claims, areClaimsStale: claims === null }
  }
  const { identity, claims } =
    (await identityOf(provider, found, previous, tokens, idToken).catch(logUnchanged)) ?? NOTHING_NEW
  const { groupsFrom } = provider.settings
  if (groupsFrom === null) return { tokens, identity, claims, areClaimsStale: false }
  const current = claims ?? previous.claims
  // The ID token of a refresh may lack the user's address.
  const known = { ...previous.claims, ...current }
  const read = await groupsOf(provider, found, groupsFrom, known, tokens, saveRefreshToken)
  const groups = 'groups' in read ? read.groups : logUnchanged(read.failure)
  return {
    tokens: { ...tokens, refreshToken: read.refreshToken },
    identity,
    claims: { ...current, groups: groups ?? previous.claims['groups'] },
    areClaimsStale: groups === null,
  }
}

const NOTHING_NEW = { identity: null, claims: null } as const

async function userFromApi(
  { settings }: Provider,
  { fetchApi }: Discovered,
  previous: Previous,
  { accessToken }: TokenSet,
): Promise<Claims> {
  const claims = await readUser({ settings, fetch: fetchApi, accessToken })
  if (claims.sub !== previous.subject) throw new ForeignIdentity('the API names another user than at the login')
  return claims
}

/** Returns the identity and the claims in a token response. Rejects if they are unusable. */
async function identityOf(
  provider: Provider,
  found: Discovered,
  previous: Previous,
  tokens: TokenSet,
  received: unknown,
): Promise<Pick<RefreshResult, 'identity' | 'claims'>> {
  if (received === undefined) {
    const claims = await freshUserInfo(provider, found, previous, tokens)
    return { identity: null, claims: claims === null ? null : keepLoginClaims(previous.claims, claims) }
  }
  const idToken = await decryptedIdToken(received, found)
  requireSameIdentity(idToken, provider.settings.clientId, previous)
  const identity = readIdToken(idToken, provider, found)
  const claims = await verifiedClaims(provider, found, { ...identity, tokens })
  return { identity, claims: keepLoginClaims(previous.claims, claims) }
}

/**
 * Throws `ForeignIdentity` if an ID token from a refresh has another `iss`, `sub` or audience, even if the token also has
 * other problems.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#RefreshTokenResponse
 */
function requireSameIdentity(idToken: string, clientId: string, previous: Previous): void {
  const { iss, sub, aud } = decodeClaims(idToken)
  const audience = aud === undefined ? [] : [aud].flat()
  const difference =
    iss !== undefined && iss !== previous.issuer
      ? `it has iss ${quote(iss)}, expected ${previous.issuer}`
      : sub !== undefined && sub !== previous.subject
        ? 'it has another sub'
        : audience.length > 0 && !audience.includes(clientId)
          ? `it has aud ${quote(aud)}, expected ${clientId}`
          : null
  if (difference !== null)
    throw new ForeignIdentity(
      `the refreshed ID token names another issuer or sub, or is for another client: ${difference}`,
    )
}

/**
 * Merges the current claims from the userinfo endpoint with those of the old ID token. Returns `null` if `userinfo` is
 * off.
 */
async function freshUserInfo(
  provider: Provider,
  found: Discovered,
  { idToken, subject }: Previous,
  tokens: TokenSet,
): Promise<Claims | null> {
  if (!provider.settings.userinfo) return null
  const signed: Claims = idToken === null ? {} : decodeClaims(idToken)
  return { ...(await userinfo(provider, found, tokens, subject)), ...signed }
}

function keepLoginClaims(before: Claims, fresh: Claims): Claims {
  return {
    ...Object.fromEntries(LOGIN_CLAIMS.flatMap((name) => (name in before ? [[name, before[name]]] : []))),
    ...fresh,
  }
}
