import type { FastifyReply, FastifyRequest } from 'fastify'
import { challenge } from '../../gate/challenge.ts'
import type { Session } from '../../session/session.ts'
import { contextOf } from '../context.ts'
import { kindOf } from '../failures.ts'
import type { Services } from './endpoint.ts'

/** The living session of a request's cookie, or `null`. Rejects with `store_unavailable`. */
export async function findSession(
  { sessions }: Pick<Services, 'sessions'>,
  request: FastifyRequest,
): Promise<Session | null> {
  const { facts, now } = contextOf(request)
  return facts.ticket === null ? null : sessions.load(facts.ticket, now)
}

/** The living session, or `null` after the request has been answered with a 401 that says why there is none. */
export async function requireSession(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Session | null> {
  const session = await findSession(services, request)
  if (session !== null) return session
  const { facts } = contextOf(request)
  const denial =
    facts.ticket === null
      ? ({ reason: 'login-required' } as const)
      : ({ reason: 'session-expired', clearCookie: !services.sessions.wasFollowed(facts.ticket.id) } as const)
  const { basePath, scripts } = services.config
  // These answer scripts: a redirect would tell them nothing.
  const answer = challenge(
    denial,
    kindOf(request, services.config) === 'navigation' ? 'frame' : 'script',
    facts,
    null,
    { basePath, message: scripts.message },
  )
  services.answers.send(request, reply, answer)
  return null
}
