import { ResponseBodyError, type CustomFetch } from 'openid-client'
import { numberFrom } from '../config/numbers.ts'

/** The member of a token response that holds the unverified ID token of any grant other than a login's. */
export const UNVERIFIED_ID_TOKEN = 'unverified_id_token'

type Json = ResponseBodyError['cause']

/** A response has an unusable access token and a new refresh token, and the previous refresh token may be spent. */
class UnusableAccessToken extends Error {
  readonly refreshToken: string

  constructor(refreshToken: string) {
    super('the answer has a refresh token, but no access token that can be used')
    this.refreshToken = refreshToken
  }
}

/** Returns the refresh token of a response that failed with this error, or `null`. */
export function refreshTokenBeside(error: unknown): string | null {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof UnusableAccessToken) return at.refreshToken
  return null
}

/**
 * Creates a `fetch` for the provider's OAuth endpoints. It reads responses before openid-client does, which would
 * discard tokens because of another member, and an error because of its status or a WWW-Authenticate header. Rejects
 * with `ResponseBodyError` for an OAuth error with any status. Calls `onSuccess` for each response that grants
 * something.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-5.2
 */
export function oauthAnswers(fetch: CustomFetch, onSuccess: () => void): CustomFetch {
  return async (url, options) => {
    const answer = await fetch(url, options)
    // `causes` logs it.
    Object.defineProperty(answer, 'url', { value: url })
    if (options.method !== 'POST') return answer
    const body = await jsonOf(answer)
    const grant = options.body instanceof URLSearchParams ? options.body.get('grant_type') : null
    if (body !== null && !(answer.ok && isText(body['access_token'])) && isOAuthError(body))
      throw new ResponseBodyError('server responded with an error', { cause: body, response: answer })
    if (body === null || !answer.ok) return answer
    const { refresh_token: refreshToken } = body
    if (grant !== null && isText(refreshToken) && !isUsable(body)) throw new UnusableAccessToken(refreshToken)
    const isTokens = grant !== null && isText(body['access_token'])
    if (isTokens && !isUsable(body)) throw new Error('the access token or its type can’t be used')
    if (!isTokens && !isText(body['request_uri'])) return answer
    onSuccess()
    return isTokens ? json(200, tokenAnswer(body, grant)) : json(201, pushedAnswer(body))
  }
}

/** Returns a token response that openid-client accepts: it corrects optional members or drops them. */
function tokenAnswer(body: Json, grant: string): Json {
  const { id_token: idToken, refresh_token: refreshToken, expires_in: expiresIn, scope, ...rest } = body
  const lifetime = numberFrom(expiresIn)
  const scopes = Array.isArray(scope) ? scope.filter(isText).join(' ') : scope
  const hasIdToken = idToken !== undefined && idToken !== null && idToken !== ''
  return {
    ...rest,
    // Other clients, such as golang.org/x/oauth2, assume Bearer, too.
    token_type: body['token_type'] ?? 'Bearer',
    ...(lifetime === null ? {} : { expires_in: lifetime }),
    ...(isText(refreshToken) ? { refresh_token: refreshToken } : {}),
    ...(isText(scopes) ? { scope: scopes } : {}),
    ...(hasIdToken ? { [grant === 'authorization_code' ? 'id_token' : UNVERIFIED_ID_TOKEN]: idToken } : {}),
  }
}

/**
 * Returns whether the access token has a known type and only characters that a header can carry.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-7.1
 * @see https://www.rfc-editor.org/rfc/rfc6749#appendix-A.12
 */
function isUsable({ access_token: accessToken, token_type: type = null }: Json): boolean {
  return (
    isText(accessToken) &&
    /^[\x20-\x7e]+$/.test(accessToken) &&
    (type === null || (isText(type) && type.toLowerCase() === 'bearer'))
  )
}

/**
 * Returns a response to a pushed request with a lifetime, which openid-client requires; the gateway uses the request at
 * once.
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2.2
 */
function pushedAnswer(body: Json): Json {
  return { ...body, expires_in: numberFrom(body['expires_in']) ?? 60 }
}

/** Tells an OAuth error code from the sentence of another server, such as "Service Unavailable". */
function isOAuthError(body: Json): body is Json & { error: string } {
  return typeof body['error'] === 'string' && /^[\w.:/-]{1,200}$/.test(body['error'])
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

async function jsonOf(answer: Response): Promise<Json | null> {
  try {
    const body: unknown = JSON.parse(await answer.clone().text())
    return typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body } : null
  } catch {
    return null
  }
}

function json(status: number, body: Json): Response {
  return Response.json(body, { status })
}
