import {
  buildAuthorizationUrl,
  buildAuthorizationUrlWithPAR,
  calculatePKCECodeChallenge,
  type ServerMetadata,
} from 'openid-client'
import { presetOf } from '../config/presets/apply.ts'
import type { Preset } from '../config/presets/table.ts'
import { Fault } from '../errors.ts'
import { deriveDpopKey, thumbprintOf } from './dpop.ts'
import { NOT_ACCEPTED, refusesRequest, toLoginFault } from './oauth-errors.ts'
import type { Provider } from './provider.ts'

/** The parameters of an authorization request, in addition to the configured ones. */
export interface LoginRequest {
  readonly redirectUri: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  /** The secret from which the login's DPoP key is derived. */
  readonly dpopSecret: string
  readonly prompt?: string | undefined
  readonly loginHint?: string | undefined
  readonly acrValues?: string | undefined
  /** In seconds. @see https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest */
  readonly maxAge?: number | undefined
  /** Scopes in addition to the configured ones, space-separated. */
  readonly scope?: string | undefined
  /** The `claims` parameter, as JSON. @see https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter */
  readonly claims?: string | undefined
  readonly identityOnly?: boolean
  /**
   * Requests the response in the query, because the provider may not allow a frame to show the page that posts the
   * response.
   */
  readonly inFrame?: boolean
}

/**
 * Returns the provider's login URL for the authorization code flow with PKCE (S256). Pushes the authorization request if
 * the settings and the provider allow it. Rejects with `provider_unavailable` or `login_failed`.
 * @see https://www.rfc-editor.org/rfc/rfc7636#section-4.3
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2
 */
export async function authorizationUrl(provider: Provider, request: LoginRequest): Promise<URL> {
  const { configuration } = await provider.discovered()
  const { settings } = provider
  const server = configuration.serverMetadata()
  const preset = presetOf(settings, server.token_endpoint)
  const parameters = new URLSearchParams(settings.authorizationParameters)
  const add = (name: string, value: string | number | undefined): void => {
    if (value !== undefined && value !== '') parameters.set(name, String(value))
  }
  add('response_type', 'code')
  add('redirect_uri', request.redirectUri)
  const scopes =
    request.identityOnly === true
      ? ['openid']
      : [...loginScopes(settings.scopes, preset, server), ...(request.scope?.split(' ') ?? [])]
  add('scope', [...new Set(scopes)].filter((s) => s !== '').join(' '))
  add('state', request.state)
  add('nonce', request.nonce)
  if (!settings.tolerate.includes('no-pkce')) {
    add('code_challenge', await calculatePKCECodeChallenge(request.codeVerifier))
    add('code_challenge_method', 'S256')
  }
  if (settings.dpop === 'on') add('dpop_jkt', await thumbprintOf(deriveDpopKey(request.dpopSecret)))
  add(
    'response_mode',
    settings.responseMode.startsWith('form_post') && request.inFrame !== true ? 'form_post' : undefined,
  )
  add('prompt', promptOf(settings.authorizationParameters['prompt'], request.prompt))
  add('login_hint', request.loginHint)
  add('acr_values', request.acrValues)
  add('max_age', request.maxAge)
  add('claims', request.claims)
  const lost = preset?.lostWhenPushed ?? []
  const pushed =
    settings.pushedAuthorization === 'on' ||
    (settings.pushedAuthorization === 'auto' &&
      server.pushed_authorization_request_endpoint !== undefined &&
      !lost.some((name) => parameters.has(name)))
  // Any link can set these parameters, so the provider is not at fault if it refuses them.
  const { prompt, loginHint, acrValues, maxAge, scope, claims } = request
  const hasLinkParameters = [prompt, loginHint, acrValues, maxAge, scope, claims].some((one) => one !== undefined)
  try {
    return pushed
      ? await buildAuthorizationUrlWithPAR(configuration, parameters)
      : buildAuthorizationUrl(configuration, parameters)
  } catch (error) {
    throw hasLinkParameters && refusesRequest(error)
      ? new Fault('login_failed', { cause: error, detail: NOT_ACCEPTED })
      : toLoginFault(error)
  }
}

/** Returns the requested prompts together with the configured ones, because `none` is the only one that stands alone. */
function promptOf(configured: string | undefined, requested: string | undefined): string | undefined {
  if (configured === undefined || requested === undefined || requested === 'none' || configured === 'none')
    return requested
  return [...new Set([...requested.split(' '), ...configured.split(' ')])].join(' ')
}

const USUAL_SCOPES = ['openid', 'profile', 'email']
const OFFLINE_ACCESS = 'offline_access'

/**
 * Returns the configured scopes, or the usual scopes if none are configured. The usual scopes include `offline_access`
 * if the provider's metadata lists this scope and its preset does not exclude it.
 */
function loginScopes(
  configured: readonly string[] | null,
  preset: Preset | null,
  server: ServerMetadata,
): readonly string[] {
  if (configured !== null) return configured
  const isNeeded = preset?.needsOfflineAccess ?? true
  return isNeeded && server.scopes_supported?.includes(OFFLINE_ACCESS) === true
    ? [...USUAL_SCOPES, OFFLINE_ACCESS]
    : USUAL_SCOPES
}
