import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { challenge, type Answer } from '../../gate/challenge.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { RouteTable } from '../../gate/match.ts'
import { isBasicAlone, type Gate } from '../../gate/pipeline.ts'
import type { Facts, RequestKind, Verdict } from '../../gate/verdict.ts'
import type { Sessions } from '../../session/sessions.ts'
import { noteDenial } from '../answers/denial-log.ts'
import type { Answers } from '../answers/send.ts'
import { contextOf } from '../context.ts'
import { type Cookies, remedyForTwo } from '../cookies/cookies.ts'
import type { Limits } from '../rate-limit.ts'
import { describedBy, questionOf, type Question } from './described-request.ts'

/** What forward-auth works with. */
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
 * Registers forward-auth on the listener that only the proxy reaches: verdicts on the requests that it asks about. It
 * answers before a body has come, which is not looked at; every other address is not found.
 */
export function registerForwardAuth(app: FastifyInstance, services: ForwardAuthServices, limits: Limits): void {
  for (const hook of limits.requests) app.addHook('onRequest', hook)
  app.addHook('onRequest', async (request, reply) => answer(services, request, reply))
  app.all('*', () => {
    throw new Error('a request came past forward-auth')
  })
}

async function answer(
  services: ForwardAuthServices,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { config, gate, headers, routes, sessions } = services
  const context = contextOf(request)
  const question = questionOf(context.facts, config.basePath)
  if (question === null) throw new Fault('not_found')
  const facts = describedBy(question, context.facts, config.publicUrl, routes)
  const forged = headers.forged(facts)
  if (forged !== null) {
    throw new Fault('bad_request', { cause: new Error(`the application could take ${forged} for another header`) })
  }
  const verdict = await gate(facts, context.now)
  context.route = verdict.route
  if (verdict.type === 'deny') return refuse(services, verdict, facts, question, request, reply)
  if (verdict.session !== null) sessions.touch(verdict.session, context.now)
  context.verdict = 'allow'
  const own = headers.identity(verdict.route, verdict.who, verdict.accessToken)
  for (let i = 0; i + 1 < own.length; i += 2) reply.header(own[i] ?? '', own[i + 1] ?? '')
  // The client's own goes on as it would here: a proxy that takes the header from this answer would drop it else.
  const passes =
    verdict.session === null && (verdict.who !== null || verdict.route.bearer === null || isBasicAlone(facts))
  const theirs = passes ? facts.headers.authorization : undefined
  if (theirs !== undefined && !reply.hasHeader('authorization')) reply.header('authorization', theirs)
  return reply.header('cache-control', 'no-store').code(200).send()
}

function refuse(
  { config, answers, cookies }: ForwardAuthServices,
  { denial, kind, route }: Extract<Verdict, { type: 'deny' }>,
  facts: Facts,
  question: Question,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const context = contextOf(request)
  context.kind = kind
  noteDenial(request, denial, route?.label)
  const said = challenge(denial, kind, facts, route, config)
  if (redirectsProxy(question, kind, said)) {
    const two = remedyForTwo(cookies, facts)
    if (two === null) return answers.send(request, reply, said)
    return answers.send(request, reply.header('set-cookie', two.setCookie), two.answer ?? said)
  }
  const { location, ...answer } = said
  const status = statusForProxy(answer.status)
  return answers.send(request, reply, {
    ...answer,
    status,
    ...(location === undefined ? {} : { loginUrl: location }),
    ...(status === 401 && answer.authenticate === undefined ? { authenticate: 'Bearer' } : {}),
  })
}

/** Whether a proxy's answer is the redirect to the login. */
export function redirectsProxy({ redirect }: Question, kind: RequestKind, { location }: Answer): boolean {
  return redirect && kind === 'navigation' && location !== undefined
}

/** What a proxy is told where the request itself would get `status`: proxies know 401, 403 and errors. */
export function statusForProxy(status: number): number {
  if (status === 302) return 401
  return status < 500 && status !== 401 ? 403 : status
}
