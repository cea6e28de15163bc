import { AggregatorRegistry } from 'prom-client'

/** The metrics of several processes, each as `getMetricsAsJSON` gives them, as one text for Prometheus. */
export async function aggregate(
  processes: readonly unknown[],
): Promise<{ readonly contentType: string; readonly text: string }> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- prom-client types its own JSON as objects
  const all = AggregatorRegistry.aggregate(processes as object[])
  return { contentType: all.contentType, text: await all.metrics() }
}
