import { ResponseBodyError, type CustomFetch } from 'openid-client'
import { numberFrom } from '../config/numbers.ts'
import type { Preset } from '../config/presets/table.ts'

/**
 * The member to which the ID token of a token response is moved, because it may be encrypted and `readIdToken` checks it.
 */
export const UNVERIFIED_ID_TOKEN = 'unverified_id_token'

type Json = ResponseBodyError['cause']

/** A response has a new refresh token but no usable access token. The previous refresh token may be spent. */
class UnusableAccessToken extends Error {
  readonly refreshToken: string

  constructor(refreshToken: string, problem: string) {
    super(`the response has a refresh token, but ${problem}`)
    this.refreshToken = refreshToken
  }
}

export function refreshTokenFromError(error: unknown): string | null {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof UnusableAccessToken) return at.refreshToken
  return null
}

/**
 * Creates a `fetch` for the provider's OAuth endpoints. This `fetch` reads each response before openid-client does,
 * because openid-client discards tokens if another member is malformed, and discards an OAuth error if the response has
 * an unexpected status or a WWW-Authenticate header. Rejects with `ResponseBodyError` for an OAuth error with any
 * status. Calls `onSuccess` after each successful grant or pushed request, and `onRefusedClient` with the request's headers
 * if the provider answers `invalid_client`. Translates the provider's own errors (`errors` of its preset).
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
 */
export function oauthResponses(
  fetch: CustomFetch,
  errors: Preset['errors'],
  onSuccess: () => void,
  onRefusedClient: (headers: Headers) => void,
  onTokenType: (type: unknown) => void,
): CustomFetch {
  return async (url, options) => {
    const response = await fetch(url, options)
    // `causes` reports this URL.
    Object.defineProperty(response, 'url', { value: url })
    if (options.method !== 'POST') return response
    const body = withStandardError(await bodyOf(response), errors)
    const grant = options.body instanceof URLSearchParams ? options.body.get('grant_type') : null
    const hasProof = 'dpop' in options.headers
    if (body !== null && !(response.ok && isText(body['access_token'])) && isOAuthError(body)) {
      // openid-client repeats the request with the nonce, unless it reads a WWW-Authenticate header first.
      if (hasProof && body.error === 'use_dpop_nonce' && response.headers.has('dpop-nonce'))
        return Response.json(body, { status: 400, headers: { 'dpop-nonce': response.headers.get('dpop-nonce') ?? '' } })
      if (body.error === 'invalid_client') onRefusedClient(new Headers(options.headers))
      throw new ResponseBodyError('server responded with an error', { cause: body, response })
    }
    // Dex answers 401 for a token that is not active: https://www.rfc-editor.org/rfc/rfc7662#section-2.2
    if (body?.['active'] === false) return json(200, body)
    if (body === null || !response.ok) return response
    const { refresh_token: refreshToken } = body
    const problem = grant === null ? null : problemOf(body, hasProof)
    if (problem !== null && isText(refreshToken)) throw new UnusableAccessToken(refreshToken, problem)
    const isTokens = grant !== null && isText(body['access_token'])
    if (isTokens && problem !== null) throw new Error(problem)
    if (!isTokens && !isText(body['request_uri'])) return response
    onSuccess()
    if (isTokens && hasProof) onTokenType(body['token_type'])
    return isTokens ? json(200, tokenResponse(body)) : json(201, pushedResponse(body))
  }
}

/** Returns a token response that openid-client accepts, with malformed optional members corrected or dropped. */
function tokenResponse(body: Json): Json {
  const { id_token: idToken, refresh_token: refreshToken, expires_in: expiresIn, scope, ...rest } = body
  const lifetime = numberFrom(expiresIn)
  const scopes = Array.isArray(scope) ? scope.filter(isText).join(' ') : scope
  const hasIdToken = idToken !== undefined && idToken !== null && idToken !== ''
  return {
    ...rest,
    // Other clients, such as golang.org/x/oauth2, also assume Bearer.
    token_type: body['token_type'] ?? 'Bearer',
    ...(lifetime === null ? {} : { expires_in: lifetime }),
    ...(isText(refreshToken) ? { refresh_token: refreshToken } : {}),
    ...(isText(scopes) ? { scope: scopes } : {}),
    ...(hasIdToken ? { [UNVERIFIED_ID_TOKEN]: idToken } : {}),
  }
}

/**
 * Returns why the access token cannot be used, or `null`. It must have only characters that a header can carry, and be a
 * bearer token or, if the request had a proof, bound to the key of the proof.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-7.1
 * @see https://www.rfc-editor.org/rfc/rfc6749#appendix-A.12
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-5
 */
function problemOf({ access_token: accessToken, token_type: type = null }: Json, hasProof: boolean): string | null {
  if (!isText(accessToken) || !/^[\x20-\x7e]+$/.test(accessToken)) return 'the access token is not usable'
  if (type === null) return null
  const name = isText(type) ? type.toLowerCase() : ''
  if (name === 'bearer' || (hasProof && name === 'dpop')) return null
  return name === 'dpop'
    ? 'the access token is bound to a key (token_type DPoP): set provider.dpop: on'
    : 'the type of the access token is not usable'
}

/**
 * Adds a lifetime to the response to a pushed request if the provider sent none, because openid-client requires a
 * lifetime. The value does not matter, because the gateway uses the request immediately.
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2.2
 */
function pushedResponse(body: Json): Json {
  return { ...body, expires_in: numberFrom(body['expires_in']) ?? 60 }
}

/** Returns whether `error` is an OAuth error code, not a sentence of another server such as "Service Unavailable". */
function isOAuthError(body: Json): body is Json & { error: string } {
  return typeof body['error'] === 'string' && /^[\w.:/-]{1,200}$/.test(body['error'])
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function withStandardError(body: Json | null, errors: Preset['errors'] = {}): Json | null {
  const { error, error_description: description } = body ?? {}
  if (body === null || !isText(error)) return body
  const standard = (isText(description) ? errors[`${error}: ${description}`] : undefined) ?? errors[error]
  return standard === undefined ? body : { error_description: error, ...body, error: standard }
}

/** Returns the members of a response in JSON, or in a form, which GitHub sends if a proxy drops the header Accept. */
async function bodyOf(response: Response): Promise<Json | null> {
  try {
    const text = await response.clone().text()
    const type = response.headers.get('content-type') ?? ''
    if (/^application\/x-www-form-urlencoded\b/i.test(type)) return Object.fromEntries(new URLSearchParams(text))
    const body: unknown = JSON.parse(text)
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body } : null
  } catch {
    return null
  }
}

function json(status: number, body: Json): Response {
  return Response.json(body, { status })
}
