import { rootCertificates } from 'node:tls'
import type { CustomFetch, ServerMetadata } from 'openid-client'
import { Agent, fetch as undiciFetch, type RequestInit as UndiciRequestInit } from 'undici'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'

/** No honest answer of a provider is larger; a broken one must not fill the memory. */
const MAX_ANSWER_BYTES = 1024 * 1024

const NULL_BODY_STATUS = new Set([101, 204, 205, 304])

interface TransportOptions {
  /** Certificates trusted beside the usual ones, PEM. */
  readonly ca: Buffer | null
  /** For each call from its start to the last byte of the answer, ms. */
  readonly timeout: number
  /** Hears of each call before it is made, and makes it. */
  readonly around: (url: string, call: () => Promise<Response>) => Promise<Response>
}

/** A `fetch` for calls to the provider: bounded in time and size, redirects left alone, extra trust roots. */
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

/** Times the calls to the provider by what they are for; each has a span of its own where there is tracing. */
export interface ObservedCalls {
  /** Makes a call to this URL. Rejects as the call does. */
  readonly around: (url: string, call: () => Promise<Response>) => Promise<Response>
  /** From now on calls are known by the endpoints of this metadata; before, each is a discovery. */
  learn(server: ServerMetadata): void
}

const ENDPOINTS = [
  ['jwks_uri', 'keys'],
  ['token_endpoint', 'token'],
  ['userinfo_endpoint', 'userinfo'],
  ['revocation_endpoint', 'revocation'],
  ['pushed_authorization_request_endpoint', 'pushed_authorization'],
] as const

/** No endpoint is known yet. */
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
