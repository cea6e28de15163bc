import { isDeepStrictEqual } from 'node:util'
import { Configuration, None, allowInsecureRequests, customFetch, discovery, type ServerMetadata } from 'openid-client'
import type { Config } from '../config/schema.ts'
import { Fault, causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { clientAuthentication } from './client-authentication.ts'
import { createSigningKeys, type SigningKeys } from './keys.ts'
import { oauthAnswers } from './oauth-answers.ts'
import { createObservedCalls } from './observed-calls.ts'
import { createTransport } from './transport.ts'

/** The provider once it has been discovered. */
export interface Discovered {
  readonly configuration: Configuration
  readonly keys: SigningKeys
}

/** The OpenID provider: discovered when it can be, asked again until then. */
export interface Provider {
  /** The discovered provider; rejects with `provider_unavailable` when it can't be discovered now. */
  discovered(): Promise<Discovered>
  /** The same without waiting: `null` until the first discovery. */
  peek(): Discovered | null
  /** Another number each time that it has been discovered or has granted something: what failed before may work. */
  successes(): number
  /** As they are now. */
  readonly settings: Config['provider']
  /** Goes over to other settings of the same client as soon as the provider has been discovered with them. */
  configure(settings: Config['provider']): void
  close(): Promise<void>
}

const RETRY_FIRST = 1_000
const RETRY_MOST = 30_000

/** Begins to discover the provider (OpenID Connect Discovery 1.0), in the background and until it succeeds. */
export function openProvider(first: Config['provider'], log: Log, metrics: Metrics, tracing: Tracing | null): Provider {
  let current = begin(first, log, metrics, tracing)
  let next: Client | null = null

  /**
   * What a call has begun with it ends with: who is replaced stays open, and its idle connections close by themselves.
   */
  function client(): Client {
    if (next !== null && (next.peek() !== null || current.peek() === null)) {
      if (current.peek() === null) void current.close()
      current = next
      next = null
    }
    return current
  }

  return {
    get settings() {
      return client().settings
    },
    discovered: () => client().discovered(),
    peek: () => client().peek(),
    successes: () => client().successes(),
    configure(settings) {
      if (isDeepStrictEqual(settings, (next ?? current).settings)) return
      void next?.close()
      next = begin(settings, log, metrics, tracing)
    },
    async close() {
      await Promise.all([current.close(), next?.close()])
    },
  }
}

/** The provider with one set of settings. */
type Client = Omit<Provider, 'configure'>

function begin(settings: Config['provider'], log: Log, metrics: Metrics, tracing: Tracing | null): Client {
  const calls = createObservedCalls(metrics, tracing)
  const transport = createTransport({
    ca: settings.caFile?.content ?? null,
    timeout: settings.timeout,
    around: calls.around,
  })
  let known: Discovered | null = null
  let successes = 0
  let underWay: Promise<Discovered> | null = null
  let timer: NodeJS.Timeout | null = null
  const closing = new AbortController()
  const unlessClosed = (signal?: AbortSignal): AbortSignal =>
    signal === undefined ? closing.signal : AbortSignal.any([closing.signal, signal])

  async function discover(): Promise<Discovered> {
    const http = new URL(settings.issuer).protocol === 'http:'
    const execute = http ? [allowInsecureRequests] : []
    // Seconds, and whole ones: openid-client makes milliseconds of them again, and 1.001 times 1000 is none.
    // The transport keeps the time.
    const timeout = Math.ceil(settings.timeout / 1000)
    const found = await discovery(new URL(settings.issuer), settings.clientId, undefined, None(), {
      [customFetch]: (url, options) => transport.fetch(url, { ...options, signal: unlessClosed(options.signal) }),
      timeout,
      execute,
    })
    const server = found.serverMetadata()
    checkEndpoints(server)
    if (server.jwks_uri === undefined) throw new Error('the provider’s metadata has no jwks_uri')
    calls.learn(server)
    const configuration = new Configuration(server, settings.clientId, {}, await clientAuthentication(settings, server))
    configuration[customFetch] = oauthAnswers(transport.fetch, () => {
      successes += 1
    })
    configuration.timeout = timeout
    if (http) allowInsecureRequests(configuration)
    return { configuration, keys: createSigningKeys(server.jwks_uri, transport.fetch, settings.timeout) }
  }

  function once(): Promise<Discovered> {
    underWay ??= discover()
      .then(
        (found) => {
          known = found
          successes += 1
          log.info({ event: 'provider_discovered', issuer: settings.issuer }, 'the provider has been discovered')
          return found
        },
        (error: unknown) => {
          if (!closing.signal.aborted) {
            log.error(
              { event: 'provider_unavailable', issuer: settings.issuer, cause: causes(error) },
              'the provider can’t be discovered',
            )
          }
          throw new Fault('provider_unavailable', { cause: error })
        },
      )
      .finally(() => {
        underWay = null
      })
    return underWay
  }

  function keepTrying(pause: number): void {
    once().catch(() => {
      if (closing.signal.aborted) return
      timer = setTimeout(() => {
        if (known === null) keepTrying(Math.min(pause * 2, RETRY_MOST))
      }, pause).unref()
    })
  }
  keepTrying(RETRY_FIRST)

  return {
    settings,
    discovered: async () => known ?? once(),
    peek: () => known,
    successes: () => successes,
    async close() {
      // Nobody waits for a discovery any longer; other calls are finished, since they may bring a rotated token.
      closing.abort()
      if (timer !== null) clearTimeout(timer)
      await transport.close()
    },
  }
}

const REQUIRED_ENDPOINTS = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const
const OTHER_ENDPOINTS = [
  'userinfo_endpoint',
  'revocation_endpoint',
  'end_session_endpoint',
  'pushed_authorization_request_endpoint',
] as const

/** OpenID Connect Discovery 1.0, section 3: better refused here, by name, than in the middle of somebody's login. */
function checkEndpoints(server: ServerMetadata): void {
  for (const name of REQUIRED_ENDPOINTS) {
    if (server[name] === undefined) throw new Error(`the provider’s metadata has no ${name}`)
  }
  for (const name of [...REQUIRED_ENDPOINTS, ...OTHER_ENDPOINTS]) {
    const url: unknown = server[name]
    if (url !== undefined && (typeof url !== 'string' || !/^https?:/.test(url) || !URL.canParse(url))) {
      throw new Error(`the ${name} in the provider’s metadata is not a URL`)
    }
  }
}
