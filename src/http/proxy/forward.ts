import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Verdict } from '../../gate/verdict.ts'
import { contextOf } from '../context.ts'
import { Exchange, type ExchangeServices } from './exchange.ts'

/** Forwards a request to its upstream, as HTTP or as a WebSocket. */
export function forward(
  services: ExchangeServices,
  verdict: Extract<Verdict, { type: 'forward' }>,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const { session, route } = verdict
  const context = contextOf(request)
  context.route = route
  if (session !== null) services.sessions.touch(session, context.now)
  context.session = session
  context.verdict = 'forward'
  reply.hijack()
  new Exchange(services, verdict, request, reply).send()
}
