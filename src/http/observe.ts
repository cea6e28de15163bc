import { performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { classify } from '../gate/classify.ts'
import type { Config } from '../config/schema.ts'
import { boundFields, formatAccessLine, type AccessLine } from '../telemetry/access-line.ts'
import { lineWriterOf, type Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { traceIdOf, type Tracing } from '../telemetry/tracing.ts'
import { printable } from './printable.ts'

interface Observers {
  readonly config: Pick<Config, 'scripts' | 'basePath'>
  readonly log: Log
  readonly metrics: Pick<Metrics, 'countRequest'>
  readonly tracing: Tracing | null
}

/** One access line, one count and, with tracing, one span for each request, when its answer has ended. */
export function observe(app: FastifyInstance, { config, log, metrics, tracing }: Observers): void {
  const writeLine = lineWriterOf(log)
  const bound = boundFields(log)
  app.addHook('onResponse', (request, reply, done) => {
    const { context } = request
    // What has no context was refused before anything could be said about it.
    const verdict = context?.verdict ?? String(reply.getHeader('gatehouse') ?? 'refused')
    const kind = context?.kind ?? classify(request.method, request.headers, config.scripts)
    metrics.countRequest(context?.route?.series ?? '-', kind, verdict)
    if (log.isLevelEnabled('info'))
      writeLine(formatAccessLine(accessLine(request, reply, verdict, tracing), Date.now(), bound))
    if (context !== null && context.trace !== null) {
      context.trace.end({
        id: request.id,
        route: context.route?.path ?? ownRoute(request, config),
        kind,
        verdict,
        status: reply.raw.statusCode,
      })
    }
    done()
  })
}

function accessLine(
  request: FastifyRequest,
  reply: FastifyReply,
  verdict: string,
  tracing: Tracing | null,
): AccessLine {
  const { context } = request
  const status = reply.raw.statusCode
  const { traceparent } = request.headers
  const traced = tracing !== null || traceparent !== undefined
  return {
    id: request.id,
    method: request.method,
    path: context === null ? '-' : printable(context.facts.path),
    status,
    verdict,
    route: context?.route?.label ?? '-',
    ms: Math.round(reply.elapsedTime * 10) / 10,
    client: context?.facts.client.address ?? request.socket.remoteAddress ?? '-',
    traceId: traced ? (context?.trace?.traceId ?? traceIdOf(traceparent)) : null,
    aborted: !reply.raw.writableFinished && status !== 101,
  }
}

/** The gateway's own URLs are few, and none is made by a client. */
function ownRoute(request: FastifyRequest, { basePath }: Pick<Config, 'basePath'>): string | null {
  const { url } = request.routeOptions
  return url?.startsWith(`${basePath}/`) === true ? url : null
}

let count = 0
const prefix = `${Math.floor(performance.timeOrigin).toString(36)}-${process.pid.toString(36)}-`

/** An id for a request that people can quote: unique among the processes of a gateway and short. */
export function newRequestId(): string {
  count += 1
  return prefix + count.toString(36)
}
