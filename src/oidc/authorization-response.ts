import { errors } from 'jose'
import { Fault, causes } from '../errors.ts'
import type { TextName } from '../texts/texts.ts'
import { idTokenAlgorithms } from './metadata.ts'
import { isUnreachable, pkceAdvice } from './oauth-errors.ts'
import type { Provider } from './provider.ts'
import { unverifiedClaims } from './token-set.ts'

/**
 * The authorization response, which the browser carries from the provider to the callback.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2
 */
export type AuthorizationResponse =
  | CodeOrError
  /** `problem` says what is wrong, for the log. */
  | { readonly type: 'malformed'; readonly problem: string }
  /** A signed response that the provider sent some time ago, such as that of a restored tab. */
  | { readonly type: 'expired' }

export type CodeOrError =
  { readonly type: 'code'; readonly code: string; readonly iss: string | null } | AuthorizationError

/**
 * An error that the provider sent or that a browser forged.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
 */
export interface AuthorizationError {
  readonly type: 'error'
  readonly error: string
  readonly description: string
  readonly iss: string | null
}

/**
 * Parameters that a response must not include more than once.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-3.1
 */
const ONCE = ['state', 'code', 'iss', 'error', 'error_description'] as const

/** Parameters of response types and modes that the gateway never requests. */
const UNREQUESTED = ['id_token', 'token', 'access_token', 'response'] as const

/**
 * Printable ASCII, limited to a length that providers use.
 * @see https://www.rfc-editor.org/rfc/rfc6749#appendix-A.11
 */
const CODE = /^[\x20-\x7e]{1,8192}$/

/**
 * Parses the parameters of a callback. A browser may have forged any of them, so contradictions are detected before the
 * gateway calls the provider.
 */
export function readAuthorizationResponse(parameters: URLSearchParams): AuthorizationResponse {
  for (const name of ONCE) {
    if (parameters.getAll(name).length > 1) return malformed(`the callback has more than one ${name}`)
  }
  for (const name of UNREQUESTED) {
    if (parameters.has(name)) return malformed(`the callback has ${name}, which was not requested`)
  }
  const code = parameters.get('code') ?? ''
  const error = parameters.get('error') ?? ''
  const iss = parameters.get('iss')
  if (code !== '' && error !== '') return malformed('the callback has a code and an error')
  if (error !== '') return { type: 'error', error, description: parameters.get('error_description') ?? '', iss }
  if (code === '') return malformed('the callback has neither a code nor an error')
  return CODE.test(code) ? { type: 'code', code, iss } : malformed('the code is too long or has invalid characters')
}

/**
 * Returns the `state` of a callback, which may be in the unverified JWT of the response. The gateway seals the state, so
 * it needs no signature of the provider.
 */
export function stateIn(parameters: URLSearchParams): string {
  const { state } = unverifiedClaims(parameters.get('response') ?? '')
  return typeof state === 'string' ? state : (parameters.get('state') ?? '')
}

/**
 * Parses the parameters of a callback. With a `responseMode` that ends with `.jwt`, verifies the JWT that contains them,
 * except its `iss`, which `requireIssuer` checks, and rejects a code outside a JWT. An error outside a JWT is accepted, because a provider that does not support the
 * response mode sends one, and a browser can forge an error anyway. Rejects with `provider_unavailable` if the
 * provider's keys cannot be read.
 * @see https://openid.net/specs/oauth-v2-jarm.html#section-2.4
 */
export async function readResponse(provider: Provider, parameters: URLSearchParams): Promise<AuthorizationResponse> {
  const { responseMode, clientId } = provider.settings
  if (!responseMode.endsWith('.jwt')) return readAuthorizationResponse(parameters)
  const [jwt, ...others] = parameters.getAll('response')
  if (others.length > 0) return malformed('the callback has more than one response')
  if (jwt === undefined) {
    const plain = readAuthorizationResponse(parameters)
    return plain.type === 'code'
      ? malformed(`the callback has a code outside a signed response, which responseMode ${responseMode} requires`)
      : plain
  }
  try {
    const { configuration, keys } = await provider.discovered()
    const server = configuration.serverMetadata()
    const claims = await keys.verify(jwt, {
      audience: clientId,
      requiredClaims: ['iss', 'aud', 'exp'],
      algorithms: server.authorization_signing_alg_values_supported ?? idTokenAlgorithms(server),
    })
    if (typeof claims.iss !== 'string') return malformed('the callback’s response has an iss that is not a string')
    const texts = Object.entries(claims).filter((one): one is [string, string] => typeof one[1] === 'string')
    return readAuthorizationResponse(new URLSearchParams(texts))
  } catch (error) {
    if (error instanceof errors.JWTExpired) return { type: 'expired' }
    if (isUnreachable(error)) throw new Fault('provider_unavailable', { cause: error })
    return malformed(`the callback’s response is not a valid JWT of the provider: ${causes(error)}`)
  }
}

function malformed(problem: string): AuthorizationResponse {
  return { type: 'malformed', problem }
}

export type ErrorKind =
  | 'canceled'
  /** A new login is likely to succeed. */
  | 'passing'
  /** The provider cannot deliver the requested stronger sign-in. */
  | 'unmet'
  /** The provider needs the user, but the request did not allow an interaction. */
  | 'needs-user'
  | 'server'
  | 'refused'

/** @see https://openid.net/specs/openid-connect-core-1_0.html#AuthError */
export const NEEDS_INTERACTION = new Set(['interaction_required', 'consent_required', 'account_selection_required'])

/**
 * Classifies an error of OAuth or OpenID Connect, or a provider's own error. `promptNone`: the request did not allow an
 * interaction with the user.
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AuthError
 */
export function kindOfError({ error, description }: AuthorizationError, promptNone: boolean): ErrorKind {
  // Apple sends user_cancelled_authorize, LinkedIn sends user_cancelled_login.
  if (/cancel|denied/i.test(error)) return 'canceled'
  // Keycloak sends temporarily_unavailable with this description if its login page has expired.
  if (PASSING.has(error) || description === 'authentication_expired') return 'passing'
  if (error === 'login_required' && !promptNone) return 'passing'
  if (error === 'unmet_authentication_requirements') return 'unmet'
  if (error === 'login_required' || NEEDS_INTERACTION.has(error)) return 'needs-user'
  return error === 'server_error' ? 'server' : 'refused'
}

const PASSING = new Set(['temporarily_unavailable', 'authentication_expired'])

const TEXTS: { readonly [kind in ErrorKind]: TextName } = {
  'canceled': 'login_failed.canceled',
  'passing': 'login_failed.unfinished',
  'unmet': 'login_failed.step_up',
  'needs-user': 'login_failed.needs_input',
  'server': 'login_failed.unusable',
  'refused': 'login_failed.refused',
}

/**
 * Returns the fault for a login that the provider refused. With `signedIn`, the fault's detail also says that the user
 * is still signed in.
 */
export function refusedLogin({ error, description }: AuthorizationError, kind: ErrorKind, signedIn: boolean): Fault {
  return new Fault('login_failed', {
    cause: Object.assign(new Error(`the authorization response is an error${pkceAdvice(description)}`), {
      error,
      error_description: description,
    }),
    ...(kind === 'server' ? { status: 502 } : {}),
    text: TEXTS[kind],
    ...(signedIn ? { more: 'still_signed_in' } : {}),
  })
}
