import type { CompiledRoute, RequestKind } from '../gate/verdict.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** The kinds of most requests. With all kinds, each route would have twice as many series. */
const KINDS: readonly RequestKind[] = ['navigation', 'script']

/** Verdicts, each with a status of every class that it can have. */
type Expected = readonly (readonly [verdict: string, statuses: readonly number[]])[]

const ON_EACH_ROUTE: Expected = [
  ['forward', [200, 300, 400, 500]],
  ['upstream_unreachable', [502]],
  ['upstream_timeout', [504]],
  ['internal_error', [500]],
]
const WITH_SESSION: Expected = [
  ['login_required', [401]],
  ['session_expired', [401]],
  ['forbidden', [403]],
  ['token_unavailable', [503]],
]
const WITHOUT_ROUTE: Expected = [
  ['not_found', [404]],
  ['bad_request', [400]],
  ['rate_limited', [429]],
  ['login_failed', [400, 502]],
  ['provider_unavailable', [503]],
  ['store_unavailable', [503]],
  ['internal_error', [500]],
]
const REDIRECTED = ['login_required', 'session_expired']

/**
 * Makes the counts of the usual requests start at zero, because a rate has no value for the first request of a series.
 */
export function initializeRequests(
  metrics: Pick<Metrics, 'initializeRequest' | 'upstreamSeconds'>,
  routes: readonly CompiledRoute[],
): void {
  function expectAll(series: string, expected: Expected): void {
    for (const kind of KINDS) {
      for (const [verdict, statuses] of expected) {
        for (const status of statuses) metrics.initializeRequest(series, kind, verdict, status)
      }
    }
  }

  for (const { series, access } of routes) {
    metrics.upstreamSeconds.initialize(series)
    expectAll(series, ON_EACH_ROUTE)
    for (const status of [101, 400, 500]) metrics.initializeRequest(series, 'websocket', 'forward', status)
    if (access === 'public') continue
    expectAll(series, WITH_SESSION)
    for (const verdict of REDIRECTED) metrics.initializeRequest(series, 'navigation', verdict, 302)
  }
  expectAll('-', WITHOUT_ROUTE)
}
