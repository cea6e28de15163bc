import { METHODS } from 'node:http'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance } from 'fastify'
import { challenge } from '../gate/challenge.ts'
import type { Gate } from '../gate/pipeline.ts'
import { contextOf } from './context.ts'
import { noteDenial } from './denials.ts'
import { keepForm, keepsForm } from './kept-form.ts'
import type { Limits } from './limits.ts'
import { forward, type ForwardServices } from './proxy/forward.ts'
import { remedyForTwo } from './two-sessions.ts'

/** What requests to the application walk through. */
export interface GateServices extends ForwardServices {
  readonly gate: Gate
}

/**
 * Registers the catch-all: every request is decided, then answered or passed on. The decision and the transfer come in
 * onRequest, because what follows in Fastify would look into bodies and content types that are the application's.
 */
export async function registerGate(app: FastifyInstance, services: GateServices, limits: Limits): Promise<void> {
  const { gate, answers, config, cookies } = services
  for (const hook of limits.requests) app.addHook('onRequest', hook)
  app.addHook('onRequest', async (request, reply) => {
    const context = contextOf(request)
    const verdict = await gate(context.facts, context.now)
    context.route = verdict.route
    if (verdict.type === 'forward') return forward(services, verdict, request, reply)
    const { denial, kind, route } = verdict
    context.kind = kind
    noteDenial(request, denial, route?.label)
    const answer = challenge(denial, kind, context.facts, route, config)
    const two = answer.status === 302 ? remedyForTwo(cookies, context.facts) : null
    if (two !== null) return answers.send(request, reply.header('set-cookie', two.setCookie), two.answer ?? answer)
    if ((kind === 'form' || kind === 'frame') && answer.loginUrl !== undefined && keepsForm(request, route))
      return keepForm(request, reply, answer, config, cookies)
    return answers.send(request, reply, answer)
  })
  await app.register(httpProxy, {
    upstream: config.routes[0]?.upstream?.origin ?? '',
    routes: ['/', '/*'],
    httpMethods: METHODS.filter((method) => method !== 'CONNECT'),
    handler: () => {
      throw new Error('a request came past the gate')
    },
  })
}
