import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { classify } from '../gate/classify.ts'
import type { RequestKind } from '../gate/verdict.ts'
import { openAccessLog, type AccessLine } from '../telemetry/access-line.ts'
import { type Log, printable } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { traceIdOf, type RequestTrace, type Tracing } from '../telemetry/tracing.ts'
import { peerOf } from './facts.ts'
import { rejectionOf } from './server/parser-errors.ts'

interface Observers {
  readonly config: Pick<Config, 'scripts' | 'basePath'>
  readonly log: Log
  readonly metrics: Pick<Metrics, 'countRequest'>
  readonly tracing: Tracing | null
}

/** The data about a finished request. Holds no reference to the request, because a WebSocket may stay open for days. */
interface Ended {
  readonly line: AccessLine
  readonly series: string
  readonly route: string | null
  readonly kind: RequestKind
  readonly trace: RequestTrace | null
}

/** The status that nginx logs for a client that disconnects before the response. */
const CLIENT_CLOSED_REQUEST = 499

/**
 * Gives each request its log. When a request ends, writes its access line, counts it and, with tracing, ends its span.
 * A request ends when its response is sent or its client disconnects. A WebSocket ends when its connection closes.
 */
export function observe(app: FastifyInstance, { config, log, metrics, tracing }: Observers): void {
  const writeLine = openAccessLog(log)

  function tell({ line, series, route, kind, trace }: Ended): void {
    const { id, verdict, status } = line
    metrics.countRequest(series, kind, verdict, status)
    writeLine(line)
    trace?.end({ id, route, kind, verdict, status })
  }

  function tellWhenClosed(socket: Socket, ended: Ended): void {
    const since = performance.now()
    socket.once('close', () => {
      tell({ ...ended, line: { ...ended.line, ms: tenths(ended.line.ms + performance.now() - since) } })
    })
  }

  app.addHook('onRequest', (request, reply, done) => {
    const arrivedAt = performance.now()
    const { raw } = reply
    let told = false
    request.log = log
    reply.log = log
    const over = (): void => {
      // The response to an upgrade emits `close` again when its connection closes.
      if (told) return
      told = true
      const ended = endOf(request, reply, performance.now() - arrivedAt, config, tracing !== null)
      if (ended.line.status === 101) tellWhenClosed(request.raw.socket, ended)
      else tell(ended)
    }
    raw.on('error', ignore)
    // The client of a pipelined request has disconnected before the gateway began to handle the request.
    if (raw.destroyed) process.nextTick(over)
    else raw.on('close', over)
    done()
  })
}

/**
 * A write after the end of a response emits `error`, which would end the process without a listener. The listener has
 * nothing to do, because `close` follows.
 */
function ignore(): void {}

function endOf(
  request: FastifyRequest,
  reply: FastifyReply,
  ms: number,
  config: Observers['config'],
  isTraced: boolean,
): Ended {
  const { context } = request
  const trace = context?.trace ?? null
  return {
    line: accessLine(request, reply, ms, isTraced),
    series: context?.route?.series ?? '-',
    route: trace === null ? null : (context?.route?.path ?? ownRoute(request, config)),
    kind: context?.kind ?? classify(request.method, request.headers, config.scripts),
    trace,
  }
}

function accessLine(request: FastifyRequest, reply: FastifyReply, ms: number, isTraced: boolean): AccessLine {
  const { context, raw } = request
  const { raw: response } = reply
  const { traceparent } = request.headers
  const isComplete = response.writableFinished || response.statusCode === 101
  const rejection = isComplete ? null : rejectionOf(raw)
  // A response that waits for an earlier one has no connection.
  const hasBegun = isComplete || (response.headersSent && response.socket !== null)
  return {
    id: request.id,
    method: request.method,
    path: context === null ? '-' : printable(context.facts.path),
    status: rejection?.status ?? (hasBegun ? response.statusCode : CLIENT_CLOSED_REQUEST),
    // A request without a context was refused before the gate.
    verdict: rejection?.verdict ?? context?.verdict ?? String(reply.getHeader('gatehouse') ?? 'refused'),
    aborted: rejection?.aborted ?? !isComplete,
    provider: context?.session?.provider,
    cause: rejection?.cause,
    route: context?.route?.label ?? '-',
    ms: tenths(ms),
    client: context?.facts.client.address ?? (peerOf(raw.socket) || '-'),
    traceId: isTraced || traceparent !== undefined ? (context?.trace?.traceId ?? traceIdOf(traceparent)) : null,
  }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}

/** Returns the path of a gateway URL, or `null`. Such paths are few, so they are safe as names of spans. */
function ownRoute(request: FastifyRequest, { basePath }: Pick<Config, 'basePath'>): string | null {
  const { url } = request.routeOptions
  return url?.startsWith(`${basePath}/`) === true ? url : null
}
