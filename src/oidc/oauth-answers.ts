import { ResponseBodyError, type CustomFetch } from 'openid-client'
import { numberFrom } from '../config/numbers.ts'

/** The member of a token answer that has the ID token which came with any grant but a login's, not verified yet. */
export const UNVERIFIED_ID_TOKEN = 'unverified_id_token'

type Json = ResponseBodyError['cause']

/** An answer has a new refresh token beside an access token that can't be used: the one before may be spent. */
class UnusableAccessToken extends Error {
  readonly refreshToken: string

  constructor(refreshToken: string) {
    super('the answer has a refresh token, but no access token that can be used')
    this.refreshToken = refreshToken
  }
}

/** The refresh token that came although the grant failed with this error, or `null`. */
export function refreshTokenBeside(error: unknown): string | null {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof UnusableAccessToken) return at.refreshToken
  return null
}

/**
 * A `fetch` for the provider's OAuth 2.0 endpoints. It reads answers before openid-client does, which would throw away
 * a token for the sake of a member beside it, and an error for the sake of its status or a WWW-Authenticate header.
 * Rejects with `ResponseBodyError` for an OAuth error (RFC 6749, section 5.2) in any answer; `onSuccess` is called for
 * each answer that grants something.
 */
export function oauthAnswers(fetch: CustomFetch, onSuccess: () => void): CustomFetch {
  return async (url, options) => {
    const answer = await fetch(url, options)
    // For the log.
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

/** Only what the standard makes a condition may cost a token: the rest is taken where it makes sense, else left out. */
function tokenAnswer(body: Json, grant: string): Json {
  const { id_token: idToken, refresh_token: refreshToken, expires_in: expiresIn, scope, ...rest } = body
  const lifetime = numberFrom(expiresIn)
  const scopes = Array.isArray(scope) ? scope.filter(isText).join(' ') : scope
  const hasIdToken = idToken !== undefined && idToken !== null && idToken !== ''
  return {
    ...rest,
    // golang.org/x/oauth2, for one, takes it as said.
    token_type: body['token_type'] ?? 'Bearer',
    ...(lifetime === null ? {} : { expires_in: lifetime }),
    ...(isText(refreshToken) ? { refresh_token: refreshToken } : {}),
    ...(isText(scopes) ? { scope: scopes } : {}),
    ...(hasIdToken ? { [grant === 'authorization_code' ? 'id_token' : UNVERIFIED_ID_TOKEN]: idToken } : {}),
  }
}

/**
 * Where it is of a type that is not known it must not be used (RFC 6749, section 7.1), nor one with characters that no
 * header can carry (appendix A.12).
 */
function isUsable({ access_token: accessToken, token_type: type = null }: Json): boolean {
  return (
    isText(accessToken) &&
    /^[\x20-\x7e]+$/.test(accessToken) &&
    (type === null || (isText(type) && type.toLowerCase() === 'bearer'))
  )
}

/** How long a pushed request lives (RFC 9126, section 2.2) does not matter to who uses it at once. */
function pushedAnswer(body: Json): Json {
  return { ...body, expires_in: numberFrom(body['expires_in']) ?? 60 }
}

/** An `error` with spaces in it is a sentence of some server's that knows nothing of OAuth ("Service Unavailable"). */
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
