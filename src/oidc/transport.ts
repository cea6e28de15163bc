import { readFileSync } from 'node:fs'
import tls from 'node:tls'
import type { CustomFetch, ServerMetadata } from 'openid-client'
import {
  Agent,
  Pool,
  ProxyAgent,
  fetch as undiciFetch,
  type Dispatcher,
  type RequestInit as UndiciRequestInit,
} from 'undici'
import type { ProviderSettings } from '../config/schema.ts'
import { providerLabel, type Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { proxyAuthorization, proxyFor } from './outgoing-proxy.ts'

/** The size limit of a response. A faulty provider must not exhaust the memory, and regular responses are smaller. */
const MAX_RESPONSE_BYTES = 1024 * 1024

const NULL_BODY_STATUS = new Set([101, 204, 205, 304])

interface TransportOptions {
  readonly settings: Pick<ProviderSettings, 'caFile' | 'clientCertificate' | 'proxy' | 'timeout'>
  readonly observe: (url: string, call: () => Promise<Response>) => Promise<Response>
  readonly environment?: Readonly<Record<string, string | undefined>>
}

/**
 * Creates a `fetch` for calls to the provider. This `fetch` limits the time of a call and the size of a response, and
 * does not follow redirects. It uses the configured proxy, CA certificates and client certificate.
 */
export function createTransport({ settings, observe, environment }: TransportOptions): {
  fetch: CustomFetch
  close(): Promise<void>
} {
  const { timeout } = settings
  const dispatchers = createDispatchers(settings)
  const bounded: CustomFetch = async (url, options) => {
    const own = AbortSignal.timeout(timeout)
    const proxy = proxyFor(new URL(url), settings.proxy, environment)
    const init: UndiciRequestInit = {
      method: options.method,
      headers: options.headers,
      body: options.body ?? null,
      redirect: 'manual',
      signal: options.signal === undefined ? own : AbortSignal.any([own, options.signal]),
      dispatcher: dispatchers.through(proxy),
    }
    const response = await undiciFetch(url, init).catch((error: unknown) => {
      throw proxy === null ? error : withProxy(error, proxy)
    })
    const body = await readBounded(response.body, url)
    const headers = new Headers([...response.headers])
    return new Response(NULL_BODY_STATUS.has(response.status) ? null : body, { status: response.status, headers })
  }
  return { fetch: (url, options) => observe(url, () => bounded(url, options)), close: () => dispatchers.close() }
}

/** Returns what Node.js trusts without `ca`: its own certificates and those in NODE_EXTRA_CA_CERTS. */
function defaultAuthorities(): readonly string[] {
  // Node.js 20 does not have this function.
  const { getCACertificates }: Partial<typeof tls> = tls
  if (getCACertificates !== undefined) return getCACertificates('default')
  const { NODE_EXTRA_CA_CERTS: file = '' } = process.env
  try {
    return file === '' ? tls.rootCertificates : [...tls.rootCertificates, readFileSync(file, 'utf8')]
  } catch {
    // Node.js has warned about the file at its start.
    return tls.rootCertificates
  }
}

function createDispatchers({ caFile, clientCertificate, timeout }: TransportOptions['settings']) {
  const trust = caFile === null ? {} : { ca: [...defaultAuthorities(), caFile.content.toString('utf8')] }
  const identity =
    clientCertificate === null
      ? {}
      : { cert: clientCertificate.certFile.content, key: clientCertificate.keyFile.content }
  const toProvider = { timeout, ...trust, ...identity }
  const limits = { headersTimeout: timeout, bodyTimeout: timeout }
  const direct = new Agent({ connect: toProvider, ...limits })
  const proxied = new Map<string, ProxyAgent>()

  function openThrough(proxy: URL): ProxyAgent {
    const authorization = proxyAuthorization(proxy)
    return new ProxyAgent({
      uri: proxy.origin,
      ...(authorization === null ? {} : { token: authorization }),
      // Many proxies allow tunnels to port 443 only.
      proxyTunnel: false,
      // The client certificate is for the provider, and a proxy must not see it.
      proxyTls: { timeout, ...trust },
      requestTls: toProvider,
      // By default, undici waits five minutes for a proxy that does not respond to CONNECT.
      clientFactory: (origin, options) => new Pool(origin, { ...options, ...limits }),
      ...limits,
    })
  }

  return {
    through(proxy: URL | null): Dispatcher {
      if (proxy === null) return direct
      const agent = proxied.get(proxy.href) ?? openThrough(proxy)
      proxied.set(proxy.href, agent)
      return agent
    },
    async close(): Promise<void> {
      await Promise.all([direct, ...proxied.values()].map(async (agent) => agent.close()))
    },
  }
}

/** Returns the error with the proxy among its causes, and without the proxy's credentials. */
function withProxy(error: unknown, { origin }: URL): unknown {
  if (!(error instanceof TypeError)) return error
  return new TypeError(error.message, { cause: new Error(`through the proxy ${origin}`, { cause: error.cause }) })
}

async function readBounded(body: AsyncIterable<unknown> | null, url: string): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('a response of the provider is not binary')
    size += chunk.byteLength
    if (size > MAX_RESPONSE_BYTES)
      throw new Error(`the response of ${new URL(url).pathname} is larger than ${MAX_RESPONSE_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export interface ObservedCalls {
  /** Makes a call to this URL and measures it. Rejects like the call. */
  readonly observe: (url: string, call: () => Promise<Response>) => Promise<Response>
  /**
   * Learns the operations from the endpoints in this metadata and the origins of APIs. Until then, every call counts as
   * a discovery.
   */
  learn(server: ServerMetadata, apis: readonly string[]): void
}

const ENDPOINTS = [
  ['jwks_uri', 'keys'],
  ['token_endpoint', 'token'],
  ['userinfo_endpoint', 'userinfo'],
  ['revocation_endpoint', 'revocation'],
  ['introspection_endpoint', 'introspection'],
  ['pushed_authorization_request_endpoint', 'pushed_authorization'],
] as const

export function createObservedCalls(
  { providerSeconds }: Metrics,
  tracing: Tracing | null,
  name: string | undefined,
): ObservedCalls {
  const operations = new Map<string, string>()
  for (const operation of ['discovery', ...ENDPOINTS.map(([, one]) => one)])
    providerSeconds.zero({ operation, outcome: 'failed', ...providerLabel(name) })

  return {
    async observe(url, call) {
      const { origin, pathname, hostname } = new URL(url)
      const operation = operations.get(origin + pathname) ?? operations.get(origin) ?? 'discovery'
      const stop = providerSeconds.startTimer({ operation, ...providerLabel(name) })
      try {
        const response = await (tracing === null
          ? call()
          : tracing.call(`provider ${operation}`, { 'server.address': hostname }, call))
        stop({
          outcome:
            response.status >= 500 || response.status === 429 ? 'failed' : response.status >= 400 ? 'refused' : 'ok',
        })
        return response
      } catch (error) {
        stop({ outcome: 'failed' })
        throw error
      }
    },
    learn(server, apis) {
      operations.clear()
      for (const origin of apis) operations.set(origin, 'api')
      for (const [name, operation] of ENDPOINTS) {
        const url = server[name]
        if (url === undefined) continue
        const { origin, pathname } = new URL(url)
        operations.set(origin + pathname, operation)
      }
    },
  }
}
