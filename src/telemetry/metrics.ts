import type { Metric } from 'prom-client'
import AggregatorRegistry from 'prom-client/lib/cluster.js'
import Counter from 'prom-client/lib/counter.js'
import Gauge from 'prom-client/lib/gauge.js'
import Histogram from 'prom-client/lib/histogram.js'
import Registry from 'prom-client/lib/registry.js'
import { VERSION } from '../version.ts'
import { PlainHistogram } from './plain-histogram.ts'
import { registerProcessMetrics } from './process-metrics.ts'

export interface Metrics {
  readonly registry: Registry
  /** Counts a request. Runs for every request, so it only adds to plain numbers until the metrics are collected. */
  countRequest(route: string, kind: string, verdict: string, status: number): void
  /** Makes the count of such requests start at zero. */
  initializeRequest(route: string, kind: string, verdict: string, status: number): void
  /** Time from sending a request upstream to the response headers or the failure. */
  readonly upstreamSeconds: PlainHistogram
  /** Time that the gateway adds to a proxied request, up to the response headers and without waiting for the upstream. */
  readonly addedSeconds: PlainHistogram
  readonly logins: Counter<'outcome' | 'provider'>
  readonly refreshes: Counter<'outcome' | 'cause' | 'provider'>
  readonly sessionsBegun: Counter
  readonly sessionsEnded: Counter<'reason'>
  /** Counts a session found in the session cache. As cheap as `countRequest`. */
  countHit(): void
  readonly sessionCache: Counter<'result'>
  readonly storeEvictions: Counter
  readonly storeSeconds: Histogram<'operation' | 'outcome'>
  readonly providerSeconds: Histogram<'operation' | 'outcome' | 'provider'>
  readonly lockWaitSeconds: Histogram
  /** Registers a gauge of the sessions in the store, which is read whenever the metrics are collected. */
  watchStore(size: () => number | null): void
  /** Registers a gauge of the sessions that this process has in memory, counted whenever the metrics are collected. */
  watchSessions(count: () => number): void
  watchStreams(kinds: readonly string[], count: (kind: string) => number): void
  watchReady(isReady: () => Promise<boolean>): void
}

const CALL_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const UPSTREAM_BUCKETS = [...CALL_BUCKETS, 30, 60]
const ADDED_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Initializes a counter to 0 for each value of a label, because rates in alerts need a value before the first event. */
export function countFromZero<L extends string>(
  counter: Counter<L>,
  label: NoInfer<L>,
  values: readonly string[],
  others: Partial<Record<NoInfer<L>, string>> = {},
): void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- TypeScript widens a computed name to string
  for (const value of values) counter.inc({ [label]: value, ...others } as Record<L, string>, 0)
}

/** Returns the label of one of several providers. With the key `provider`, the metrics have no such label. */
export function providerLabel(name: string | undefined): { provider?: string } {
  return name === undefined ? {} : { provider: name }
}

function innerMap<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  const existing = map.get(key)
  if (existing !== undefined) return existing
  const fresh = new Map<string, V>()
  map.set(key, fresh)
  return fresh
}

/** The requests with these labels since the last collection, by the first digit of their status. */
interface RequestCounts {
  readonly route: string
  readonly kind: string
  readonly verdict: string
  readonly byClass: number[]
}

function requestCounter(registry: Registry): Pick<Metrics, 'countRequest' | 'initializeRequest'> {
  // Nested maps, because one key made of all labels would have to be built and hashed for every request.
  const counts = new Map<string, Map<string, Map<string, RequestCounts>>>()
  const counter = new Counter({
    name: 'gatehouse_requests_total',
    help: 'Requests that have ended, by route, kind, verdict and class of the status',
    labelNames: ['route', 'kind', 'verdict', 'status'],
    registers: [registry],
    collect() {
      for (const byKind of counts.values()) {
        for (const byVerdict of byKind.values()) {
          for (const { route, kind, verdict, byClass } of byVerdict.values()) {
            for (const [digit, count] of byClass.entries()) {
              if (count > 0) this.inc({ route, kind, verdict, status: `${digit}xx` }, count)
              byClass[digit] = 0
            }
          }
        }
      }
    },
  })

  function add(route: string, kind: string, verdict: string): RequestCounts {
    const added: RequestCounts = { route, kind, verdict, byClass: Array.from({ length: 10 }, () => 0) }
    innerMap(innerMap(counts, route), kind).set(verdict, added)
    return added
  }

  return {
    countRequest(route, kind, verdict, status) {
      const { byClass } = counts.get(route)?.get(kind)?.get(verdict) ?? add(route, kind, verdict)
      const digit = Math.floor(status / 100)
      byClass[digit] = (byClass[digit] ?? 0) + 1
    },
    initializeRequest(route, kind, verdict, status) {
      counter.inc({ route, kind, verdict, status: `${Math.floor(status / 100)}xx` }, 0)
    },
  }
}

function sessionCounter(registry: Registry): Pick<Metrics, 'countHit' | 'sessionCache'> {
  let hits = 0
  const sessionCache = new Counter({
    name: 'gatehouse_session_cache_total',
    help: 'Session lookups by result; a hit needs no call to the store',
    labelNames: ['result'],
    registers: [],
    collect() {
      this.inc({ result: 'hit' }, hits)
      hits = 0
    },
  })
  registry.registerMetric(sessionCache)
  return {
    sessionCache,
    countHit: () => {
      hits += 1
    },
  }
}

/** Creates metrics in a registry of their own, so that two gateways in one process do not share figures. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const registered = <M extends Metric>(metric: M): M => {
    registry.registerMetric(metric)
    return metric
  }
  registerProcessMetrics(registry, 'gatehouse_')
  new Gauge({
    name: 'gatehouse_build_info',
    help: 'The version of the gateway and of Node.js; the value is always 1',
    labelNames: ['version', 'node_version'],
    registers,
    aggregator: 'first',
  }).set({ version: VERSION, node_version: process.version }, 1)
  return {
    registry,
    ...requestCounter(registry),
    upstreamSeconds: registered(
      new PlainHistogram(
        {
          name: 'gatehouse_upstream_seconds',
          buckets: UPSTREAM_BUCKETS,
          help: 'Seconds from sending a request to its upstream until the response headers or the failure, by route',
        },
        'route',
      ),
    ),
    addedSeconds: registered(
      new PlainHistogram({
        name: 'gatehouse_added_seconds',
        buckets: ADDED_BUCKETS,
        help:
          'Seconds from the arrival of a proxied request until its response headers, without the time spent waiting ' +
          'for the upstream',
      }),
    ),
    logins: new Counter({
      name: 'gatehouse_logins_total',
      help: 'Logins that reached the callback, by outcome',
      labelNames: ['outcome', 'provider'],
      registers,
    }),
    refreshes: new Counter({
      name: 'gatehouse_refreshes_total',
      help: 'Token refreshes of this process, by outcome and cause',
      labelNames: ['outcome', 'cause', 'provider'],
      registers,
    }),
    sessionsEnded: new Counter({
      name: 'gatehouse_sessions_ended_total',
      help: 'Sessions that have ended, by reason',
      labelNames: ['reason'],
      registers,
    }),
    sessionsBegun: new Counter({ name: 'gatehouse_sessions_begun_total', help: 'Sessions that have begun', registers }),
    ...sessionCounter(registry),
    storeEvictions: new Counter({
      name: 'gatehouse_store_evictions_total',
      help: 'Sessions evicted from the full memory store',
      registers,
    }),
    storeSeconds: new Histogram({
      name: 'gatehouse_store_seconds',
      help: 'Duration of calls to the store in seconds, by operation and outcome',
      labelNames: ['operation', 'outcome'],
      registers,
      buckets: CALL_BUCKETS,
    }),
    providerSeconds: new Histogram({
      name: 'gatehouse_provider_seconds',
      help: 'Duration of requests to the provider in seconds, by operation and outcome',
      labelNames: ['operation', 'outcome', 'provider'],
      registers,
      buckets: CALL_BUCKETS,
    }),
    lockWaitSeconds: new Histogram({
      name: 'gatehouse_refresh_lock_wait_seconds',
      help: 'Seconds that a refresh waited for its lock or for the result of another process',
      registers,
      buckets: CALL_BUCKETS,
    }),
    watchStore(size) {
      registry.registerMetric(
        new Gauge({
          name: 'gatehouse_store_sessions',
          help: 'Sessions in the memory store',
          registers: [],
          collect() {
            this.set(size() ?? Number.NaN)
          },
        }),
      )
    },
    watchSessions(count) {
      registry.registerMetric(
        new Gauge({
          name: 'gatehouse_session_cache_sessions',
          help: 'Sessions in the memory of this process that have neither ended nor timed out',
          registers: [],
          collect() {
            this.set(count())
          },
        }),
      )
    },
    watchStreams(kinds, count) {
      registry.registerMetric(
        new Gauge({
          name: 'gatehouse_streams_open',
          help: 'Open event streams, WebSockets and gRPC calls',
          labelNames: ['kind'],
          registers: [],
          collect() {
            for (const kind of kinds) this.set({ kind }, count(kind))
          },
        }),
      )
    },
    watchReady(isReady) {
      registry.registerMetric(
        new Gauge({
          name: 'gatehouse_ready',
          help: '1 if /readyz reports ready, otherwise 0',
          registers: [],
          aggregator: 'min',
          async collect() {
            this.set((await isReady()) ? 1 : 0)
          },
        }),
      )
    },
  }
}

/** Aggregates the metrics of several processes, each as prom-client's JSON, into one text for Prometheus. */
export async function aggregateMetrics(
  processes: readonly unknown[],
): Promise<{ readonly contentType: string; readonly text: string }> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- prom-client types its own JSON as objects
  const all = AggregatorRegistry.aggregate(processes as object[])
  return { contentType: all.contentType, text: await all.metrics() }
}
