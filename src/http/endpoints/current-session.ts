import type { FastifyReply, FastifyRequest } from 'fastify'
import { challenge } from '../../gate/challenge.ts'
import type { Denial } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import { noteDenial } from '../answers/denial-log.ts'
import { kindOf } from '../answers/send.ts'
import { contextOf } from '../context.ts'
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
  const { ticket } = contextOf(request).facts
  refuse(
    services,
    request,
    reply,
    ticket === null
      ? { reason: 'login-required' }
      : { reason: 'session-expired', clearCookie: !services.sessions.wasFollowed(ticket.id) },
  )
  return null
}

/**
 * Answers who has no session (any more). These URLs answer scripts: a redirect would tell them nothing. Who opens one as a
 * page gets the 401 that a frame gets.
 */
export function refuse(
  { config, answers }: Pick<Services, 'config' | 'answers'>,
  request: FastifyRequest,
  reply: FastifyReply,
  denial: Denial,
): FastifyReply {
  const kind = kindOf(request, config) === 'navigation' ? 'frame' : 'script'
  return answers.send(request, reply, challenge(denial, kind, contextOf(request).facts, null, config))
}

/**
 * Refuses what a page of another site wants of an endpoint, with a line in the log; `detail` in place of the usual
 * words.
 */
export function refuseCrossOrigin(
  { answers, config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  detail?: string,
): FastifyReply {
  const denial = { reason: 'cross-origin' } as const
  noteDenial(request, denial, undefined)
  const answer = challenge(denial, 'script', contextOf(request).facts, null, config)
  return answers.send(request, reply, detail === undefined ? answer : { ...answer, detail })
}
