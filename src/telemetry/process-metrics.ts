import type { Registry } from 'prom-client'
import Counter from 'prom-client/lib/counter.js'
import collectEventLoopLag from 'prom-client/lib/metrics/eventLoopLag.js'
import collectGarbage from 'prom-client/lib/metrics/gc.js'
import collectHeap from 'prom-client/lib/metrics/heapSizeAndUsed.js'
import collectMemory from 'prom-client/lib/metrics/osMemoryHeap.js'
import collectOpenFiles from 'prom-client/lib/metrics/processOpenFileDescriptors.js'
import collectMaxFiles from 'prom-client/lib/metrics/processMaxFileDescriptors.js'
import collectStartTime from 'prom-client/lib/metrics/processStartTime.js'
import collectVersion from 'prom-client/lib/metrics/version.js'

const EVENT_LOOP_SAMPLE_MS = 10

/** Registers the metrics of the process under prom-client's default names with a prefix. */
export function registerProcessMetrics(registry: Registry, prefix: string): void {
  for (const collect of [
    collectStartTime,
    collectVersion,
    collectMemory,
    collectHeap,
    collectGarbage,
    collectOpenFiles,
    collectMaxFiles,
  ]) {
    collect(registry, { prefix })
  }
  collectEventLoopLag(registry, { prefix, eventLoopMonitoringPrecision: EVENT_LOOP_SAMPLE_MS })
  registerCpuMetrics(registry, prefix)
}

function registerCpuMetrics(registry: Registry, prefix: string): void {
  let before = process.cpuUsage()
  const counter = (name: string, help: string): Counter =>
    new Counter({ name: `${prefix}process_cpu_${name}seconds_total`, help, registers: [registry] })
  const user = counter('user_', 'CPU time in user mode, in seconds')
  const system = counter('system_', 'CPU time in the kernel, in seconds')
  registry.registerMetric(
    new Counter({
      name: `${prefix}process_cpu_seconds_total`,
      help: 'CPU time in user mode and in the kernel, in seconds',
      registers: [],
      collect() {
        const now = process.cpuUsage()
        user.inc((now.user - before.user) / 1e6)
        system.inc((now.system - before.system) / 1e6)
        this.inc((now.user - before.user + now.system - before.system) / 1e6)
        before = now
      },
    }),
  )
}
