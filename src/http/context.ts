import type { FastifyRequest } from 'fastify'
import type { CompiledRoute, Facts, RequestKind } from '../gate/verdict.ts'
import type { Session } from '../session/session.ts'
import type { RequestTrace } from '../telemetry/tracing.ts'

/** What the gateway knows about a request while it walks through. */
export interface Context {
  /** When it arrived, ms since the epoch. */
  readonly now: number
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
