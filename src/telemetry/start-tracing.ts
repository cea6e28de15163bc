import type { Log } from './log.ts'
import type { Tracing } from './tracing.ts'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Starts tracing as OpenTelemetry's environment variables configure it. Returns `null` without loading OpenTelemetry when
 * `OTEL_SDK_DISABLED` is `true`, when `OTEL_TRACES_EXPORTER` is `none`, or when neither an exporter nor an endpoint is set.
 */
export async function startTracing(env: Environment, log: Log): Promise<Tracing | null> {
  const variable = (name: string): string => env[name]?.trim() ?? ''
  if (variable('OTEL_SDK_DISABLED').toLowerCase() === 'true') return null
  const hasEndpoint =
    variable('OTEL_EXPORTER_OTLP_ENDPOINT') !== '' || variable('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') !== ''
  const exporter = variable('OTEL_TRACES_EXPORTER') || (hasEndpoint ? 'otlp' : 'none')
  if (exporter === 'none') return null
  const warn = (text: string): void => {
    log.warn({ event: 'configuration' }, text)
  }
  if (exporter !== 'otlp') {
    warn('OTEL_TRACES_EXPORTER: only otlp and none are supported; tracing is off')
    return null
  }
  const protocol =
    variable('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') || variable('OTEL_EXPORTER_OTLP_PROTOCOL') || 'http/protobuf'
  if (protocol !== 'http/protobuf' && protocol !== 'http/json') {
    warn('OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf and http/json are supported; http/protobuf is used')
  }
  // Loading OpenTelemetry takes tens of milliseconds and megabytes, so only tracing loads it.
  const { startOpenTelemetry } = await import('./open-telemetry.ts')
  return startOpenTelemetry(protocol === 'http/json' ? 'http/json' : 'http/protobuf', log)
}
