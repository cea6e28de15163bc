import {
  buildAuthorizationUrl,
  buildAuthorizationUrlWithJAR,
  buildAuthorizationUrlWithPAR,
  calculatePKCECodeChallenge,
  modifyAssertion,
  type Configuration,
  type ServerMetadata,
} from 'openid-client'
import { groupScopes } from '../config/presets/apply.ts'
import type { Preset } from '../config/presets/table.ts'
import type { ProviderSettings } from '../config/schema.ts'
import { Fault } from '../errors.ts'
import type { SigningKey } from './client-authentication.ts'
import { deriveDpopKey, thumbprintOf } from './dpop.ts'
import { refusesClient, refusesRequest, toLoginFault, withPkceAdvice } from './oauth-errors.ts'
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
  /** Asks the user to choose an account. An explicit `prompt` takes precedence. */
  readonly chooseAccount?: boolean
  readonly loginHint?: string | undefined
  readonly acrValues?: string | undefined
  /** In seconds. @see https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest */
  readonly maxAge?: number | undefined
  /** Scopes in addition to the configured ones, space-separated. */
  readonly scope?: string | undefined
  /** The `claims` parameter, as JSON. @see https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter */
  readonly claims?: string | undefined
  /** Further parameters, which any link can set. The configured `authorizationParameters` take precedence. */
  readonly parameters?: Readonly<Record<string, string>>
  readonly identityOnly?: boolean
  /**
   * Requests the response in the query (`query` or `query.jwt`), because the provider may not allow a frame to show the
   * page that posts the response.
   */
  readonly inFrame?: boolean
}

/**
 * Returns the provider's login URL for the authorization code flow with PKCE (S256). Signs the authorization request if
 * configured, and pushes it if the settings and the provider allow it. Rejects with `provider_unavailable` or
 * `login_failed`.
 * @see https://www.rfc-editor.org/rfc/rfc7636#section-4.3
 * @see https://www.rfc-editor.org/rfc/rfc9126#section-2
 */
export async function authorizationUrl(provider: Provider, request: LoginRequest): Promise<URL> {
  const { configuration, preset, requestObjectKey, warnings } = await provider.discovered()
  const { settings } = provider
  const server = configuration.serverMetadata()
  const { authorizationParameters } = settings
  const parameters = new URLSearchParams({ ...request.parameters, ...authorizationParameters })
  const add = (name: string, value: string | number | undefined): void => {
    if (value !== undefined && value !== '') parameters.set(name, String(value))
  }
  add('response_type', 'code')
  add('redirect_uri', request.redirectUri)
  const scopes =
    request.identityOnly === true
      ? ['openid']
      : [...loginScopes(settings, preset, server), ...(request.scope?.split(' ') ?? [])]
  add('scope', [...new Set(scopes)].filter((s) => s !== '').join(' '))
  add('state', request.state)
  if (preset?.api === undefined) add('nonce', request.nonce)
  if (!settings.tolerate.includes('no-pkce')) {
    add('code_challenge', await calculatePKCECodeChallenge(request.codeVerifier))
    add('code_challenge_method', 'S256')
  }
  if (settings.dpop === 'on') add('dpop_jkt', await thumbprintOf(deriveDpopKey(request.dpopSecret)))
  add('response_mode', responseMode(settings.responseMode, request.inFrame === true))
  const { prompt: configuredPrompt } = authorizationParameters
  const asksForAccount = request.chooseAccount === true && configuredPrompt !== 'none'
  const asked = request.prompt ?? (asksForAccount ? 'select_account' : undefined)
  add('prompt', promptOf(configuredPrompt, asked === 'select_account' ? accountPrompt(server) : asked))
  add('login_hint', request.loginHint)
  add('acr_values', request.acrValues)
  add('max_age', request.maxAge)
  add('claims', request.claims)
  // Any link can set these parameters, so the provider is not at fault if it refuses them.
  const { prompt, loginHint, acrValues, maxAge, scope, claims } = request
  const hasLinkParameters =
    [prompt, loginHint, acrValues, maxAge, scope, claims].some((one) => one !== undefined) ||
    Object.keys(request.parameters ?? {}).length > 0
  const toFault = (error: unknown): Fault =>
    hasLinkParameters && refusesRequest(error)
      ? new Fault('login_failed', { cause: error, text: 'login_failed.refused' })
      : toLoginFault(withPkceAdvice(error))
  const sent =
    requestObjectKey === null
      ? parameters
      : await signed(configuration, parameters, requestObjectKey).catch((cause: unknown) => {
          // A request object holds `claims` and other parameters as JSON, and a link can set them to other text.
          throw hasLinkParameters ? new Fault('login_failed', { cause, text: 'login_failed.refused' }) : toFault(cause)
        })
  if (isPushed(configuration, settings.pushedAuthorization, parameters, preset)) {
    try {
      return await buildAuthorizationUrlWithPAR(configuration, sent)
    } catch (error) {
      if (settings.pushedAuthorization === 'on' || isPushRequired(server) || !refusesClient(error, hasLinkParameters))
        throw toFault(error)
      refusedUntil.set(configuration, performance.now() + REFUSED_PUSH_MS)
      warnings.notePushRefused(error)
    }
  }
  if (requestObjectKey !== null) for (const name of REPEATED) sent.set(name, parameters.get(name) ?? '')
  return buildAuthorizationUrl(configuration, sent)
}

/** How long logins do without pushed requests after the provider has refused them to this client. */
const REFUSED_PUSH_MS = 600_000

/** Until when logins do without pushed requests, in ms of `performance.now`. */
const refusedUntil = new WeakMap<Configuration, number>()

function isPushed(
  configuration: Configuration,
  setting: ProviderSettings['pushedAuthorization'],
  parameters: URLSearchParams,
  preset: Preset | null,
): boolean {
  if (setting !== 'auto') return setting === 'on'
  const server = configuration.serverMetadata()
  if (server.pushed_authorization_request_endpoint === undefined) return false
  if (isPushRequired(server)) return true
  const isLost = preset?.lostWhenPushed?.some((name) => parameters.has(name)) === true
  return !isLost && (refusedUntil.get(configuration) ?? 0) <= performance.now()
}

/** @see https://www.rfc-editor.org/rfc/rfc9126#section-5 */
function isPushRequired(server: ServerMetadata): boolean {
  return server.require_pushed_authorization_requests === true
}

/**
 * Returns the `prompt` with which the user can choose another account.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
 */
function accountPrompt(server: ServerMetadata): string {
  const announced = server['prompt_values_supported']
  return Array.isArray(announced) && !announced.includes('select_account') ? 'login' : 'select_account'
}

/** Returns the `response_mode` to request, or `undefined` for the default. */
function responseMode(configured: ProviderSettings['responseMode'], inFrame: boolean): string | undefined {
  if (configured.endsWith('.jwt')) return inFrame ? 'query.jwt' : configured
  return configured === 'form_post' && !inFrame ? configured : undefined
}

/**
 * Returns the parameters of a request whose parameters are all in a signed request object.
 * @see https://www.rfc-editor.org/rfc/rfc9101#section-5
 */
async function signed(
  configuration: Configuration,
  parameters: URLSearchParams,
  key: SigningKey,
): Promise<URLSearchParams> {
  const url = await buildAuthorizationUrlWithJAR(configuration, parameters, key, {
    [modifyAssertion]: (header) => {
      header['alg'] = key.algorithm
    },
  })
  return url.searchParams
}

/**
 * The parameters that stay in the URL beside a request object, because OpenID Connect requires them there.
 * @see https://openid.net/specs/openid-connect-core-1_0.html#RequestObject
 */
const REPEATED = ['response_type', 'scope'] as const

/** Returns whether a login that requests this prompt makes the user authenticate, even with a session at the provider. */
export function reauthenticates({ authorizationParameters }: ProviderSettings, requested: string | undefined): boolean {
  const { prompt: configured } = authorizationParameters
  return (promptOf(configured, requested) ?? configured)?.split(' ').includes('login') === true
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
 * if the provider's metadata lists this scope and its preset does not exclude it, and the scopes that `groupsFrom` needs.
 */
function loginScopes(
  { scopes, groupsFrom }: ProviderSettings,
  preset: Preset | null,
  server: ServerMetadata,
): readonly string[] {
  if (scopes !== null) return scopes
  const isNeeded = preset?.needsOfflineAccess ?? true
  const offline = isNeeded && server.scopes_supported?.includes(OFFLINE_ACCESS) === true ? [OFFLINE_ACCESS] : []
  return [...USUAL_SCOPES, ...offline, ...groupScopes(groupsFrom)]
}
