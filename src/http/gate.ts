import { METHODS } from 'node:http'
import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { causes, faults, type Fault } from '../errors.ts'
import { challenge, loginUrlFor } from '../gate/challenge.ts'
import type { UpstreamHeaders } from '../gate/headers.ts'
import type { Gate } from '../gate/pipeline.ts'
import type { Verdict } from '../gate/verdict.ts'
import type { Sessions } from '../session/sessions.ts'
import { contextOf } from './context.ts'
import type { Cookies } from './cookies.ts'
import { answerFor, kindOf, type Answers } from './failures.ts'
import { keepForm, keepsForm } from './kept-form.ts'
import type { Limits } from './limits.ts'
import type { LoginRedirects } from './proxy/login-redirect.ts'
import type { Streams } from './proxy/streams.ts'
import { transfer, type Transfer } from './proxy/transfer.ts'
import { transferUpgrade } from './proxy/upgrade.ts'
import type { Upstreams } from './proxy/upstreams.ts'
import { upgradeOf } from './upgrades.ts'

/** What requests to the application walk through. */
export interface GateServices {
  readonly config: Config
  readonly gate: Gate
  readonly headers: UpstreamHeaders
  readonly upstreams: Upstreams
  readonly loginRedirects: LoginRedirects
  readonly sessions: Sessions
  readonly cookies: Cookies
  readonly answers: Answers
  readonly streams: Streams
}

/** Codes of our own begin at 4000; 4401 reads as 401. */
const WEBSOCKET_SESSION_ENDED = 4401
/** RFC 6455, section 7.4.1. */
const WEBSOCKET_GOING_AWAY = 1001

type Forward = Extract<Verdict, { type: 'forward' }>

/**
 * Registers the catch-all: every request is decided, then answered or passed on. The decision and the transfer come in
 * onRequest, because what follows in Fastify would look into bodies and content types that are the application's.
 */
export async function registerGate(app: FastifyInstance, services: GateServices, limits: Limits): Promise<void> {
  const { gate, answers, config, upstreams, cookies } = services
  for (const hook of limits.requests) app.addHook('onRequest', hook)
  app.addHook('onRequest', async (request, reply) => {
    const context = contextOf(request)
    const verdict = await gate(context.facts, context.now)
    context.route = verdict.route
    if (verdict.type === 'forward') return forward(services, verdict, request, reply)
    const { denial, kind, route } = verdict
    context.kind = kind
    if (denial.reason === 'forbidden') {
      request.log.info({ event: 'forbidden', id: request.id, route: route?.label, why: denial.why }, 'a session lacks a claim')
    }
    const answer = challenge(denial, kind, context.facts, route, { basePath: config.basePath, message: config.scripts.message })
    if ((kind === 'form' || kind === 'frame') && answer.loginUrl !== undefined && keepsForm(request, route)) return keepForm(request, reply, answer, config, cookies)
    return answers.send(request, reply, answer)
  })
  await app.register(httpProxy, {
    upstream: config.routes[0]?.upstream?.origin ?? '',
    routes: ['/', '/*'],
    httpMethods: METHODS.filter((method) => method !== 'CONNECT'),
    handler: () => { throw new Error('a request came past the gate') },
  })
  app.addHook('onClose', () => upstreams.close())
}

function forward(services: GateServices, verdict: Forward, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { sessions, headers, upstreams, cookies, loginRedirects, config, answers, streams } = services
  const { route, session, who, accessToken } = verdict
  const context = contextOf(request)
  const { facts } = context
  if (session !== null) sessions.touch(session, context.now)
  context.session = session
  context.verdict = 'forward'
  reply.hijack()
  const job: Transfer = {
    pool: upstreams.poolFor(route),
    route, facts, isOwnCookie: cookies.isOwn,
    headers: headers.build(facts, route, who, accessToken),
    request: request.raw, response: reply.raw,
    intercept(status, location) {
      if (!loginRedirects.matches(route, status, location) || kindOf(request, config) !== 'script') return false
      answers.send(request, reply, {
        status: 401, code: 'upstream_login_required', title: 'Login required', detail: 'The application asks for a sign-in of its own.',
        authenticate: 'Bearer', loginUrl: loginUrlFor(facts, 'script', config.basePath),
      })
      return true
    },
    fail(fault: Fault) {
      request.log[faults[fault.code].level]({ event: fault.code, id: request.id, route: route.label, cause: causes(fault.cause) }, fault.message)
      answers.send(request, reply, answerFor(fault))
    },
    onEventStream: (end) => streams.add(session, { kind: 'event-stream', close: end }),
  }
  const upgrade = upgradeOf(request.raw)
  if (upgrade === null || kindOf(request, config) !== 'websocket') transfer(job)
  else {
    transferUpgrade({
      ...job, upgrade,
      // A message is the user's doing; what the browser answers to pings is not.
      onMessage() {
        if (session !== null) sessions.touch(streams.ownerOf(session), Date.now())
      },
      onSwitched(close) {
        const openedAt = Date.now()
        const forget = streams.add(session, {
          kind: 'websocket', close: (reason) => { close(reason === 'session-ended' ? WEBSOCKET_SESSION_ENDED : WEBSOCKET_GOING_AWAY) },
        })
        request.log.info({ event: 'websocket_open', id: request.id, path: facts.path, route: route.label, client: facts.client.address })
        return () => {
          forget()
          request.log.info({ event: 'websocket_closed', id: request.id, route: route.label, ms: Date.now() - openedAt })
        }
      },
    })
  }
  return reply
}
