import { METHODS } from 'node:http'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { challenge } from '../gate/challenge.ts'
import type { Gate } from '../gate/pipeline.ts'
import type { Verdict } from '../gate/verdict.ts'
import { contextOf } from './context.ts'
import { noteDenial } from './answers/denial-log.ts'
import { keepForm, keepsForm } from './answers/kept-form.ts'
import type { Limits } from './rate-limit.ts'
import type { ExchangeServices } from './proxy/exchange.ts'
import { forward } from './proxy/forward.ts'
import { remedyForTwo } from './cookies/cookies.ts'

/** What requests to the application walk through. */
export interface GateServices extends ExchangeServices {
  readonly gate: Gate
}

/**
 * Registers the catch-all: every request is decided, then answered or passed on. The decision and the transfer come in
 * onRequest, because what follows in Fastify would look into bodies and content types that are the application's.
 */
export async function registerGate(app: FastifyInstance, services: GateServices, limits: Limits): Promise<void> {
  for (const hook of limits.requests) app.addHook('onRequest', hook)
  app.addHook('onRequest', (request, reply) => {
    const { facts, now } = contextOf(request)
    const verdict = services.gate(facts, now)
    // No promise where nothing has to be waited for: this is on the way of every request.
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
      throw new Error('a request came past the gate')
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
  else await refuse(services, verdict, request, reply)
}

async function refuse(
  { answers, config, cookies }: GateServices,
  { denial, kind, route }: Extract<Verdict, { type: 'deny' }>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const context = contextOf(request)
  context.route = route
  context.kind = kind
  noteDenial(request, denial, route?.label)
  const answer = challenge(denial, kind, context.facts, route, config)
  const two = answer.status === 302 ? remedyForTwo(cookies, context.facts) : null
  if (two !== null) {
    answers.send(request, reply.header('set-cookie', two.setCookie), two.answer ?? answer)
  } else if ((kind === 'form' || kind === 'frame') && answer.loginUrl !== undefined && keepsForm(request, route)) {
    await keepForm(request, reply, answer, config, cookies)
  } else {
    answers.send(request, reply, answer)
  }
}
