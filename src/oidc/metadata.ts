import type { CustomFetch, ServerMetadata } from 'openid-client'
import { isForAllTenants, presetOf, userApiOf } from '../config/presets/apply.ts'
import type { ProviderSettings } from '../config/schema.ts'
import { isLoopback } from '../config/value-types/address.ts'
import { quote } from '../errors.ts'
import { issuerOfTenant, mayHaveIssued, templateOf, withOrigin } from './issuer.ts'
import { ALGORITHMS } from './jwks.ts'

const MAX_REDIRECTS = 5
const REDIRECTS = new Set([301, 302, 303, 307, 308])

export interface Metadata {
  /** The metadata with the endpoints that the gateway and browsers use. */
  readonly server: ServerMetadata
  /** All addresses of the authorization endpoint: those that browsers use and those that the document names. */
  readonly authorizationEndpoints: readonly string[]
  /** The provider's own document, or what is known without a document. */
  readonly document: Readonly<Record<string, unknown>>
}

/** The keys of `provider.endpoints`, with the members of the metadata that they replace. */
const ENDPOINTS = [
  ['authorization', 'authorization_endpoint'],
  ['token', 'token_endpoint'],
  ['jwks', 'jwks_uri'],
  ['userinfo', 'userinfo_endpoint'],
  ['endSession', 'end_session_endpoint'],
  ['revocation', 'revocation_endpoint'],
  ['introspection', 'introspection_endpoint'],
  ['pushedAuthorization', 'pushed_authorization_request_endpoint'],
  ['backchannelAuthentication', 'backchannel_authentication_endpoint'],
] as const satisfies [keyof ProviderSettings['endpoints'], string][]

const MEMBERS = ENDPOINTS.map(([, member]) => member)
const REQUIRED = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const
/** What a provider without OpenID Connect needs. Its preset names all of these. */
const REQUIRED_WITH_API = ['authorization_endpoint', 'token_endpoint', 'userinfo_endpoint'] as const

/** The endpoints to which the gateway sends browsers. It calls the others itself. */
const FOR_BROWSERS = ['authorization_endpoint', 'end_session_endpoint'] as const
const CALLED = MEMBERS.filter((name) => !FOR_BROWSERS.some((one) => one === name))

/**
 * Returns a provider's metadata, changed by the settings. Reads the discovery document, following redirects within the
 * same origin, unless the settings name all required endpoints. Rejects with an error that describes the URL, the
 * response, and both issuers if they differ.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
 */
export async function readMetadata(
  settings: ProviderSettings,
  fetch: CustomFetch,
  signal: AbortSignal,
): Promise<Metadata> {
  const named = namedEndpoints(settings)
  const url = documentUrl(settings)
  const read = url === null ? null : await readDocument(settings, url, fetch, signal)
  const document = read?.server ?? undiscovered(settings)
  const aliases = settings.clientCertificate === null ? {} : aliasesOf(document)
  const inner = { ...document, ...aliases, ...named }
  // Endpoints that the operator names are those that browsers reach.
  const server = { ...inner, ...endpointsForBrowsers(document, settings.browserIssuerUrl), ...named }
  checkEndpoints(server, settings)
  const addresses = [document, inner, server].map(({ authorization_endpoint: url }) => url)
  return {
    server,
    authorizationEndpoints: [...new Set(addresses.filter((url) => url !== undefined))],
    document: read?.whole ?? server,
  }
}

/** Returns the URL of the discovery document, or `null` if the settings name all required endpoints. */
export function documentUrl(settings: ProviderSettings): string | null {
  const named = namedEndpoints(settings)
  if (requiredOf(settings).every((member) => member in named)) return null
  // Every tenant of a template serves the same document.
  const base = issuerOfTenant(settings.issuer, 'common').replace(/\/$/, '')
  return settings.metadataUrl ?? `${base}/.well-known/openid-configuration`
}

/**
 * Returns the algorithms with which the provider signs ID tokens. The default is RS256, which providers must support.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata
 */
export function idTokenAlgorithms(server: ServerMetadata): string[] {
  return server.id_token_signing_alg_values_supported ?? ['RS256']
}

function requiredOf(settings: ProviderSettings): typeof REQUIRED | typeof REQUIRED_WITH_API {
  return userApiOf(settings) === null ? REQUIRED : REQUIRED_WITH_API
}

function namedEndpoints({ endpoints }: ProviderSettings): Partial<ServerMetadata> {
  const members = ENDPOINTS.map(([key, member]) => [member, endpoints[key]] as const)
  return Object.fromEntries(members.filter(([, url]) => url !== null))
}

/** Returns the metadata of a provider whose discovery document is not read. */
function undiscovered(settings: ProviderSettings): ServerMetadata {
  return {
    issuer: isForAllTenants(settings) ? templateOf(settings.issuer) : settings.issuer,
    // The provider's keys decide, because nothing announces an algorithm. All of these are asymmetric.
    id_token_signing_alg_values_supported: [...ALGORITHMS],
  }
}

/**
 * Returns the endpoints at which the provider accepts client certificates.
 * @see https://www.rfc-editor.org/rfc/rfc8705#section-5
 */
function aliasesOf({ mtls_endpoint_aliases: aliases = {} }: ServerMetadata): Partial<ServerMetadata> {
  return Object.fromEntries(Object.entries(aliases).filter(([name]) => CALLED.some((called) => called === name)))
}

function endpointsForBrowsers(server: ServerMetadata, origin: string | null): Partial<ServerMetadata> {
  const entries = FOR_BROWSERS.flatMap((name) => {
    const url = server[name]
    return origin === null || url === undefined ? [] : [[name, withOrigin(url, origin)] as const]
  })
  return Object.fromEntries(entries)
}

async function readDocument(
  settings: ProviderSettings,
  address: string,
  fetch: CustomFetch,
  signal: AbortSignal,
): Promise<{ readonly whole: Readonly<Record<string, unknown>>; readonly server: ServerMetadata }> {
  const { issuer } = settings
  const { url, response } = await follow(address, fetch, signal)
  const type = response.headers.get('content-type') ?? 'no media type'
  const whole = parse(await response.text())
  if (response.status !== 200) {
    const answer = `${response.status} (${type}${reasonIn(whole)}) instead of a discovery document`
    throw new Error(`${url} answers ${answer}${adviceFor(url, response.status)}`)
  }
  if (whole === null) throw new Error(`${url} answers 200 (${type}), which is not the JSON of a discovery document`)
  // Some providers write `null` for a member that they do not have.
  const server = Object.fromEntries(Object.entries(whole).filter(([, member]) => member !== null))
  requireKinds(server, url)
  if (!isOf(settings, server.issuer)) {
    throw new Error(
      `provider.issuer is ${issuer}, but the document at ${url} has the issuer ${server.issuer}: if that is the ` +
        `right provider, write issuer: ${server.issuer}`,
    )
  }
  return { whole, server }
}

/** Reads a URL and follows redirects within its origin. Rejects with an error that describes the URL and the response. */
export async function follow(
  first: string,
  fetch: CustomFetch,
  signal?: AbortSignal,
): Promise<{ url: string; response: Response }> {
  let url = first
  for (let redirects = 0; ; redirects += 1) {
    const options = {
      method: 'GET' as const,
      headers: { accept: 'application/json' },
      body: undefined,
      redirect: 'manual' as const,
      ...(signal === undefined ? {} : { signal }),
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

/** Returns the reason in a provider's JSON, such as Keycloak's `{ "error": "Realm does not exist" }`. */
function reasonIn(answer: Readonly<Record<string, unknown>> | null): string {
  const reason = answer?.['error_description'] ?? answer?.['error'] ?? answer?.['message']
  return typeof reason === 'string' ? `: ${quote(reason)}` : ''
}

function adviceFor(url: string, status: number): string {
  if (status !== 404) return ''
  const [, before, realm] = /^(.*)\/realms\/([^/]+)\/\.well-known\//.exec(new URL(url).pathname) ?? []
  if (realm === undefined) return '; check provider.issuer: the provider has no document at this address'
  const path =
    before === '' ? 'Keycloak before version 17 serves /auth/realms' : 'Keycloak since version 17 serves /realms'
  return `; check the realm "${realm}" in provider.issuer, including its case, and the path: ${path} by default`
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value !== 'object' || value === null || Array.isArray(value) ? null : { ...value }
  } catch {
    return null
  }
}

interface Kind {
  readonly expected: string
  matches(value: unknown): boolean
}

const oneUrl: Kind = { expected: 'a URL', matches: isUrl }
const list: Kind = {
  expected: 'a list of strings',
  matches: (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
}
const flag: Kind = { expected: 'true or false', matches: (value) => typeof value === 'boolean' }
const urls: Kind = {
  expected: 'an object of URLs',
  matches: (value) =>
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(isUrl),
}

/** The members that the gateway reads. Another member may have any value. */
const KINDS: Readonly<Record<string, Kind>> = {
  issuer: oneUrl,
  ...Object.fromEntries(MEMBERS.map((name) => [name, oneUrl])),
  mtls_endpoint_aliases: urls,
  authorization_response_iss_parameter_supported: flag,
  require_pushed_authorization_requests: flag,
  acr_values_supported: list,
  authorization_encryption_alg_values_supported: list,
  authorization_signing_alg_values_supported: list,
  code_challenge_methods_supported: list,
  dpop_signing_alg_values_supported: list,
  grant_types_supported: list,
  id_token_encryption_alg_values_supported: list,
  id_token_signing_alg_values_supported: list,
  prompt_values_supported: list,
  request_object_signing_alg_values_supported: list,
  response_modes_supported: list,
  scopes_supported: list,
  token_endpoint_auth_methods_supported: list,
  token_endpoint_auth_signing_alg_values_supported: list,
  userinfo_signing_alg_values_supported: list,
}

/** Throws an error that names the first member of the wrong kind, what it should be and what it is. */
function requireKinds(server: Record<string, unknown>, url: string): asserts server is ServerMetadata {
  for (const [name, kind] of Object.entries(KINDS)) {
    const value = server[name]
    if (kind.matches(value) || (value === undefined && name !== 'issuer')) continue
    const shown = value === undefined ? 'nothing' : quote(value)
    throw new Error(`the ${name} in the provider’s metadata is not ${kind.expected}, but ${shown} (${url})`)
  }
}

function isOf(settings: ProviderSettings, found: string): boolean {
  const configured = settings.issuer
  if (new URL(configured).href === new URL(found).href || mayHaveIssued(found, configured)) return true
  return presetOf(settings)?.issuers?.test(found) ?? false
}

/**
 * Throws if a required endpoint is missing, because a login would otherwise fail halfway, or if an endpoint is plain
 * http where that is not allowed.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata
 */
function checkEndpoints(server: ServerMetadata, settings: ProviderSettings): void {
  const { allowHttp } = settings
  for (const name of requiredOf(settings)) {
    if (server[name] === undefined)
      throw new Error(`the provider’s metadata has no ${name}: set it in provider.endpoints`)
  }
  for (const name of MEMBERS) {
    const address = server[name]
    if (typeof address !== 'string') continue
    const { protocol, hostname } = new URL(address)
    if (protocol === 'https:' || allowHttp || isLoopback(hostname)) continue
    throw new Error(
      `the ${name} in the provider’s metadata is plain http: ${address}; use https there, or set ` +
        'provider.allowHttp: true if the network is trusted',
    )
  }
}

function isUrl(value: unknown): value is string {
  return typeof value === 'string' && /^https?:/.test(value) && URL.canParse(value)
}
