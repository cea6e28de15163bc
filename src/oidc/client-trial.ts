import { randomBytes } from 'node:crypto'
import { ResponseBodyError } from 'openid-client'
import { causesBeneath, oauthError } from '../errors.ts'
import { redeemCode } from './callback.ts'
import { isTemplate } from './issuer.ts'
import { authorizationUrl } from './login.ts'
import { announcedIssuer, type Provider } from './provider.ts'

/**
 * What the provider's answer to a trial request says: it accepts the client or the redirect URI, it refuses the client or
 * the redirect URI, or the answer does not tell (`unclear`). `failed`: there was no OAuth answer.
 */
export interface Trial {
  readonly outcome: 'accepted' | 'client' | 'redirect' | 'unclear' | 'failed'
  /** The OAuth error or the cause of the failure, without secrets. */
  readonly answer: string
  /** The difference between the provider's clock and this one in ms, or `null` if the answer has no `Date`. */
  readonly skew: number | null
}

/**
 * Asks the token endpoint to redeem a code that cannot exist. A provider authenticates the client before it looks at the
 * code, so a provider that answers `invalid_grant` accepts the client.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
 */
export async function tryCode(provider: Provider, redirectUri: string): Promise<Trial> {
  const code = `gatehouse-check-${randomBytes(16).toString('base64url')}`
  const checks = { ...secrets(), redirectUri, maxAge: null, acrValues: null, identityOnly: false }
  const issuer = announcedIssuer(provider)
  // A response names the issuer of a tenant, not the template.
  const iss = isTemplate(issuer) ? null : issuer
  try {
    await redeemCode(provider, { type: 'code', code, iss }, checks, Date.now())
    return { outcome: 'failed', answer: 'the provider accepts a code that it has not issued', skew: null }
  } catch (error) {
    return trialOf(error)
  }
}

/**
 * Pushes an authorization request with this redirect URI. Returns `null` if the gateway pushes no requests to this
 * provider, or none because the provider refuses them to this client.
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2.3
 */
export async function tryRedirectUri(provider: Provider, redirectUri: string): Promise<Trial | null> {
  try {
    const url = await authorizationUrl(provider, { ...secrets(), redirectUri })
    return url.searchParams.has('request_uri') ? { outcome: 'accepted', answer: '', skew: null } : null
  } catch (error) {
    return trialOf(error)
  }
}

function secrets(): { state: string; nonce: string; codeVerifier: string; dpopSecret: string } {
  const [state, nonce, codeVerifier, dpopSecret] = [secret(), secret(), secret(), secret()]
  return { state, nonce, codeVerifier, dpopSecret }
}

function secret(): string {
  return randomBytes(32).toString('base64url')
}

/** Errors about the client. Slack, GitHub and others have more, which their presets translate. */
const ABOUT_CLIENT = new Set(['invalid_client', 'unauthorized_client', 'access_denied'])

/** Errors about the request or the code. With any other error, the request has failed for another reason. */
const ABOUT_REQUEST = /^invalid_|^unsupported_|_required$/

function trialOf(error: unknown): Trial {
  const refusal = refusalIn(error)
  if (refusal === null) {
    const response = responseIn(error)
    return {
      // Some providers refuse a client without an OAuth error: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
      outcome: response?.status === 401 ? 'client' : 'failed',
      answer: causesBeneath(error),
      skew: response === null ? null : skewOf(response),
    }
  }
  return { outcome: outcomeOf(refusal), answer: oauthError(refusal), skew: skewOf(refusal.response) }
}

function outcomeOf({ error, error_description: description = '' }: ResponseBodyError): Trial['outcome'] {
  if (error === 'invalid_grant') return 'accepted'
  // LinkedIn answers `invalid_request` for an unknown code, and names the redirect URI among the possible reasons.
  if (error === 'invalid_request' && /authorization.?code|\bcode is\b|\binvalid code\b/i.test(description))
    return 'accepted'
  // Entra answers `invalid_client` for a redirect URI that is not registered, and calls it the reply address.
  if (/redirect/i.test(error) || /redirect.?ur[il]|reply (?:url|address)/i.test(description)) return 'redirect'
  if (ABOUT_CLIENT.has(error)) return 'client'
  return ABOUT_REQUEST.test(error) ? 'unclear' : 'failed'
}

/** Returns the provider's OAuth error among the causes of an error, or `null`. */
function refusalIn(error: unknown): ResponseBodyError | null {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof ResponseBodyError) return at
  return null
}

/** Returns the provider's response among the causes of an error, or `null`. */
function responseIn(error: unknown): Response | null {
  let at = error
  for (; at instanceof Error; at = at.cause) if ('response' in at && at.response instanceof Response) return at.response
  return at instanceof Response ? at : null
}

/** A `Date` has a resolution of a second, so the middle of the second is compared. */
function skewOf({ headers }: Response): number | null {
  const time = Date.parse(headers.get('date') ?? '')
  return Number.isNaN(time) ? null : time + 500 - Date.now()
}
