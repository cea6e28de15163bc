import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { challenge, type Answer } from '../../gate/challenge.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { RouteTable } from '../../gate/match.ts'
import { isBasicAlone, type Gate } from '../../gate/pipeline.ts'
import type { Facts, RequestKind, Verdict } from '../../gate/verdict.ts'
import type { Sessions } from '../../session/sessions.ts'
import { logDenial } from '../answers/denial-log.ts'
import type { Answers } from '../answers/send.ts'
import { contextOf } from '../context.ts'
import { clearTwoSessions, type Cookies } from '../cookies/cookies.ts'
import type { Limits } from '../rate-limit.ts'
import { describedBy, questionOf, type Question } from './described-request.ts'

/** What forward-auth depends on. */
export interface ForwardAuthServices {
  readonly config: Config
  readonly gate: Gate
  readonly headers: Pick<UpstreamHeaders, 'identity' | 'forged'>
  readonly routes: RouteTable
  readonly sessions: Pick<Sessions, 'touch'>
  readonly cookies: Cookies
  readonly answers: Answers
}

/**
 * Registers forward-auth on its own listener, which only the proxy can reach. It answers before a body has arrived, and
 * ignores the body. Other URLs are not found.
 */
export function registerForwardAuth(app: FastifyInstance, services: ForwardAuthServices, limits: Limits): void {
  for (const hook of limits.requests) app.addHook('onRequest', hook)
  app.addHook('onRequest', async (request, reply) => answer(services, request, reply))
  app.all('*', () => {
    throw new Error('a request bypassed forward-auth')
  })
}

async function answer(
  services: ForwardAuthServices,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { answers, config, gate, headers, routes, sessions } = services
  const context = contextOf(request)
  const question = questionOf(context.facts, config.basePath)
  if (question === null) return answers.deny(request, reply, { reason: 'no-route' })
  const facts = describedBy(question, context.facts, config.publicUrl, routes)
  if ('reason' in facts) return answers.deny(request, reply, facts)
  const forged = headers.forged(facts)
  if (forged !== null) {
    const cause = `the application could take ${forged} for another header`
    return answers.deny(request, reply, { reason: 'malformed', cause })
  }
  const verdict = await gate(facts, context.now)
  context.route = verdict.route
  if (verdict.type === 'deny') return deny(services, verdict, facts, question, request, reply)
  if (verdict.session !== null) sessions.touch(verdict.session, context.now)
  context.verdict = 'allow'
  const own = headers.identity(verdict.route, verdict.who, verdict.accessToken)
  for (let i = 0; i + 1 < own.length; i += 2) reply.header(own[i] ?? '', own[i + 1] ?? '')
  // A proxy that copies Authorization from this answer would otherwise drop the client's own, which passes on this
  // route.
  const passes =
    verdict.session === null && (verdict.who !== null || verdict.route.bearer === null || isBasicAlone(facts))
  const theirs = passes ? facts.headers.authorization : undefined
  if (theirs !== undefined && !reply.hasHeader('authorization')) reply.header('authorization', theirs)
  return reply.header('cache-control', 'no-store').code(200).send()
}

function deny(
  { config, answers, cookies }: ForwardAuthServices,
  { denial, kind, route }: Extract<Verdict, { type: 'deny' }>,
  facts: Facts,
  question: Question,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const context = contextOf(request)
  context.kind = kind
  logDenial(request, denial, route?.label)
  const direct = challenge(denial, kind, facts, route, config)
  if (redirectsProxy(question, kind, direct)) {
    const two = clearTwoSessions(cookies, facts, reply)
    return two === null ? answers.send(request, reply, direct) : answers.deny(request, reply, two)
  }
  const { location, ...answer } = direct
  const status = statusForProxy(answer.status)
  return answers.send(request, reply, {
    ...answer,
    status,
    ...(location === undefined ? {} : { loginUrl: location }),
    ...(status === 401 && answer.authenticate === undefined ? { authenticate: 'Bearer' } : {}),
  })
}

/** Returns whether the proxy's answer is the redirect to the login itself. */
export function redirectsProxy({ redirect }: Question, kind: RequestKind, { location }: Answer): boolean {
  return redirect && kind === 'navigation' && location !== undefined
}

/** Returns the status for a proxy in place of the request's own: proxies know 401, 403 and server errors. */
export function statusForProxy(status: number): number {
  if (status === 302) return 401
  return status < 500 && status !== 401 ? 403 : status
}
