import { performance } from 'node:perf_hooks'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { CompiledRoute, Facts, RequestKind, Who } from '../gate/verdict.ts'
import type { Session } from '../session/session.ts'
import type { RequestTrace, Tracing } from '../telemetry/tracing.ts'
import type { Answers } from './answers/send.ts'
import type { FactReader } from './facts.ts'
import { takeGivenId } from './request-id.ts'
import { isLastOnConnection, hasBody } from './server/framing.ts'
import { lingeringClose } from './server/lingering-close.ts'

export interface Context {
  /** The time at which the request arrived, in ms since the epoch. */
  readonly now: number
  /** The same time in ms of `performance.now()`, for durations. */
  readonly arrivedAt: number
  readonly facts: Facts
  /** Set if the gateway answers the request itself. */
  kind: RequestKind | null
  route: CompiledRoute | null
  /** The session, if the gateway has looked it up, whether the request passes or not. */
  session: Session | null
  /** Who sends the request: the session, or the client whose own token has been verified. */
  who: Who | null
  /** The original request, which a forward-auth proxy has asked about. */
  original: Facts | null
  /** The bytes of the application's response body, or of the gateway's own if it answers in place of the application. */
  bytes: number
  /** The result for the log and the metrics: `forward` or the code of the response. */
  verdict: string
  /** The time spent waiting for the upstream, in ms. */
  waited: number
  /** The request's span, or `null` without tracing. */
  readonly trace: RequestTrace | null
}

const REQUEST_ID = 'x-request-id'

declare module 'fastify' {
  interface FastifyRequest {
    context: Context | null
  }
}

/** Returns the context of a request. Throws if the first hook has not set it. */
export function contextOf(request: FastifyRequest): Context {
  if (request.context === null) throw new Error('the request has no context yet')
  return request.context
}

/**
 * Registers the hook that gives each request its context and the id that a trusted proxy has sent. It denies malformed
 * requests and methods that are never allowed, and drops requests whose client has disconnected. Adds the id to the
 * gateway's own responses.
 */
export function giveContext(app: FastifyInstance, reader: FactReader, answers: Answers, tracing: Tracing | null): void {
  app.decorateRequest('context', null)
  app.addHook('onRequest', (request, reply, done) => {
    if (hasBody(request.raw)) lingeringClose(request.raw)
    if (isLastOnConnection(request.raw)) reply.raw.shouldKeepAlive = false
    const trusted = reader.trusts(request.raw)
    if (trusted) request.id = takeGivenId(request.raw)
    const facts = reader.read(request.raw, trusted)
    if ('reason' in facts) {
      answers.deny(request, reply, facts)
      return
    }
    const trace = tracing === null ? null : tracing.begin(facts.method, facts.headers)
    request.context = {
      now: Date.now(),
      arrivedAt: performance.now(),
      facts,
      kind: null,
      route: null,
      session: null,
      who: null,
      original: null,
      bytes: 0,
      verdict: 'none',
      waited: 0,
      trace,
    }
    if (reply.raw.destroyed) {
      reply.hijack()
      return
    }
    if (facts.method === 'TRACE' || facts.method === 'TRACK')
      answers.deny(request, reply, { reason: 'method-not-allowed', allow: null })
    else if (trace === null) done()
    else trace.within(done)
  })
  app.addHook('onSend', (request, reply, _body, done) => {
    // A forward-auth response already has the header if the route sets it.
    if (!reply.hasHeader(REQUEST_ID)) reply.header(REQUEST_ID, request.id)
    done()
  })
}
