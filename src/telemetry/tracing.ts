import type { IncomingHttpHeaders } from 'node:http'
import type { Log } from './log.ts'

/** What is said of a request when it is over. */
export interface TracedRequest {
  readonly id: string
  /** The pattern of the route, never the path. */
  readonly route: string | null
  readonly kind: string
  readonly verdict: string
  readonly status: number
}

/** One request in a trace. */
export interface RequestTrace {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** Runs `work`; what it calls of provider and store, also later, belongs to this request. */
  within(work: () => void): void
  /**
   * The request goes to this origin now; gives the headers that carry the trace on (W3C Trace Context, section 3):
   * name, value …
   */
  goesUpstream(origin: string): readonly string[]
  /** The upstream has answered with this status, or with nothing. */
  wasAnswered(status: number | null): void
  end(request: TracedRequest): void
}

/** Spans of requests, and of the calls that they cause. */
export interface Tracing {
  /** A request has arrived; a trace that its headers name goes on. */
  begin(method: string, headers: IncomingHttpHeaders): RequestTrace
  /** Makes a call to somebody else as a span of its own. Rejects as the call does. */
  call<T>(name: string, attributes: Readonly<Record<string, string>>, call: () => Promise<T>): Promise<T>
  /** Sends what is left, within 3 s. Never rejects. */
  close(): Promise<void>
}

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

/** The trace that a `traceparent` names (W3C Trace Context, section 3.2), or `null`. */
export function traceIdOf(traceparent: string | string[] | undefined): string | null {
  const [, id] =
    typeof traceparent === 'string'
      ? (/^[\da-f]{2}-([\da-f]{32})-[\da-f]{16}-[\da-f]{2}(?:-|$)/.exec(traceparent) ?? [])
      : []
  return id ?? null
}
