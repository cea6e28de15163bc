import { performance } from 'node:perf_hooks'
import type { Socket } from 'node:net'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { classify } from '../gate/classify.ts'
import type { RequestKind } from '../gate/verdict.ts'
import type { Config } from '../config/schema.ts'
import { openAccessLog, type AccessLine } from '../telemetry/access-line.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { traceIdOf, type RequestTrace, type Tracing } from '../telemetry/tracing.ts'
import { peerOf } from './facts.ts'
import { refusalOf } from './server/parser-errors.ts'
import { printable } from './printable.ts'

interface Observers {
  readonly config: Pick<Config, 'scripts' | 'basePath'>
  readonly log: Log
  readonly metrics: Pick<Metrics, 'countRequest'>
  readonly tracing: Tracing | null
}

/** What is told of a request at its end, without the request: a WebSocket may stay open for days. */
interface Ended {
  readonly line: AccessLine
  /** The route as metrics name it, and as spans do. */
  readonly series: string
  readonly route: string | null
  readonly kind: RequestKind
  readonly trace: RequestTrace | null
}

/** What nginx logs for a client that has left before its answer. */
const CLIENT_CLOSED_REQUEST = 499

/**
 * One access line, one count and, with tracing, one span for each request, when it has ended: with its answer, with its
 * client's connection, as a stream or a WebSocket with that.
 */
export function observe(app: FastifyInstance, { config, log, metrics, tracing }: Observers): void {
  const writeLine = openAccessLog(log)

  function tell({ line, series, route, kind, trace }: Ended): void {
    const { id, verdict, status } = line
    metrics.countRequest(series, kind, verdict)
    writeLine(line)
    trace?.end({ id, route, kind, verdict, status })
  }

  /** Apart from the request, which must not be held for as long. */
  function tellWhenClosed(socket: Socket, ended: Ended): void {
    const since = performance.now()
    socket.once('close', () => {
      tell({ ...ended, line: { ...ended.line, ms: tenths(ended.line.ms + performance.now() - since) } })
    })
  }

  app.addHook('onRequest', (request, reply, done) => {
    const over = (): void => {
      const ended = endOf(request, reply, config, tracing)
      if (ended.line.status === 101) tellWhenClosed(request.raw.socket, ended)
      else tell(ended)
    }
    // A pipelined request whose client has left before its turn.
    if (reply.raw.destroyed) process.nextTick(over)
    else reply.raw.once('close', over)
    done()
  })
}

function endOf(
  request: FastifyRequest,
  reply: FastifyReply,
  config: Observers['config'],
  tracing: Tracing | null,
): Ended {
  const { context } = request
  return {
    line: accessLine(request, reply, tracing),
    series: context?.route?.series ?? '-',
    route: context?.route?.path ?? ownRoute(request, config),
    kind: context?.kind ?? classify(request.method, request.headers, config.scripts),
    trace: context?.trace ?? null,
  }
}

function accessLine(request: FastifyRequest, reply: FastifyReply, tracing: Tracing | null): AccessLine {
  const { context } = request
  const { traceparent } = request.headers
  const traced = tracing !== null || traceparent !== undefined
  const { status, verdict, aborted, cause } = outcome(request, reply)
  return {
    id: request.id,
    method: request.method,
    path: context === null ? '-' : printable(context.facts.path),
    status,
    verdict,
    aborted,
    cause,
    route: context?.route?.label ?? '-',
    ms: tenths(reply.elapsedTime),
    client: context?.facts.client.address ?? (peerOf(request.socket) || '-'),
    traceId: traced ? (context?.trace?.traceId ?? traceIdOf(traceparent)) : null,
  }
}

function outcome(
  { raw: request, context }: FastifyRequest,
  reply: FastifyReply,
): Pick<AccessLine, 'status' | 'verdict' | 'aborted' | 'cause'> {
  const { raw: response } = reply
  // What has no context was refused before anything could be said about it.
  const verdict = context?.verdict ?? String(reply.getHeader('gatehouse') ?? 'refused')
  const { statusCode: status } = response
  if (response.writableFinished || status === 101) return { status, verdict, aborted: false }
  const refusal = refusalOf(request)
  if (refusal !== null) return refusal
  // An answer that waited behind another one has never had the connection.
  const hasBegun = response.headersSent && response.socket !== null
  return { status: hasBegun ? status : CLIENT_CLOSED_REQUEST, verdict, aborted: true }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}

/** The gateway's own URLs are few, and none is made by a client. */
function ownRoute(request: FastifyRequest, { basePath }: Pick<Config, 'basePath'>): string | null {
  const { url } = request.routeOptions
  return url?.startsWith(`${basePath}/`) === true ? url : null
}
