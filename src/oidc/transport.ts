import { rootCertificates } from 'node:tls'
import type { CustomFetch, ServerMetadata } from 'openid-client'
import { Agent, fetch as undiciFetch, type RequestInit as UndiciRequestInit } from 'undici'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'

/** Larger than any honest response; a broken provider must not fill the memory. */
const MAX_ANSWER_BYTES = 1024 * 1024

const NULL_BODY_STATUS = new Set([101, 204, 205, 304])

interface TransportOptions {
  /** Certificates to trust besides the usual ones, PEM. */
  readonly ca: Buffer | null
  /** Time limit in ms for each call, from its start to the last byte of the response. */
  readonly timeout: number
  /** Wraps each call. */
  readonly around: (url: string, call: () => Promise<Response>) => Promise<Response>
}

/** Creates a `fetch` for calls to the provider that bounds time and size and does not follow redirects. */
export function createTransport({ ca, timeout, around }: TransportOptions): {
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
    const answer = await undiciFetch(url, init)
    const body = await readBounded(answer.body, url)
    const headers = new Headers([...answer.headers])
    return new Response(NULL_BODY_STATUS.has(answer.status) ? null : body, { status: answer.status, headers })
  }
  return { fetch: (url, options) => around(url, () => bounded(url, options)), close: () => agent.close() }
}

async function readBounded(body: AsyncIterable<unknown> | null, url: string): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    if (!(chunk instanceof Uint8Array)) throw new TypeError('an answer of the provider is not made of bytes')
    size += chunk.byteLength
    if (size > MAX_ANSWER_BYTES)
      throw new Error(`the answer of ${new URL(url).pathname} is larger than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Measures the calls to the provider by operation, and records a span for each where tracing is on. */
export interface ObservedCalls {
  /** Makes a call to this URL and measures it. Rejects like the call. */
  readonly around: (url: string, call: () => Promise<Response>) => Promise<Response>
  /** Names the operations after the endpoints of this metadata. Before that, every call is a discovery. */
  learn(server: ServerMetadata): void
}

const ENDPOINTS = [
  ['jwks_uri', 'keys'],
  ['token_endpoint', 'token'],
  ['userinfo_endpoint', 'userinfo'],
  ['revocation_endpoint', 'revocation'],
  ['pushed_authorization_request_endpoint', 'pushed_authorization'],
] as const

/** Creates the measurement; `learn` tells it the endpoints. */
export function createObservedCalls({ providerSeconds }: Metrics, tracing: Tracing | null): ObservedCalls {
  const operations = new Map<string, string>()

  return {
    async around(url, call) {
      const { origin, pathname, hostname } = new URL(url)
      const operation = operations.get(origin + pathname) ?? 'discovery'
      const stop = providerSeconds.startTimer({ operation })
      try {
        const answer = await (tracing === null
          ? call()
          : tracing.call(`provider ${operation}`, { 'server.address': hostname }, call))
        stop({
          outcome: answer.status >= 500 || answer.status === 429 ? 'failed' : answer.status >= 400 ? 'refused' : 'ok',
        })
        return answer
      } catch (error) {
        stop({ outcome: 'failed' })
        throw error
      }
    },
    learn(server) {
      operations.clear()
      for (const [name, operation] of ENDPOINTS) {
        const url = server[name]
        if (url === undefined) continue
        const { origin, pathname } = new URL(url)
        operations.set(origin + pathname, operation)
      }
    },
  }
}
