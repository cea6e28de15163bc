import { performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Fault } from '../errors.ts'
import type { CompiledRoute, Facts, RequestKind } from '../gate/verdict.ts'
import type { Session } from '../session/session.ts'
import type { RequestTrace, Tracing } from '../telemetry/tracing.ts'
import type { FactReader } from './facts.ts'
import { isLastOnConnection } from './server/last-on-connection.ts'
import { lingeringClose, hasBody } from './server/lingering-close.ts'

/** What the gateway knows about a request while it walks through. */
export interface Context {
  /** When it arrived, ms since the epoch. */
  readonly now: number
  /** The same moment in ms of `performance.now()`, for durations. */
  readonly arrivedAt: number
  readonly facts: Facts
  /** Worked out when somebody has to be told no. */
  kind: RequestKind | null
  /** The route that it goes through, once that is decided. */
  route: CompiledRoute | null
  session: Session | null
  /** What became of it, for the log and the metrics: `forward`, or the code of the answer. */
  verdict: string
  /** How long it has waited for its upstream, ms. */
  waited: number
  /** Its place in a trace; `null` without tracing. */
  readonly trace: RequestTrace | null
}

declare module 'fastify' {
  interface FastifyRequest {
    context: Context | null
  }
}

/** The context of a request that has come through the first hook; throws for one that has not. */
export function contextOf(request: FastifyRequest): Context {
  if (request.context === null) throw new Error('the request has no context yet')
  return request.context
}

/** Gives each request its context before anything else happens to it; refuses the methods that never pass,
 * and leaves out what else would be done for a client that has gone. */
export function giveContext(app: FastifyInstance, facts: FactReader, tracing: Tracing | null): void {
  app.decorateRequest('context', null)
  app.addHook('onRequest', (request, reply, done) => {
    if (hasBody(request.raw)) lingeringClose(request.raw)
    if (isLastOnConnection(request.raw)) reply.raw.shouldKeepAlive = false
    const read = facts.read(request.raw)
    const trace = tracing === null ? null : tracing.begin(read.method, read.headers)
    request.context = {
      now: Date.now(),
      arrivedAt: performance.now(),
      facts: read,
      kind: null,
      route: null,
      session: null,
      verdict: 'none',
      waited: 0,
      trace,
    }
    if (reply.raw.destroyed) {
      reply.hijack()
      return
    }
    if (read.method === 'TRACE' || read.method === 'TRACK') throw new Fault('method_not_allowed')
    if (trace === null) done()
    else trace.within(done)
  })
}
