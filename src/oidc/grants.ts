import { decodeJwt } from 'jose'
import { refreshTokenGrant, type IDToken } from 'openid-client'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { userinfo, verifiedClaims } from './claims.ts'
import { mayHaveIssued } from './issuer.ts'
import type { Discovered, Provider } from './provider.ts'
import { toTokenSet, type Claims, type TokenSet } from './token-set.ts'

/** What a refresh brought. */
export interface RefreshResult {
  readonly tokens: TokenSet
  /** `null` when the answer had no new ID token. */
  readonly identity: { readonly idToken: string; readonly idTokenClaims: IDToken } | null
  /** `null` where they stay as they were. */
  readonly claims: Claims | null
}

/** The provider answered a refresh with an identity that is not the session's. */
export class ForeignIdentity extends Error {}

/** About how the user logged in: a refresh changes nothing there, and many providers leave it out then. */
const OF_THE_LOGIN = ['acr', 'amr', 'auth_time'] as const

interface Previous {
  readonly tokens: TokenSet
  readonly issuer: string
  readonly subject: string
  readonly idToken: string
  readonly claims: Claims
}

/**
 * Redeems a session's refresh token (RFC 6749, section 6; OpenID Connect Core 1.0, section 12). Rejects with what
 * `refusalOf` reads, or with `ForeignIdentity`.
 */
export async function refreshTokens(
  provider: Provider,
  previous: Previous,
  now: number,
  log: Log,
): Promise<RefreshResult> {
  const found = await provider.discovered()
  const { refreshToken } = previous.tokens
  if (refreshToken === null) throw new Error('the session has no refresh token')
  // The store may outlive the configuration: a refresh token of another provider is not sent to this one.
  if (!mayHaveIssued(found.configuration.serverMetadata().issuer, previous.issuer))
    throw new ForeignIdentity(`the session is of another provider: ${previous.issuer}`)
  const response = await refreshTokenGrant(found.configuration, refreshToken)
  const tokens = toTokenSet(response, now, previous.tokens)
  const idTokenClaims = response.claims()
  const identity =
    response.id_token === undefined || idTokenClaims === undefined
      ? null
      : { idToken: response.id_token, idTokenClaims }
  if (
    identity !== null &&
    (identity.idTokenClaims.sub !== previous.subject || identity.idTokenClaims.iss !== previous.issuer)
  ) {
    throw new ForeignIdentity('the refreshed ID token names another issuer or sub')
  }
  try {
    const fresh =
      identity === null
        ? await freshUserInfo(provider, found, previous, response.access_token)
        : await verifiedClaims(provider, found, { ...identity, accessToken: response.access_token })
    return { tokens, identity, claims: fresh === null ? null : withLogin(previous.claims, fresh) }
  } catch (error) {
    // The old refresh token may be spent already: what can't be verified must not cost the new one.
    log.warn({ event: 'claims_not_renewed', cause: causes(error) }, 'tokens were renewed, claims stay as they were')
    return { tokens, identity: null, claims: null }
  }
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
