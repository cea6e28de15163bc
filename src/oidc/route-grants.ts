import {
  clientCredentialsGrant,
  genericGrantRequest,
  refreshTokenGrant,
  type TokenEndpointResponse,
} from 'openid-client'
import type { Route } from '../config/schema.ts'
import type { Provider } from './provider.ts'
import { toTokenSet, type TokenSet } from './token-set.ts'

type Wanted = Route['token']

const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const ACCESS_TOKENS = [ACCESS_TOKEN, 'urn:ietf:params:oauth:token-type:jwt']

/** What an exchange begins with. */
interface Held {
  readonly accessToken: string
  readonly refreshToken: string | null
}

/**
 * Gets the access token that a route wants, in exchange for the session's: token exchange (RFC 8693), on-behalf-of
 * (Entra's profile of RFC 7523), client credentials (RFC 6749, section 4.4), or the session's own refresh token for
 * another resource (RFC 8707). Rejects with openid-client's errors. A new refresh token in the answer belongs to the
 * session.
 */
export async function grantForRoute(provider: Provider, wanted: Wanted, held: Held, now: number): Promise<TokenSet> {
  const { configuration } = await provider.discovered()
  const response = await request(configuration, wanted, held)
  // A provider that gives another kind of token than it was asked for has to say so (RFC 8693, section 2.2.1). For the
  // other grants the word means nothing, and a refresh token that came beside it must be kept.
  const issued = response['issued_token_type']
  if (wanted.grant === 'token-exchange' && issued !== undefined && !ACCESS_TOKENS.some((type) => type === issued)) {
    throw new Error(`the provider exchanged for ${JSON.stringify(issued)}`)
  }
  return toTokenSet(response, now)
}

async function request(
  configuration: Parameters<typeof refreshTokenGrant>[0],
  wanted: Wanted,
  held: Held,
): Promise<TokenEndpointResponse> {
  const target = targetOf(wanted)
  switch (wanted.grant) {
    case 'token-exchange':
      return genericGrantRequest(configuration, 'urn:ietf:params:oauth:grant-type:token-exchange', {
        ...target,
        subject_token: held.accessToken,
        subject_token_type: ACCESS_TOKEN,
        requested_token_type: ACCESS_TOKEN,
      })
    case 'on-behalf-of':
      return genericGrantRequest(configuration, 'urn:ietf:params:oauth:grant-type:jwt-bearer', {
        ...target,
        assertion: held.accessToken,
        requested_token_use: 'on_behalf_of',
      })
    case 'client-credentials':
      return clientCredentialsGrant(configuration, target)
    case 'session': {
      if (held.refreshToken === null) throw new Error('the session has no refresh token to redeem for another resource')
      return refreshTokenGrant(configuration, held.refreshToken, target)
    }
    case 'none':
      throw new Error('a route without a token needs no grant')
  }
}

function targetOf({ audience, resource, scopes }: Wanted): Record<string, string> {
  return {
    ...(audience === null ? {} : { audience }),
    ...(resource === null ? {} : { resource }),
    ...(scopes === null ? {} : { scope: scopes.join(' ') }),
  }
}
