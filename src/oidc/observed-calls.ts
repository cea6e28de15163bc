import type { ServerMetadata } from 'openid-client'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'

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
