import type { CustomFetch, ServerMetadata } from 'openid-client'
import { presetOf, userApiOf } from '../config/presets/apply.ts'
import type { ProviderSettings } from '../config/schema.ts'
import { issuerOfTenant, mayHaveIssued } from './issuer.ts'

const MAX_REDIRECTS = 5
const REDIRECTS = new Set([301, 302, 303, 307, 308])

/**
 * Reads a provider's metadata, following redirects within the same origin. Rejects with an error that describes the URL,
 * the response, and both issuers if they differ.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
 */
export async function readMetadata(
  settings: ProviderSettings,
  fetch: CustomFetch,
  signal: AbortSignal,
): Promise<ServerMetadata> {
  const { issuer } = settings
  if (userApiOf(settings) !== null) return metadataOfSettings(settings)
  // Every tenant of a template serves the same document.
  const base = issuerOfTenant(issuer, 'common').replace(/\/$/, '')
  const first = `${base}/.well-known/openid-configuration`
  const { url, response } = await follow(first, fetch, signal)
  const type = response.headers.get('content-type') ?? 'no media type'
  if (response.status !== 200)
    throw new Error(`${url} answers ${response.status} (${type}) instead of a discovery document`)
  const server = parse(await response.text())
  if (server === null) throw new Error(`${url} answers 200 (${type}), which is not the JSON of a discovery document`)
  if (!isOf(settings, server.issuer)) {
    throw new Error(
      `provider.issuer is ${issuer}, but the document at ${url} has the issuer ${server.issuer}: if that is the ` +
        `right provider, write issuer: ${server.issuer}`,
    )
  }
  checkEndpoints(server)
  return server
}

/** Returns the metadata of a provider without OpenID Connect, which has no discovery document. */
function metadataOfSettings({ issuer, endpoints }: ProviderSettings): ServerMetadata {
  const { authorization, token, userinfo, revocation } = endpoints
  return {
    issuer,
    ...(authorization === null ? {} : { authorization_endpoint: authorization }),
    ...(token === null ? {} : { token_endpoint: token }),
    ...(userinfo === null ? {} : { userinfo_endpoint: userinfo }),
    ...(revocation === null ? {} : { revocation_endpoint: revocation }),
    code_challenge_methods_supported: ['S256'],
  }
}

/**
 * Returns the algorithms with which the provider signs ID tokens. The default is RS256, which providers must support.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata
 */
export function idTokenAlgorithms(server: ServerMetadata): string[] {
  return server.id_token_signing_alg_values_supported ?? ['RS256']
}

async function follow(
  first: string,
  fetch: CustomFetch,
  signal: AbortSignal,
): Promise<{ url: string; response: Response }> {
  let url = first
  for (let redirects = 0; ; redirects += 1) {
    const options = {
      method: 'GET' as const,
      headers: { accept: 'application/json' },
      body: undefined,
      redirect: 'manual' as const,
      signal,
    }
    const response = await fetch(url, options).catch((cause: unknown) => {
      throw new Error(`${url} can’t be read`, { cause })
    })
    const location = response.headers.get('location')
    if (!REDIRECTS.has(response.status) || location === null) return { url, response }
    const to = URL.canParse(location, url) ? new URL(location, url) : null
    if (to?.origin !== new URL(first).origin)
      throw new Error(`${url} answers ${response.status} to another origin: ${to?.origin ?? 'not a URL'}`)
    if (redirects === MAX_REDIRECTS) throw new Error(`${first} redirects more than ${MAX_REDIRECTS} times`)
    url = to.href
  }
}

function parse(text: string): ServerMetadata | null {
  try {
    const value: unknown = JSON.parse(text)
    return isMetadata(value) ? value : null
  } catch {
    return null
  }
}

function isMetadata(value: unknown): value is ServerMetadata {
  return typeof value === 'object' && value !== null && 'issuer' in value && isUrl(value.issuer)
}

function isOf(settings: ProviderSettings, found: string): boolean {
  const configured = settings.issuer
  if (new URL(configured).href === new URL(found).href || mayHaveIssued(found, configured)) return true
  return presetOf(settings)?.issuers?.test(found) ?? false
}

const REQUIRED_ENDPOINTS = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const
const OTHER_ENDPOINTS = [
  'userinfo_endpoint',
  'revocation_endpoint',
  'end_session_endpoint',
  'pushed_authorization_request_endpoint',
] as const

/**
 * Throws if a required endpoint is missing or any endpoint is malformed, because a login would otherwise fail halfway.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata
 */
function checkEndpoints(server: ServerMetadata): void {
  for (const name of REQUIRED_ENDPOINTS) {
    if (server[name] === undefined) throw new Error(`the provider’s metadata has no ${name}`)
  }
  for (const name of [...REQUIRED_ENDPOINTS, ...OTHER_ENDPOINTS]) {
    const url: unknown = server[name]
    if (url !== undefined && !isUrl(url)) throw new Error(`the ${name} in the provider’s metadata is not a URL`)
  }
}

function isUrl(value: unknown): value is string {
  return typeof value === 'string' && /^https?:/.test(value) && URL.canParse(value)
}
