import { LRUCache } from 'lru-cache'
import { errors, type JWK, type JWTPayload } from 'jose'
import type { CustomFetch } from 'openid-client'
import { presetOf } from '../config/presets/apply.ts'
import type { ProviderSettings, Route } from '../config/schema.ts'
import { isLoopback } from '../config/value-types/address.ts'
import { Fault, quote } from '../errors.ts'
import { createLimiter } from '../resilience/limiter.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import { createSigningKeys } from './jwks.ts'
import { follow } from './metadata.ts'
import type { Provider } from './provider.ts'
import { createTransport } from './transport.ts'
import type { AcceptedTokens } from './token-rules.ts'

/** An issuer of access tokens where the gateway is not registered as a client. */
export interface TokenIssuer extends Pick<TokenIssuerSettings, 'issuer' | 'jwksUri'> {
  readonly substitutes: AcceptedTokens['substitutes']
  /**
   * Returns the claims of a JWT of this issuer. Rejects with jose's errors for an invalid token, and with
   * `provider_unavailable` if the issuer's keys cannot be read.
   */
  verify(token: string, now: number): Promise<JWTPayload>
  /** Returns the issuer's keys and their URL. Rejects if they cannot be read. */
  published(): Promise<{ readonly url: string; readonly keys: readonly JWK[] }>
}

export type TokenIssuerSettings = NonNullable<Route['bearer']>['issuers'][number]

/** The issuers in `bearer.issuers`. Their metadata and keys are not read before the first of their tokens arrives. */
export interface TokenIssuers {
  /** Returns an issuer, which is called with the timeout, proxy and CA certificates of `provider`. */
  of(settings: TokenIssuerSettings, provider: Provider): TokenIssuer
  close(): Promise<void>
}

/** More issuers than a configuration has. A limit is needed because reloads may replace issuers. */
const MAX_ISSUERS = 200

interface Connection {
  readonly settings: ProviderSettings
  readonly transport: ReturnType<typeof createTransport>
  readonly issuers: LRUCache<string, TokenIssuer>
}

export function createTokenIssuers(): TokenIssuers {
  const connections = new Map<Provider, Connection>()

  /** Replaces the connection if the provider has other settings. The idle connections of the old one close by themselves. */
  function connectionOf(provider: Provider): Connection {
    const { settings } = provider
    const known = connections.get(provider)
    if (known?.settings === settings) return known
    const connection: Connection = {
      settings,
      // The client certificate is for the provider only.
      transport: createTransport({
        settings: { ...settings, clientCertificate: null },
        observe: (_url, call) => call(),
      }),
      issuers: new LRUCache({ max: MAX_ISSUERS }),
    }
    connections.set(provider, connection)
    return connection
  }

  return {
    of({ issuer, jwksUri }, provider) {
      const { settings, transport, issuers } = connectionOf(provider)
      const key = `${issuer} ${jwksUri ?? ''}`
      const known = issuers.get(key) ?? createTokenIssuer({ issuer, jwksUri }, settings, transport.fetch)
      issuers.set(key, known)
      return known
    },
    async close() {
      await Promise.all([...connections.values()].map(async ({ transport }) => transport.close()))
    },
  }
}

/** How often the metadata of an issuer may be read while tokens of the issuer cannot be verified. */
const MAX_READS = 10
const READS_WINDOW_MS = 10_000

/** Creates an issuer whose keys are at `jwksUri`, or, if `jwksUri` is `null`, at the `jwks_uri` of its metadata. */
function createTokenIssuer(
  { issuer, jwksUri }: Pick<TokenIssuerSettings, 'issuer' | 'jwksUri'>,
  { allowHttp, clockTolerance, metadataAge }: ProviderSettings,
  fetch: CustomFetch,
): TokenIssuer {
  const reads = singleFlight<'metadata', string>()
  const mayRead = createLimiter(MAX_READS, READS_WINDOW_MS)
  let address = jwksUri
  let readAt = performance.now()

  function read(): Promise<string> {
    return reads.run('metadata', async () => {
      if (!mayRead()) throw new Error(`the metadata of ${issuer} was read a moment ago`)
      const found = await readKeysAddress(issuer, fetch)
      requireSafe(found, allowHttp)
      address = found
      readAt = performance.now()
      return found
    })
  }

  async function readAgain(): Promise<void> {
    if (jwksUri === null) await read().catch(() => null)
  }

  const keys = createSigningKeys({ address: () => address ?? '', fetch, clockTolerance, readAgain })

  return {
    issuer,
    jwksUri,
    substitutes: substitutesOf(issuer),
    async published() {
      const url = address ?? (await read())
      return { url, keys: await keys.published() }
    },
    async verify(token, now) {
      try {
        if (address === null) await read()
        else if (performance.now() - readAt > metadataAge) void readAgain()
        return await keys.verify(token, { issuer, requiredClaims: ['exp', 'sub'] }, now)
      } catch (error) {
        const isAboutToken = error instanceof errors.JOSEError && !(error instanceof errors.JWKSInvalid)
        throw isAboutToken ? error : new Fault('provider_unavailable', { cause: error })
      }
    },
  }
}

/**
 * Returns the `jwks_uri` of an issuer, from its OpenID Connect metadata or, if it has none, from its OAuth metadata.
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfigurationRequest
 * @see https://www.rfc-editor.org/rfc/rfc8414#section-3
 */
async function readKeysAddress(issuer: string, fetch: CustomFetch): Promise<string> {
  const base = issuer.replace(/\/$/, '')
  const oauth = base.replace(/^https?:\/\/[^/]+/i, '$&/.well-known/oauth-authorization-server')
  const first = await follow(`${base}/.well-known/openid-configuration`, fetch)
  const isMissing = first.response.status >= 400 && first.response.status < 500 && first.response.status !== 429
  const { url, response } = isMissing ? await follow(oauth, fetch) : first
  if (response.status !== 200) throw new Error(`${url} answers ${response.status} instead of the metadata of ${issuer}`)
  const metadata: unknown = JSON.parse(await response.text())
  const { issuer: named, jwks_uri: address }: { readonly issuer?: unknown; readonly jwks_uri?: unknown } =
    typeof metadata === 'object' && metadata !== null ? metadata : {}
  if (named !== issuer)
    throw new Error(`the document at ${url} has the issuer ${quote(named)}, and the route names ${issuer}`)
  if (typeof address !== 'string' || !URL.canParse(address))
    throw new Error(`the jwks_uri in the document at ${url} is not a URL, but ${quote(address)}: set jwksUri`)
  return address
}

function requireSafe(address: string, allowHttp: boolean): void {
  const { protocol, hostname } = new URL(address)
  if (protocol === 'https:' || (protocol === 'http:' && (allowHttp || isLoopback(hostname)))) return
  throw new Error(`the jwks_uri of the issuer is not https: ${quote(address)}`)
}

/** Returns the substitutes for an issuer. The preset table may know it, such as another user pool of Cognito. */
export function substitutesOf(issuer: string): AcceptedTokens['substitutes'] {
  return presetOf({ preset: 'auto', issuer }) ?? {}
}
