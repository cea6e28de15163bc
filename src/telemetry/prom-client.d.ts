// Types for the single files of prom-client. Its main file also loads OpenTelemetry's API, which only tracing needs.

declare module 'prom-client/lib/cluster.js' {
  import { AggregatorRegistry } from 'prom-client'
  export default AggregatorRegistry
}

declare module 'prom-client/lib/counter.js' {
  import { Counter } from 'prom-client'
  export default Counter
}

declare module 'prom-client/lib/gauge.js' {
  import { Gauge } from 'prom-client'
  export default Gauge
}

declare module 'prom-client/lib/histogram.js' {
  import { Histogram } from 'prom-client'
  export default Histogram
}

declare module 'prom-client/lib/registry.js' {
  import { Registry } from 'prom-client'
  export default Registry
}

declare module 'prom-client/lib/metrics/*.js' {
  import type { Registry } from 'prom-client'
  export default function collect(
    registry: Registry,
    options: { readonly prefix: string; readonly eventLoopMonitoringPrecision?: number },
  ): void
}
