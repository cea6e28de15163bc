import { performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { classify } from '../gate/classify.ts'
import { compilePaths, hostOf } from '../gate/match.ts'
import type { RequestKind } from '../gate/verdict.ts'
import { openAccessLog, type AccessLine } from '../telemetry/access-line.ts'
import { type Log, printable } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { traceIdOf, type RequestTrace, type Tracing } from '../telemetry/tracing.ts'
import { peerOf } from './facts.ts'
import { identityOf, refererOf, userAgentOf } from './identity.ts'
import { rejectionOf } from './server/parser-errors.ts'
import { upgradeOf, type Tunnel } from './server/upgrade.ts'

interface Observers {
  readonly config: Pick<Config, 'scripts' | 'basePath' | 'log'>
  readonly log: Log
  readonly metrics: Pick<Metrics, 'countRequest'>
  readonly tracing: Tracing | null
}

/** The parts that all requests share. */
interface Settings extends Omit<Observers, 'metrics'> {
  readonly fields: ReadonlySet<Config['log']['fields'][number]>
  readonly isExcluded: (path: string) => boolean
}

/** The data about a finished request. Holds no reference to the request, because a WebSocket may stay open for days. */
interface RequestRecord {
  readonly line: AccessLine
  readonly series: string
  readonly route: string | null
  readonly kind: RequestKind
  readonly trace: RequestTrace | null
  /** Whether `log.exclude` leaves the line out. */
  readonly isExcluded: boolean
}

/** The status that nginx logs for a client that disconnects before the response. */
const CLIENT_CLOSED_REQUEST = 499

/**
 * Gives each request its log. When a request ends, writes its access line, counts it and, with tracing, ends its span.
 * A request ends when its response is sent or its client disconnects. A WebSocket ends when its connection closes.
 */
export function observe(app: FastifyInstance, { metrics, ...observers }: Observers): void {
  const { config, log } = observers
  const writeLine = openAccessLog(log)
  const settings: Settings = {
    ...observers,
    fields: new Set(config.log.fields),
    isExcluded: compilePaths(config.log.exclude),
  }

  function record({ line, series, route, kind, trace, isExcluded }: RequestRecord): void {
    const { id, verdict, status } = line
    metrics.countRequest(series, kind, verdict, status)
    if (!isExcluded) writeLine(line)
    trace?.end({ id, route, kind, verdict, status })
  }

  function recordWhenClosed(socket: Tunnel, finished: RequestRecord): void {
    const since = performance.now()
    const { line } = finished
    const { bytesWritten } = socket
    socket.once('close', () => {
      const ms = tenths(line.ms + performance.now() - since)
      const bytes = line.bytes === undefined ? undefined : socket.bytesWritten - bytesWritten
      record({ ...finished, line: { ...line, ms, bytes } })
    })
  }

  app.addHook('onRequest', (request, reply, done) => {
    const arrivedAt = performance.now()
    const { raw } = reply
    let recorded = false
    request.log = log
    reply.log = log
    const onEnd = (): void => {
      // The response to an upgrade emits `close` again when its connection closes.
      if (recorded) return
      recorded = true
      const finished = recordOf(request, reply, performance.now() - arrivedAt, settings)
      const tunnel = finished.line.status === 101 ? upgradeOf(request.raw) : null
      if (tunnel === null) record(finished)
      else recordWhenClosed(tunnel.socket, finished)
    }
    raw.on('error', ignore)
    // The client of a pipelined request has disconnected before the gateway began to handle the request.
    if (raw.destroyed) process.nextTick(onEnd)
    else raw.on('close', onEnd)
    done()
  })
}

/**
 * A write after the end of a response emits `error`, which would end the process without a listener. The listener has
 * nothing to do, because `close` follows.
 */
function ignore(): void {}

function recordOf(request: FastifyRequest, reply: FastifyReply, ms: number, settings: Settings): RequestRecord {
  const { context } = request
  const { config, isExcluded } = settings
  const trace = context?.trace ?? null
  return {
    line: accessLine(request, reply, ms, settings),
    series: context?.route?.series ?? '-',
    route: trace === null ? null : (context?.route?.path ?? ownRoute(request, config)),
    kind: context?.kind ?? classify(request.method, request.headers, config.scripts),
    trace,
    isExcluded: context !== null && isExcluded((context.original ?? context.facts).path),
  }
}

function accessLine(
  request: FastifyRequest,
  reply: FastifyReply,
  ms: number,
  { fields, log, tracing }: Settings,
): AccessLine {
  const { context, headers, raw } = request
  const { raw: response } = reply
  const { traceparent } = headers
  const isComplete = response.writableFinished || response.statusCode === 101
  const rejection = isComplete ? null : rejectionOf(raw)
  // A response that waits for an earlier one has no connection.
  const hasBegun = isComplete || (response.headersSent && response.socket !== null)
  const { session, user, client_id: clientId } = identityOf(context, log)
  const original = context?.original ?? null
  return {
    id: request.id,
    method: request.method,
    host: context === null ? '-' : hostOf((original ?? context.facts).origin),
    path: context === null ? '-' : printable(context.facts.path),
    status: rejection?.status ?? (hasBegun ? response.statusCode : CLIENT_CLOSED_REQUEST),
    // A request without a context was refused before the gate.
    verdict: rejection?.verdict ?? context?.verdict ?? String(reply.getHeader('gatehouse') ?? 'refused'),
    aborted: rejection?.aborted ?? !isComplete,
    session,
    user,
    clientId,
    original: original === null ? undefined : { method: original.method, path: printable(original.path) },
    bytes: fields.has('bytes') ? bytesOf(request, reply) : undefined,
    userAgent: fields.has('user_agent') ? userAgentOf(headers) : undefined,
    referer: fields.has('referer') ? refererOf(headers) : undefined,
    provider: context?.session?.provider,
    cause: rejection?.cause,
    route: context?.route?.label ?? '-',
    ms: tenths(ms),
    client: context?.facts.client.address ?? (peerOf(raw.socket) || '-'),
    traceId: tracing !== null || traceparent !== undefined ? (context?.trace?.traceId ?? traceIdOf(traceparent)) : null,
  }
}

/** Returns how many bytes of the response body were written, of the application's response or of the gateway's own. */
function bytesOf({ context, method }: FastifyRequest, reply: FastifyReply): number {
  if (method === 'HEAD') return 0
  const passed = context?.bytes ?? 0
  return passed > 0 ? passed : Number(reply.getHeader('content-length') ?? 0)
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}

/** Returns the path of a gateway URL, or `null`. Such paths are few, so they are safe as names of spans. */
function ownRoute(request: FastifyRequest, { basePath }: Pick<Config, 'basePath'>): string | null {
  const { url } = request.routeOptions
  return url?.startsWith(`${basePath}/`) === true ? url : null
}
