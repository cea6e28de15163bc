import { buildAuthorizationUrl, buildAuthorizationUrlWithPAR, calculatePKCECodeChallenge } from 'openid-client'
import { knownProvider } from '../config/known-providers.ts'
import { Fault } from '../errors.ts'
import { NOT_ACCEPTED, refusesRequest, toLoginFault } from './refusal.ts'
import type { Provider } from './provider.ts'
import { loginScopes } from './scopes.ts'

/** What one authorization request asks for, beside what the configuration says. */
export interface LoginRequest {
  readonly redirectUri: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
  readonly prompt?: string | undefined
  readonly loginHint?: string | undefined
  readonly acrValues?: string | undefined
  /** Seconds (OpenID Connect Core 1.0, section 3.1.2.1). */
  readonly maxAge?: number | undefined
  /** Scopes beside the configured ones, space-separated. */
  readonly scope?: string | undefined
  /** The `claims` parameter, JSON (OpenID Connect Core 1.0, section 5.5). */
  readonly claims?: string | undefined
  /** Asks who the user is and for nothing else. */
  readonly identityOnly?: boolean
  /** In a frame, where a provider's page that posts the answer may not be shown: the answer comes as a query. */
  readonly inFrame?: boolean
}

/**
 * The URL that the browser goes to for a login: authorization code with PKCE S256 (RFC 7636), pushed before (RFC 9126)
 * where the provider announces it. Rejects with `provider_unavailable` or `login_failed`.
 */
export async function authorizationUrl(provider: Provider, request: LoginRequest): Promise<URL> {
  const { configuration } = await provider.discovered()
  const { settings } = provider
  const server = configuration.serverMetadata()
  const parameters = new URLSearchParams(settings.authorizationParameters)
  const add = (name: string, value: string | number | undefined): void => {
    if (value !== undefined && value !== '') parameters.set(name, String(value))
  }
  add('response_type', 'code')
  add('redirect_uri', request.redirectUri)
  const scopes =
    request.identityOnly === true
      ? ['openid']
      : [...loginScopes(settings.scopes, server), ...(request.scope?.split(' ') ?? [])]
  add('scope', [...new Set(scopes)].filter((s) => s !== '').join(' '))
  add('state', request.state)
  add('nonce', request.nonce)
  add('code_challenge', await calculatePKCECodeChallenge(request.codeVerifier))
  add('code_challenge_method', 'S256')
  add('response_mode', settings.responseMode === 'form_post' && request.inFrame !== true ? 'form_post' : undefined)
  add('prompt', request.prompt)
  add('login_hint', request.loginHint)
  add('acr_values', request.acrValues)
  add('max_age', request.maxAge)
  add('claims', request.claims)
  const lost = knownProvider(server.issuer, server.token_endpoint)?.lostWhenPushed ?? []
  const pushed =
    settings.pushedAuthorization === 'on' ||
    (settings.pushedAuthorization === 'auto' &&
      server.pushed_authorization_request_endpoint !== undefined &&
      !lost.some((name) => parameters.has(name)))
  // Any link can ask for these: a provider that refuses them is right.
  const { prompt, loginHint, acrValues, maxAge, scope, claims } = request
  const wasAsked = [prompt, loginHint, acrValues, maxAge, scope, claims].some((one) => one !== undefined)
  try {
    return pushed
      ? await buildAuthorizationUrlWithPAR(configuration, parameters)
      : buildAuthorizationUrl(configuration, parameters)
  } catch (error) {
    throw wasAsked && refusesRequest(error)
      ? new Fault('login_failed', { cause: error, detail: NOT_ACCEPTED })
      : toLoginFault(error)
  }
}
