import type { FastifyReply, FastifyRequest } from 'fastify'
import { challenge } from '../../gate/challenge.ts'
import type { LoginDenial } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import { kindOf } from '../answers/send.ts'
import { contextOf } from '../context.ts'
import type { Services } from './endpoint.ts'

/** Returns the session of a request's cookie, or `null`. Rejects with `store_unavailable`. */
export async function findSession(
  { sessions }: Pick<Services, 'sessions'>,
  request: FastifyRequest,
): Promise<Session | null> {
  const context = contextOf(request)
  const { facts, now } = context
  const session = facts.ticket === null ? null : await sessions.load(facts.ticket, now)
  context.session = session
  return session
}

/**
 * Returns the session of a request's cookie. Without one, answers 401 and returns `null`. Rejects with
 * `store_unavailable`.
 */
export async function requireSession(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Session | null> {
  const session = await findSession(services, request)
  if (session !== null) return session
  const { ticket } = contextOf(request).facts
  demandLogin(
    services,
    request,
    reply,
    ticket === null
      ? { reason: 'login-required' }
      : { reason: 'session-expired', clearCookie: !services.sessions.hasSuccessor(ticket.id) },
  )
  return null
}

/**
 * Answers 401, even to a navigation, because the endpoints that call this function are for scripts, which cannot use a
 * redirect to the login.
 */
export function demandLogin(
  { config, answers }: Pick<Services, 'config' | 'answers'>,
  request: FastifyRequest,
  reply: FastifyReply,
  denial: LoginDenial,
): FastifyReply {
  const kind = kindOf(request, config) === 'navigation' ? 'frame' : 'script'
  return answers.send(request, reply, challenge(denial, kind, contextOf(request).facts, null, config))
}
