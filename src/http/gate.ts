import { METHODS } from 'node:http'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { challenge } from '../gate/challenge.ts'
import { preflightHeaders } from '../gate/cors.ts'
import type { Gate } from '../gate/pipeline.ts'
import type { CompiledRoute, Verdict } from '../gate/verdict.ts'
import { logDenial, logLongTarget } from './answers/denial-log.ts'
import { keepForm, mayKeepForm } from './answers/kept-form.ts'
import { contextOf } from './context.ts'
import { clearTwoSessions } from './cookies/cookies.ts'
import { type ExchangeServices, Exchange } from './proxy/exchange.ts'
import type { Limits } from './rate-limit.ts'

export interface GateServices extends ExchangeServices {
  readonly gate: Gate
}

/**
 * Registers the catch-all route. The onRequest hook lets the gate decide on a request, and then answers or forwards the
 * request, because Fastify would read the body and check its content type after that hook.
 */
export async function registerGate(app: FastifyInstance, services: GateServices, limits: Limits): Promise<void> {
  for (const hook of limits.requests) app.addHook('onRequest', hook)
  app.addHook('onRequest', (request, reply) => {
    const { facts, now } = contextOf(request)
    const verdict = services.gate(facts, now)
    if (!(verdict instanceof Promise) && verdict.type === 'forward') forward(services, verdict, request, reply)
    else
      answerLater(services, verdict, request, reply).catch((error: unknown) => {
        void reply.send(error)
      })
  })
  await app.register(httpProxy, {
    upstream: services.config.routes[0]?.upstream?.origin ?? '',
    routes: ['/', '/*'],
    httpMethods: METHODS.filter((method) => method !== 'CONNECT'),
    handler: () => {
      throw new Error('a request bypassed the gate')
    },
  })
}

async function answerLater(
  services: GateServices,
  pending: Verdict | Promise<Verdict>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const verdict = await pending
  if (verdict.type === 'forward') forward(services, verdict, request, reply)
  else if (verdict.type === 'preflight') answerPreflight(verdict.route, request, reply)
  else await deny(services, verdict, request, reply)
}

function answerPreflight(route: CompiledRoute, request: FastifyRequest, reply: FastifyReply): void {
  const context = contextOf(request)
  context.route = route
  context.verdict = 'preflight'
  void reply.code(204).headers(preflightHeaders(context.facts)).send()
}

async function deny(
  { answers, config, cookies }: GateServices,
  { denial, kind, route, session, who, dpopNonce }: Extract<Verdict, { type: 'deny' }>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const context = contextOf(request)
  context.route = route
  context.kind = kind
  context.session = session
  context.who = who ?? null
  logDenial(request, denial, route?.label)
  if (dpopNonce !== undefined) reply.header('dpop-nonce', dpopNonce)
  const answer = challenge(denial, kind, context.facts, route, config)
  if (answer.location !== undefined) logLongTarget(request, context.facts.path.length + context.facts.query.length)
  const two = answer.location === undefined ? null : clearTwoSessions(cookies, context.facts, reply)
  if (two !== null) {
    answers.deny(request, reply, two)
  } else if (
    (kind === 'form' || kind === 'frame') &&
    answer.loginUrl !== undefined &&
    mayKeepForm(context.facts, route)
  ) {
    await keepForm(request, reply, answer, config, cookies)
  } else {
    answers.send(request, reply, answer)
  }
}

function forward(
  services: ExchangeServices,
  verdict: Extract<Verdict, { type: 'forward' }>,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const { session, route, who } = verdict
  const context = contextOf(request)
  context.route = route
  if (session !== null) services.sessions.touch(session, context.now)
  context.session = session
  context.who = who
  context.verdict = 'forward'
  reply.hijack()
  new Exchange(services, verdict, request, reply).send()
}
