import type { Log } from './log.ts'
import type { Tracing } from './tracing.ts'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Tracing as OpenTelemetry's environment variables have it; `null`, and nothing of OpenTelemetry loaded, where they ask
 * for none: no `OTEL_EXPORTER_OTLP_ENDPOINT` and no `OTEL_TRACES_EXPORTER`, or one that is `none`, or
 * `OTEL_SDK_DISABLED=true`.
 */
export async function openTracing(env: Environment, log: Log): Promise<Tracing | null> {
  const asked = (name: string): string => env[name]?.trim() ?? ''
  if (asked('OTEL_SDK_DISABLED').toLowerCase() === 'true') return null
  const hasEndpoint = asked('OTEL_EXPORTER_OTLP_ENDPOINT') !== '' || asked('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') !== ''
  const exporter = asked('OTEL_TRACES_EXPORTER') || (hasEndpoint ? 'otlp' : 'none')
  if (exporter === 'none') return null
  const complain = (text: string): void => {
    log.warn({ event: 'configuration' }, text)
  }
  if (exporter !== 'otlp') {
    complain('OTEL_TRACES_EXPORTER: only otlp and none are known here; nothing is traced')
    return null
  }
  const protocol =
    asked('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') || asked('OTEL_EXPORTER_OTLP_PROTOCOL') || 'http/protobuf'
  if (protocol !== 'http/protobuf' && protocol !== 'http/json') {
    complain('OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf and http/json are known here; http/protobuf is used')
  }
  // Tens of milliseconds of start-up and megabytes that only those who trace should pay.
  const { startOpenTelemetry } = await import('./open-telemetry.ts')
  return startOpenTelemetry(protocol === 'http/json' ? 'http/json' : 'http/protobuf', log)
}
