import { tokenRevocation } from 'openid-client'
import { END_SESSION_ENDPOINT } from '../config/value-types/address.ts'
import { causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Provider } from './provider.ts'
import type { TokenSet } from './token-set.ts'

interface EndSessionRequest {
  /** Without a hint, the provider may ask the user for confirmation. */
  readonly idTokenHint: string | null
  readonly postLogoutRedirectUri: string
  readonly state: string
}

/** The request with which a browser ends its session at the provider. */
export type EndSession =
  | { readonly method: 'GET'; readonly url: string }
  | { readonly method: 'POST'; readonly url: string; readonly fields: Readonly<Record<string, string>> }

const STANDARD_URL =
  `${END_SESSION_ENDPOINT}?id_token_hint={id_token_hint}&client_id={client_id}` +
  '&post_logout_redirect_uri={post_logout_redirect_uri}&state={state}'

/** Proxies and providers commonly limit a URL or a header to 4 or 8 kB. */
const MAX_URL_BYTES = 2048

/**
 * Returns the request with which the browser ends its session at the provider: a GET, or a POST if the ID token would
 * make the URL longer than 2 kB. Returns `null` if there is no `logout.url` and the provider has not been discovered or
 * has no `end_session_endpoint`.
 * @see https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout
 */
export function endSession(provider: Provider, request: EndSessionRequest): EndSession | null {
  const { logout, clientId } = provider.settings
  const [base, query] = splitOnce(logout.url ?? STANDARD_URL, '?')
  const endpoint = provider.peek()?.configuration.serverMetadata().end_session_endpoint
  const address = base === END_SESSION_ENDPOINT ? endpoint : base
  if (address === undefined) return null
  const values: Readonly<Record<string, string | null>> = {
    client_id: clientId,
    post_logout_redirect_uri: request.postLogoutRedirectUri,
    id_token_hint: request.idTokenHint,
    state: request.state,
  }
  const parameters = query.split('&').filter((one) => !placeholdersOf(one).some((name) => values[name] === null))
  const fill = (parameter: string): string =>
    parameter.replace(PLACEHOLDER, (_found, name: string) => formEncoded(values[name] ?? ''))
  const url = withQuery(address, parameters.map(fill))
  if (url.length <= MAX_URL_BYTES || !parameters.some((one) => placeholdersOf(one).includes('id_token_hint')))
    return { method: 'GET', url }
  const fields = Object.fromEntries(new URLSearchParams(parameters.filter(hasPlaceholders).map(fill).join('&')))
  const constants = parameters.filter((one) => !hasPlaceholders(one))
  return { method: 'POST', url: withQuery(address, constants), fields }
}

const PLACEHOLDER = /\{(\w+)\}/g

function hasPlaceholders(parameter: string): boolean {
  return placeholdersOf(parameter).length > 0
}

function placeholdersOf(parameter: string): string[] {
  return [...parameter.matchAll(PLACEHOLDER)].map(([, name = '']) => name)
}

function splitOnce(text: string, at: string): [string, string] {
  const index = text.indexOf(at)
  return index === -1 ? [text, ''] : [text.slice(0, index), text.slice(index + at.length)]
}

/** Adds parameters to the query that the address may already have. */
function withQuery(address: string, parameters: readonly string[]): string {
  const query = parameters.filter((one) => one !== '').join('&')
  if (query === '') return new URL(address).href
  return new URL(`${address}${address.includes('?') ? '&' : '?'}${query}`).href
}

/** @see https://url.spec.whatwg.org/#urlencoded-serializing */
function formEncoded(value: string): string {
  return new URLSearchParams([['', value]]).toString().slice(1)
}

/**
 * Revokes a refresh token if the provider supports revocation and `logout.revoke` is not `false`. Never rejects, but
 * logs a failure.
 * @see https://www.rfc-editor.org/rfc/rfc7009#section-2.1
 */
export async function revokeRefreshToken(
  provider: Provider,
  { refreshToken, dpopKey }: Pick<TokenSet, 'refreshToken' | 'dpopKey'>,
  log: Log,
): Promise<void> {
  const found = provider.peek()
  if (provider.settings.logout.revoke === 'false' || refreshToken === null) return
  if (found?.configuration.serverMetadata().revocation_endpoint === undefined) return
  const { configuration, proofs } = found
  try {
    await proofs.revoking(refreshToken, dpopKey ?? null, () =>
      tokenRevocation(configuration, refreshToken, { token_type_hint: 'refresh_token' }),
    )
  } catch (error) {
    log.warn(
      { event: 'revocation_failed', provider: provider.name, cause: causes(error) },
      'a refresh token could not be revoked',
    )
  }
}
