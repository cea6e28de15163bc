import { AggregatorRegistry, Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

/** Everything the gateway counts; Prometheus names begin with `gatehouse_`. */
export interface Metrics {
  readonly registry: Registry
  /** Counts one request. Plain numbers until somebody collects them: this is on the way of every request. */
  readonly countRequest: (route: string, kind: string, verdict: string) => void
  readonly logins: Counter<'outcome'>
  readonly refreshes: Counter<'outcome' | 'cause'>
  readonly sessionsBegun: Counter
  readonly sessionsEnded: Counter<'reason'>
  readonly sessionCache: Counter<'result'>
  readonly storeEvictions: Counter
  readonly storeSeconds: Histogram<'operation' | 'outcome'>
  readonly lockWaitSeconds: Histogram
  /** Reads how many sessions the store holds each time the metrics are collected. */
  watchStore(size: () => number | null): void
}

const CALL_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

function requestCounter(registry: Registry): Metrics['countRequest'] {
  const pending = new Map<string, { readonly labels: { readonly route: string, readonly kind: string, readonly verdict: string }, count: number }>()
  registry.registerMetric(new Counter({
    name: 'gatehouse_requests_total', help: 'Requests by what became of them', labelNames: ['route', 'kind', 'verdict'], registers: [],
    collect() {
      for (const { labels, count } of pending.values()) this.inc(labels, count)
      pending.clear()
    },
  }))
  return (route, kind, verdict) => {
    const name = `${route} ${kind} ${verdict}`
    const known = pending.get(name)
    if (known === undefined) pending.set(name, { labels: { route, kind, verdict }, count: 1 })
    else known.count += 1
  }
}

/** Makes a registry of its own, so that two gateways in one process do not mix their figures. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'gatehouse_' })
  return {
    registry,
    countRequest: requestCounter(registry),
    logins: new Counter({ name: 'gatehouse_logins_total', help: 'Logins by outcome', labelNames: ['outcome'], registers }),
    refreshes: new Counter({
      name: 'gatehouse_refreshes_total', help: 'Token refreshes by outcome and cause', labelNames: ['outcome', 'cause'], registers,
    }),
    sessionsBegun: new Counter({ name: 'gatehouse_sessions_begun_total', help: 'Sessions begun', registers }),
    sessionsEnded: new Counter({
      name: 'gatehouse_sessions_ended_total', help: 'Sessions ended, by reason', labelNames: ['reason'], registers,
    }),
    sessionCache: new Counter({
      name: 'gatehouse_session_cache_total', help: 'Sessions looked up, by result: hit is the usual one, without the store', labelNames: ['result'], registers,
    }),
    storeEvictions: new Counter({
      name: 'gatehouse_store_evictions_total', help: 'Sessions that the full memory store has dropped', registers,
    }),
    storeSeconds: new Histogram({
      name: 'gatehouse_store_seconds', help: 'Calls to the store', labelNames: ['operation', 'outcome'], registers, buckets: CALL_BUCKETS,
    }),
    lockWaitSeconds: new Histogram({
      name: 'gatehouse_refresh_lock_wait_seconds', help: 'Time until a refresh had its lock, or another process’s result', registers,
      buckets: CALL_BUCKETS,
    }),
    watchStore(size) {
      registry.registerMetric(new Gauge({
        name: 'gatehouse_store_sessions', help: 'Sessions in the memory store', registers: [],
        collect() { this.set(size() ?? Number.NaN) },
      }))
    },
  }
}

/** The metrics of several processes, each as `getMetricsAsJSON` gives them, as one text for Prometheus. */
export async function aggregate(processes: readonly unknown[]): Promise<{ readonly contentType: string, readonly text: string }> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- prom-client types its own JSON as objects, and as nothing more
  const all = AggregatorRegistry.aggregate(processes as object[])
  return { contentType: all.contentType, text: await all.metrics() }
}
