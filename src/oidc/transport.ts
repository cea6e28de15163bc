import { rootCertificates } from 'node:tls'
import type { CustomFetch, ServerMetadata } from 'openid-client'
import { Agent, fetch as undiciFetch, type RequestInit as UndiciRequestInit } from 'undici'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'

/** The size limit of a response. A faulty provider must not exhaust the memory, and regular responses are smaller. */
const MAX_RESPONSE_BYTES = 1024 * 1024

const NULL_BODY_STATUS = new Set([101, 204, 205, 304])

interface TransportOptions {
  /** Trusted certificates in addition to the default ones, as PEM. */
  readonly ca: Buffer | null
  /** The time limit of a call in ms, from its start to the last byte of the response. */
  readonly timeout: number
  readonly observe: (url: string, call: () => Promise<Response>) => Promise<Response>
}

/**
 * Creates a `fetch` for calls to the provider. This `fetch` limits the time of a call and the size of a response, and
 * does not follow redirects.
 */
export function createTransport({ ca, timeout, observe }: TransportOptions): {
  fetch: CustomFetch
  close(): Promise<void>
} {
  const agent = new Agent({
    connect: { timeout, ...(ca === null ? {} : { ca: [...rootCertificates, ca.toString('utf8')] }) },
    headersTimeout: timeout,
    bodyTimeout: timeout,
  })
  const bounded: CustomFetch = async (url, options) => {
    const own = AbortSignal.timeout(timeout)
    const init: UndiciRequestInit = {
      method: options.method,
      headers: options.headers,
      body: options.body ?? null,
      redirect: 'manual',
      signal: options.signal === undefined ? own : AbortSignal.any([own, options.signal]),
      dispatcher: agent,
    }
    const response = await undiciFetch(url, init)
    const body = await readBounded(response.body, url)
    const headers = new Headers([...response.headers])
    return new Response(NULL_BODY_STATUS.has(response.status) ? null : body, { status: response.status, headers })
  }
  return { fetch: (url, options) => observe(url, () => bounded(url, options)), close: () => agent.close() }
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
  ['pushed_authorization_request_endpoint', 'pushed_authorization'],
] as const

export function createObservedCalls({ providerSeconds }: Metrics, tracing: Tracing | null): ObservedCalls {
  const operations = new Map<string, string>()

  return {
    async observe(url, call) {
      const { origin, pathname, hostname } = new URL(url)
      const operation = operations.get(origin + pathname) ?? operations.get(origin) ?? 'discovery'
      const stop = providerSeconds.startTimer({ operation })
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
