import {
  clientCredentialsGrant,
  genericGrantRequest,
  refreshTokenGrant,
  type DPoPOptions,
  type TokenEndpointResponse,
} from 'openid-client'
import type { Route } from '../config/schema.ts'
import type { DpopKey } from './dpop.ts'
import type { Provider } from './provider.ts'
import { decodeClaims, toTokenSet, type TokenSet } from './token-set.ts'

export type TokenSettings = Route['token']

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const ACCESS_TOKENS = [ACCESS_TOKEN, 'urn:ietf:params:oauth:token-type:jwt']

/** The tokens of a session, or the access token of a client. */
type SubjectTokens = Pick<TokenSet, 'accessToken' | 'refreshToken' | 'dpopKey'> | Pick<TokenSet, 'accessToken'>

/**
 * Requests a route's access token: by token exchange, by on-behalf-of (Entra's profile of RFC 7523), by client
 * credentials, or with the session's refresh token for another resource. Rejects with openid-client's errors. If the
 * session's refresh token was used, the caller must save a new refresh token in the session.
 * @see https://www.rfc-editor.org/rfc/rfc8693#section-2
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.4
 * @see https://www.rfc-editor.org/rfc/rfc8707#section-2.2
 */
export async function grantForRoute(
  provider: Provider,
  wanted: TokenSettings,
  tokens: SubjectTokens,
  now: number,
): Promise<TokenSet> {
  const { configuration, proofs } = await provider.discovered()
  const clientKey = (): DpopKey | null => (provider.settings.dpop === 'on' ? proofs.clientKey() : null)
  const ofSession = 'refreshToken' in tokens ? tokens : null
  const dpopKey =
    wanted.grant === 'client-credentials' || ofSession === null ? clientKey() : (ofSession.dpopKey ?? null)
  const response = await request(configuration, wanted, tokens, await proofs.optionsFor(configuration, dpopKey))
  // Only a token exchange defines `issued_token_type`. The gateway ignores this member in responses to other grants, so
  // that a new refresh token is not lost: https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1
  const issued = response['issued_token_type']
  if (wanted.grant === 'token-exchange' && issued !== undefined && !ACCESS_TOKENS.some((type) => type === issued)) {
    throw new Error(`the provider issued a token of type ${JSON.stringify(issued)}`)
  }
  return toTokenSet(response, now, null, dpopKey)
}

/**
 * Returns the audience of a JWT access token if none of `wanted` is in that audience. Otherwise returns `null`, even
 * for an opaque token. Does not verify the signature.
 * @see https://www.rfc-editor.org/rfc/rfc9068#section-2.2
 */
export function missingAudience(accessToken: string, wanted: readonly (string | null)[]): readonly string[] | null {
  const named = wanted.filter((one) => one !== null)
  if (named.length === 0) return null
  try {
    const { aud = [] } = decodeClaims(accessToken)
    const audiences = [aud].flat()
    return audiences.some((one) => named.includes(one)) ? null : audiences
  } catch {
    return null
  }
}

async function request(
  configuration: Parameters<typeof refreshTokenGrant>[0],
  wanted: TokenSettings,
  tokens: SubjectTokens,
  proof: DPoPOptions,
): Promise<TokenEndpointResponse> {
  const target = targetOf(wanted)
  switch (wanted.grant) {
    case 'token-exchange':
      return genericGrantRequest(
        configuration,
        'urn:ietf:params:oauth:grant-type:token-exchange',
        {
          ...target,
          subject_token: tokens.accessToken,
          subject_token_type: ACCESS_TOKEN,
          requested_token_type: ACCESS_TOKEN,
        },
        proof,
      )
    case 'on-behalf-of':
      return genericGrantRequest(
        configuration,
        'urn:ietf:params:oauth:grant-type:jwt-bearer',
        { ...target, assertion: tokens.accessToken, requested_token_use: 'on_behalf_of' },
        proof,
      )
    case 'client-credentials':
      return clientCredentialsGrant(configuration, target, proof)
    case 'session': {
      if (!('refreshToken' in tokens) || tokens.refreshToken === null)
        throw new Error('the session has no refresh token to redeem for another resource')
      return refreshTokenGrant(configuration, tokens.refreshToken, target, proof)
    }
    case 'none':
    case 'id-token':
      throw new Error('a route that sends no access token needs no grant')
  }
}

function targetOf({ audience, resource, scopes }: TokenSettings): Record<string, string> {
  return {
    ...(audience === null ? {} : { audience }),
    ...(resource === null ? {} : { resource }),
    ...(scopes === null ? {} : { scope: scopes.join(' ') }),
  }
}
