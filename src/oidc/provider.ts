import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import {
  Configuration,
  allowInsecureRequests,
  clockTolerance,
  customFetch,
  discovery,
  type CustomFetch,
  type ServerMetadata,
} from 'openid-client'
import { presetOf, responseIssuersOf, userApiOf } from '../config/presets/apply.ts'
import type { Preset } from '../config/presets/table.ts'
import type { ProviderSettings } from '../config/schema.ts'
import { Fault, causes } from '../errors.ts'
import { exponentialBackoff } from '../resilience/backoff.ts'
import { createLimiter } from '../resilience/limiter.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { clientAuthentication, requestObjectKey, type SigningKey } from './client-authentication.ts'
import { createProviderProofs, type ProviderProofs } from './dpop.ts'
import { createTokenDecryption, type TokenDecryption } from './encrypted-tokens.ts'
import { isTemplate, mayHaveIssued, withOrigin } from './issuer.ts'
import { createSigningKeys, type SigningKeys } from './jwks.ts'
import { readMetadata, type Metadata } from './metadata.ts'
import { oauthResponses } from './oauth-responses.ts'
import { createObservedCalls, createTransport } from './transport.ts'
import { createWarnings, type Warnings } from './warnings.ts'

export interface Discovered extends Pick<Metadata, 'authorizationEndpoints' | 'document'> {
  readonly configuration: Configuration
  /** What is known about the provider beyond its metadata. */
  readonly preset: Preset | null
  /** Whether the provider has an introspection endpoint. */
  readonly introspects: boolean
  readonly keys: SigningKeys
  readonly warnings: Warnings
  readonly proofs: ProviderProofs
  /** Calls an API of the provider. */
  readonly fetchApi: CustomFetch
  readonly decrypt: TokenDecryption
  /** The key that signs request objects, or `null` if they are off. */
  readonly requestObjectKey: SigningKey | null
}

/** The OpenID provider. Its metadata is read in the background, with retries, and again at intervals. */
export interface Provider {
  /** Returns the discovered provider. Rejects with `provider_unavailable` if its metadata cannot be read. */
  discovered(): Promise<Discovered>
  /** Returns the discovered provider, or `null` before the first discovery. */
  peek(): Discovered | null
  /** Returns the number of discoveries and grants. A change of the number means that a failed request may now succeed. */
  successes(): number
  /** The name in `providers`, or `undefined` for the key `provider`. */
  readonly name: string | undefined
  /** Identifies the gateway's client at the provider: a digest of issuer and client ID. */
  readonly client: string
  readonly settings: ProviderSettings
  /**
   * Switches to other settings of the same client as soon as the provider has been discovered with them. Reads the
   * metadata again if the settings are unchanged.
   */
  configure(settings: ProviderSettings): void
  close(): Promise<void>
}

/** Returns the issuer or template in the provider's metadata, or the configured issuer before the discovery. */
export function announcedIssuer(provider: Provider): string {
  return provider.peek()?.configuration.serverMetadata().issuer ?? provider.settings.issuer
}

/**
 * Returns whether `iss` in a request of a browser names the provider. In a split horizon, the provider may name itself by
 * the origin that browsers reach.
 */
export function isIssuer(provider: Provider, iss: string): boolean {
  const issuer = announcedIssuer(provider)
  const { browserIssuerUrl } = provider.settings
  return (
    mayHaveIssued(issuer, iss) ||
    responseIssuersOf(provider.settings).includes(iss) ||
    (browserIssuerUrl !== null && mayHaveIssued(withOrigin(issuer, browserIssuerUrl), iss))
  )
}

const discoveryPauseMs = exponentialBackoff(1_000, 30_000)
/** The shortest time between two reads of the metadata after failed calls. */
const REREAD_PAUSE_MS = 10_000

export function openProvider(
  first: ProviderSettings,
  wholeLog: Log,
  metrics: Metrics,
  tracing: Tracing | null,
): Provider {
  const log = first.name === undefined ? wholeLog : wholeLog.child({ provider: first.name })
  const warnings = createWarnings(log)
  const open = (settings: ProviderSettings): Client => openClient(settings, { log, metrics, tracing, warnings })
  let current = open(first)
  let next: Client | null = null

  /**
   * Returns the current client, after a switch to `next` if the switch is due. A replaced client that has discovered
   * the provider is not closed: it stops reading the metadata, its pending calls finish, and its idle connections close
   * by themselves.
   */
  function client(): Client {
    if (next !== null && (next.peek() !== null || current.peek() === null)) {
      if (current.peek() === null) void current.close()
      else current.stopReading()
      current = next
      next = null
    }
    return current
  }

  return {
    name: first.name,
    client: createHash('sha256')
      .update(JSON.stringify([first.issuer, first.clientId]))
      .digest('base64url')
      .slice(0, 22),
    get settings() {
      return client().settings
    },
    discovered: () => client().discovered(),
    peek: () => client().peek(),
    successes: () => client().successes(),
    configure(settings) {
      if (isDeepStrictEqual(settings, (next ?? current).settings)) {
        client().readAgain()
        return
      }
      void next?.close()
      next = open(settings)
    },
    async close() {
      await Promise.all([current.close(), next?.close()])
    },
  }
}

interface Client extends Omit<Provider, 'configure' | 'name' | 'client'> {
  readAgain(): void
  stopReading(): void
}

interface ClientServices {
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing | null
  readonly warnings: Warnings
}

interface Known extends Discovered {
  readonly metadata: Metadata
}

function openClient(settings: ProviderSettings, { log, metrics, tracing, warnings }: ClientServices): Client {
  const calls = createObservedCalls(metrics, tracing, settings.name)
  const transport = createTransport({ settings, observe: calls.observe })
  const proofs = createProviderProofs()
  const reads = singleFlight<'metadata', Known>()
  const mayReread = createLimiter(1, REREAD_PAUSE_MS)
  let successes = 0
  let known: Known | null = null
  let timer: NodeJS.Timeout | null = null
  let failures = 0
  let isReading = true
  const closing = new AbortController()
  const decrypt = createTokenDecryption(settings.idTokenKeys)

  const fetch: CustomFetch = async (url, options) => {
    try {
      const response = await transport.fetch(url, proofs.withProof(url, options))
      proofs.noteNonce(url, response)
      // A cache may answer a GET with an old `Date`.
      if (options.method !== 'GET') warnings.checkDate(response)
      if (hasMoved(response)) void rereadAfterFailure()
      return response
    } catch (error) {
      void rereadAfterFailure()
      throw error
    }
  }
  const keys = createSigningKeys({
    address: () => known?.metadata.server.jwks_uri ?? '',
    fetch,
    clockTolerance: settings.clockTolerance,
    readAgain: rereadAfterFailure,
  })

  async function discover(): Promise<Known> {
    const metadata = await readMetadata(settings, transport.fetch, closing.signal)
    if (known !== null && isDeepStrictEqual(metadata, known.metadata)) return known
    const { server, authorizationEndpoints, document } = metadata
    const preset = presetOf(settings, server.token_endpoint)
    calls.learn(server, apiOrigins(settings))
    const oauthFetch = oauthResponses(
      fetch,
      preset?.errors,
      () => {
        successes += 1
      },
      (headers) => {
        if (!settings.tolerate.includes('basic-unencoded')) warnings.checkBasic(headers)
      },
      (type) => {
        warnings.checkBinding(type)
      },
    )
    const configuration = await configurationOf(settings, server, preset, oauthFetch)
    const signingKey = await requestObjectKey(settings, server)
    return {
      configuration,
      preset,
      introspects: server.introspection_endpoint !== undefined,
      authorizationEndpoints,
      document,
      keys,
      warnings,
      proofs,
      decrypt,
      requestObjectKey: signingKey,
      fetchApi: transport.fetch,
      metadata,
    }
  }

  function logDiscovery(found: Known): void {
    const { issuer } = settings
    if (known === null) log.info({ event: 'provider_discovered', issuer }, 'the provider has been discovered')
    else if (known !== found) {
      const changed = changedMembers(known.metadata.server, found.metadata.server)
      log.info({ event: 'provider_changed', issuer, changed }, 'the provider’s metadata has changed')
    }
  }

  function logFailure(error: unknown): void {
    if (closing.signal.aborted) return
    const facts = { issuer: settings.issuer, cause: causes(error) }
    if (known === null) log.error({ event: 'provider_unavailable', ...facts }, 'the provider can’t be discovered')
    else log.warn({ event: 'metadata_not_read', ...facts }, 'the provider’s metadata can’t be read again')
  }

  /** Reads the metadata and schedules the next read. Concurrent calls share one read. */
  function read(): Promise<Known> {
    return reads.run('metadata', async () => {
      try {
        const found = await discover()
        logDiscovery(found)
        // A routine read of unchanged metadata does not show that a failing endpoint has recovered.
        if (found !== known || failures > 0) successes += 1
        known = found
        failures = 0
        schedule(settings.metadataAge)
        return found
      } catch (error) {
        logFailure(error)
        failures += 1
        schedule(discoveryPauseMs(failures))
        throw new Fault('provider_unavailable', { cause: error })
      }
    })
  }

  function readInBackground(): void {
    read().catch(() => {
      // `read` has logged the error and scheduled a retry.
    })
  }

  function schedule(afterMs: number): void {
    if (!isReading) return
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(readInBackground, afterMs).unref()
  }

  function stopReading(): void {
    isReading = false
    if (timer !== null) clearTimeout(timer)
  }

  async function rereadAfterFailure(): Promise<void> {
    if (known === null || !isReading) return
    if (reads.current('metadata') === null && mayReread()) readInBackground()
    await reads.current('metadata')?.catch(() => null)
  }

  readInBackground()

  return {
    settings,
    discovered: async () => known ?? read(),
    peek: () => known,
    successes: () => successes,
    readAgain: readInBackground,
    stopReading,
    async close() {
      // Aborts only a discovery. Other calls finish, because they may return a rotated token.
      closing.abort()
      stopReading()
      await transport.close()
    },
  }
}

function apiOrigins(settings: ProviderSettings): string[] {
  const { userinfo, groups } = settings.endpoints
  return [userApiOf(settings) === null ? null : userinfo, groups]
    .filter((url) => url !== null)
    .map((url) => new URL(url).origin)
}

function hasMoved({ status }: Response): boolean {
  return status === 404 || status === 410 || (status >= 300 && status < 400 && status !== 304)
}

function changedMembers(before: ServerMetadata, after: ServerMetadata): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.filter((name) => !isDeepStrictEqual(before[name], after[name]))
}

/** The only address at which openid-client accepts an issuer template. */
const KNOWN_TEMPLATE = new URL('https://login.microsoftonline.com/common/v2.0')

async function configurationOf(
  settings: ProviderSettings,
  server: ServerMetadata,
  preset: Preset | null,
  fetch: CustomFetch,
): Promise<Configuration> {
  const { auth, wrap } = await clientAuthentication(settings, server, preset)
  const client = { [clockTolerance]: settings.clockTolerance / 1000 }
  // openid-client accepts an issuer template only in its own discovery of `KNOWN_TEMPLATE`. `customFetch` answers that
  // discovery with the metadata that the gateway has already read.
  const configuration = isTemplate(server.issuer)
    ? await discovery(KNOWN_TEMPLATE, settings.clientId, client, auth, {
        [customFetch]: async () => Response.json(server),
      })
    : new Configuration(server, settings.clientId, client, auth)
  configuration[customFetch] = wrap(fetch)
  // openid-client multiplies the timeout by 1000, and 1.001 × 1000 is not an integer in floating point, so the timeout
  // is rounded up to whole seconds. The transport enforces the exact time limit.
  configuration.timeout = Math.ceil(settings.timeout / 1000)
  // `readMetadata` has checked that plain http is allowed for every endpoint that uses it.
  const usesHttp = Object.values(server).some((value) => typeof value === 'string' && value.startsWith('http:'))
  if (usesHttp) allowInsecureRequests(configuration)
  return configuration
}
