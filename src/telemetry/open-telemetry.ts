import { AsyncLocalStorage } from 'node:async_hooks'
import {
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  defaultTextMapGetter,
  defaultTextMapSetter,
  diag,
  trace,
  type Context,
  type Span,
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base'
import { causes } from '../errors.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Log } from './log.ts'
import { VERSION } from '../version.ts'
import type { RequestTrace, TracedRequest, Tracing } from './tracing.ts'

const CLOSE_TIMEOUT_MS = 3_000

/** Starts OpenTelemetry, which reads endpoint, headers, sampler, limits and names from its environment variables. */
export function startOpenTelemetry(protocol: 'http/json' | 'http/protobuf', log: Log): Tracing {
  logVariableMistakes(log)
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'gatehouse', 'service.version': VERSION }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [
      new BatchSpanProcessor(
        withLossLogged(protocol === 'http/json' ? new JsonExporter() : new ProtobufExporter(), log),
      ),
    ],
  })
  const tracer = provider.getTracer('gatehouse')
  const propagator = new W3CTraceContextPropagator()
  const current = new AsyncLocalStorage<Context>()

  function begin(method: string, headers: Parameters<Tracing['begin']>[1]): RequestTrace {
    const parent = propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter)
    const span = tracer.startSpan(
      method,
      { kind: SpanKind.SERVER, attributes: { 'http.request.method': method } },
      parent,
    )
    const context = trace.setSpan(parent, span)
    let upstream: Span | null = null
    const endUpstreamSpan = (status: number | null): void => {
      upstream?.setAttributes(status === null ? { 'error.type': 'no_answer' } : { 'http.response.status_code': status })
      if (status === null || status >= 500) upstream?.setStatus({ code: SpanStatusCode.ERROR })
      upstream?.end()
      upstream = null
    }
    return {
      traceId: span.spanContext().traceId,
      within(work) {
        current.run(context, work)
      },
      startUpstreamSpan(origin) {
        endUpstreamSpan(null)
        const { hostname, port, protocol: scheme } = new URL(origin)
        upstream = tracer.startSpan(
          method,
          {
            kind: SpanKind.CLIENT,
            attributes: {
              'http.request.method': method,
              'server.address': hostname,
              'server.port': Number(port === '' ? ({ 'https:': 443 }[scheme] ?? 80) : port),
            },
          },
          context,
        )
        const carrier: Record<string, string> = {}
        propagator.inject(trace.setSpan(context, upstream), carrier, defaultTextMapSetter)
        return Object.entries(carrier).flat()
      },
      endUpstreamSpan,
      end(request) {
        if (upstream !== null) endUpstreamSpan(null)
        describe(span, method, request)
        span.end()
      },
    }
  }

  async function call<T>(
    name: string,
    attributes: Readonly<Record<string, string>>,
    work: () => Promise<T>,
  ): Promise<T> {
    const parent = current.getStore() ?? ROOT_CONTEXT
    const span = tracer.startSpan(name, { kind: SpanKind.CLIENT, attributes }, parent)
    try {
      return await current.run(trace.setSpan(parent, span), work)
    } catch (error) {
      // The span omits the error's message, which may contain secrets. The log has the message with secrets removed.
      span.setStatus({ code: SpanStatusCode.ERROR })
      throw error
    } finally {
      span.end()
    }
  }

  return {
    begin,
    call,
    async close() {
      await withDeadline(
        provider.shutdown().catch(() => {}),
        CLOSE_TIMEOUT_MS,
        () => undefined,
      )
    },
  }
}

function describe(span: Span, method: string, { id, route, kind, verdict, status }: TracedRequest): void {
  span.setAttributes({
    'http.response.status_code': status,
    'gatehouse.request_id': id,
    'gatehouse.kind': kind,
    'gatehouse.verdict': verdict,
    ...(route === null ? {} : { 'http.route': route }),
  })
  if (route !== null) span.updateName(`${method} ${route}`)
  if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
}

/** Wraps an exporter to log when it starts to lose spans and when it delivers them again. */
function withLossLogged(exporter: SpanExporter, log: Log): SpanExporter {
  let isLosing = false
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        const failed = result.error !== undefined
        if (failed && !isLosing)
          log.warn({ event: 'traces_lost', cause: causes(result.error) }, 'spans can’t be exported and are lost')
        if (!failed && isLosing) log.info({ event: 'traces_delivered' }, 'spans are exported again')
        isLosing = failed
        done(result)
      })
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => {
      await exporter.forceFlush?.()
    },
  }
}

/** Logs OpenTelemetry's own messages about its environment variables, and drops its other messages. */
function logVariableMistakes(log: Log): void {
  const warn = (message: string): void => {
    if (message.startsWith('OTEL_')) log.warn({ event: 'configuration' }, message)
  }
  diag.setLogger(
    { error: warn, warn, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
}

function ignore(): void {}
