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
import type { Config } from '../config/schema.ts'
import { Fault, causes } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { clientAuthentication } from './client-authentication.ts'
import { isTemplate } from './issuer.ts'
import { CLOCK_TOLERANCE, createSigningKeys, type SigningKeys } from './keys.ts'
import { readMetadata } from './metadata.ts'
import { oauthAnswers } from './oauth-answers.ts'
import { createObservedCalls, createTransport } from './transport.ts'
import { createWarnings, type Warnings } from './warnings.ts'

/** The provider once it has been discovered. */
export interface Discovered {
  readonly configuration: Configuration
  readonly keys: SigningKeys
  readonly warnings: Warnings
}

/** The OpenID provider: discovered when it can be, asked again until then, and now and then after that. */
export interface Provider {
  /** The discovered provider; rejects with `provider_unavailable` when it can't be discovered now. */
  discovered(): Promise<Discovered>
  /** The same without waiting: `null` until the first discovery. */
  peek(): Discovered | null
  /** Another number each time that it has been discovered or has granted something: what failed before may work. */
  successes(): number
  /** As they are now. */
  readonly settings: Config['provider']
  /**
   * Goes over to other settings of the same client as soon as the provider has been discovered with them. Where they
   * are the same, its metadata is read again.
   */
  configure(settings: Config['provider']): void
  close(): Promise<void>
}

const RETRY_FIRST = 1_000
const RETRY_MOST = 30_000
/** How old the metadata gets before it is read again, ms. */
const METADATA_AGE = 12 * 3_600_000
/** How often, at most, calls that fail make the gateway read the metadata again, ms. */
const SUSPICION_PAUSE = 10_000

/** Begins to discover the provider (OpenID Connect Discovery 1.0), in the background and until it succeeds. */
export function openProvider(
  first: Config['provider'],
  log: Log,
  metrics: Metrics,
  tracing: Tracing | null,
  metadataAge = METADATA_AGE,
): Provider {
  const warnings = createWarnings(log)
  const parts: Parts = { log, metrics, tracing, metadataAge, warnings }
  let current = begin(first, parts)
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
      if (isDeepStrictEqual(settings, (next ?? current).settings)) {
        client().readAgain()
        return
      }
      void next?.close()
      next = begin(settings, parts)
    },
    async close() {
      await Promise.all([current.close(), next?.close()])
    },
  }
}

/** The provider with one set of settings. */
interface Client extends Omit<Provider, 'configure'> {
  /** Reads the metadata again, in the background. */
  readAgain(): void
}

interface Parts {
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing | null
  readonly metadataAge: number
  readonly warnings: Warnings
}

/** What the gateway knows of it, and the metadata that this came from. */
interface Known extends Discovered {
  readonly server: ServerMetadata
}

function begin(settings: Config['provider'], { log, metrics, tracing, metadataAge, warnings }: Parts): Client {
  const calls = createObservedCalls(metrics, tracing)
  const transport = createTransport({
    ca: settings.caFile?.content ?? null,
    timeout: settings.timeout,
    around: calls.around,
  })
  let successes = 0
  let known: Known | null = null
  let underWay: Promise<Known> | null = null
  let timer: NodeJS.Timeout | null = null
  let pause = RETRY_FIRST
  let suspectedAt = Number.NEGATIVE_INFINITY
  const closing = new AbortController()

  const fetch: CustomFetch = async (url, options) => {
    try {
      const answer = await transport.fetch(url, options)
      if (options.method !== 'GET') warnings.answered(answer)
      if (hasMoved(answer)) void readWhenSuspect()
      return answer
    } catch (error) {
      void readWhenSuspect()
      throw error
    }
  }
  const keys = createSigningKeys({
    address: () => known?.server.jwks_uri ?? '',
    fetch,
    readAgain: readWhenSuspect,
  })

  async function discover(): Promise<Known> {
    const server = await readMetadata(settings.issuer, transport.fetch, closing.signal)
    if (known !== null && isDeepStrictEqual(server, known.server)) return known
    calls.learn(server)
    const answers = oauthAnswers(fetch, () => {
      successes += 1
    })
    return { configuration: await configurationOf(settings, server, answers), keys, warnings, server }
  }

  function tell(found: Known): void {
    const { issuer } = settings
    if (known === null) log.info({ event: 'provider_discovered', issuer }, 'the provider has been discovered')
    else if (known !== found) {
      const changed = changedMembers(known.server, found.server)
      log.info({ event: 'provider_changed', issuer, changed }, 'the provider’s metadata has changed')
    }
  }

  function complain(error: unknown): void {
    if (closing.signal.aborted) return
    const facts = { issuer: settings.issuer, cause: causes(error) }
    if (known === null) log.error({ event: 'provider_unavailable', ...facts }, 'the provider can’t be discovered')
    else log.warn({ event: 'metadata_not_read', ...facts }, 'the provider’s metadata can’t be read again')
  }

  /** Reads the metadata, now and for everybody who asks meanwhile; after a while again. */
  function once(): Promise<Known> {
    underWay ??= discover()
      .then(
        (found) => {
          tell(found)
          // Metadata that was read again without trouble says nothing about an endpoint that fails.
          if (found !== known || pause > RETRY_FIRST) successes += 1
          known = found
          pause = RETRY_FIRST
          schedule(metadataAge)
          return found
        },
        (error: unknown) => {
          complain(error)
          schedule(pause)
          pause = Math.min(pause * 2, RETRY_MOST)
          throw new Fault('provider_unavailable', { cause: error })
        },
      )
      .finally(() => {
        underWay = null
      })
    return underWay
  }

  function readInBackground(): void {
    once().catch(() => {
      // The error is logged, and a retry is scheduled.
    })
  }

  function schedule(after: number): void {
    if (closing.signal.aborted) return
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(readInBackground, after).unref()
  }

  async function readWhenSuspect(): Promise<void> {
    if (known === null || closing.signal.aborted) return
    const now = performance.now()
    if (underWay === null && now - suspectedAt >= SUSPICION_PAUSE) {
      suspectedAt = now
      readInBackground()
    }
    await underWay?.catch(() => null)
  }

  readInBackground()

  return {
    settings,
    discovered: async () => known ?? once(),
    peek: () => known,
    successes: () => successes,
    readAgain: readInBackground,
    async close() {
      // Nobody waits for a discovery any longer; other calls are finished, since they may bring a rotated token.
      closing.abort()
      if (timer !== null) clearTimeout(timer)
      await transport.close()
    },
  }
}

/** Whether an endpoint's answer says that it is somewhere else. */
function hasMoved({ status }: Response): boolean {
  return status === 404 || status === 410 || (status >= 300 && status < 400 && status !== 304)
}

function changedMembers(before: ServerMetadata, after: ServerMetadata): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names.filter((name) => !isDeepStrictEqual(before[name], after[name]))
}

/** An address whose issuer openid-client knows to be a template. */
const KNOWN_TEMPLATE = new URL('https://login.microsoftonline.com/common/v2.0')

async function configurationOf(
  settings: Config['provider'],
  server: ServerMetadata,
  fetch: CustomFetch,
): Promise<Configuration> {
  const auth = await clientAuthentication(settings, server)
  const client = { [clockTolerance]: CLOCK_TOLERANCE }
  // It fills templates in for that one address alone: asked for that, it is given the document that was found.
  const configuration = isTemplate(server.issuer)
    ? await discovery(KNOWN_TEMPLATE, settings.clientId, client, auth, {
        [customFetch]: async () => Response.json(server),
      })
    : new Configuration(server, settings.clientId, client, auth)
  configuration[customFetch] = fetch
  // Seconds, and whole ones: openid-client makes milliseconds of them again, and 1.001 times 1000 is none.
  // The transport keeps the time.
  configuration.timeout = Math.ceil(settings.timeout / 1000)
  if (new URL(settings.issuer).protocol === 'http:') allowInsecureRequests(configuration)
  return configuration
}
