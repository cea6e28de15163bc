import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { Fault, causes, faults } from '../../errors.ts'
import { admit, denyWithoutToken } from '../../gate/admit.ts'
import { challenge } from '../../gate/challenge.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { CompiledRoute, Verdict } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import type { Sessions } from '../../session/sessions.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { RequestTrace } from '../../telemetry/tracing.ts'
import type { Acquired, Tokens } from '../../token/acquire.ts'
import { kindOf, type Answers, answerFor } from '../answers/send.ts'
import { contextOf } from '../context.ts'
import type { Cookies } from '../cookies/cookies.ts'
import { upgradeOf } from '../server/upgrade.ts'
import { dispatcherFor, hasConnectionLogin, hasOwnConnections } from './connection-bound.ts'
import { type Transfer, type UpstreamAnswer, transfer } from './exchange.ts'
import { intercept, type LoginRedirects } from './intercept.ts'
import type { Streams } from './open-streams.ts'
import type { Upstreams } from './upstreams.ts'
import { transferUpgrade } from './websocket.ts'

/** What a request that may pass meets on its way. */
export interface ForwardServices {
  readonly config: Config
  readonly headers: UpstreamHeaders
  readonly upstreams: Upstreams
  readonly loginRedirects: LoginRedirects
  readonly sessions: Sessions
  readonly tokens: Pick<Tokens, 'renew'>
  readonly cookies: Cookies
  readonly answers: Answers
  readonly streams: Streams
  readonly metrics: Pick<Metrics, 'upstreamSeconds' | 'addedSeconds'>
}

/** Codes of our own begin at 4000; 4401 reads as 401. */
const WEBSOCKET_SESSION_ENDED = 4401
/** RFC 6455, section 7.4.1. */
const WEBSOCKET_GOING_AWAY = 1001

type Forward = Extract<Verdict, { type: 'forward' }>

/** Passes a request on to its upstream, over whatever protocol it asks for. */
export function forward(
  services: ForwardServices,
  verdict: Forward,
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
  send(services, verdict, request, reply, true)
}

function send(
  services: ForwardServices,
  verdict: Forward,
  request: FastifyRequest,
  reply: FastifyReply,
  mayRenew: boolean,
): void {
  const passage = new ProxiedRequest(services, verdict, request, reply, mayRenew)
  const upgrade = upgradeOf(request.raw)
  if (upgrade === null) transfer(passage)
  else transferUpgrade(passage, { upgrade, ...webSocket(services, verdict, request) })
}

/** One request through the proxy: what the transfer needs to know, and what it has to tell. */
class ProxiedRequest implements Transfer {
  readonly pool
  readonly route
  readonly facts
  readonly headers
  readonly request
  readonly response
  readonly isOwnCookie
  readonly headerFields
  readonly #services
  readonly #verdict
  readonly #context
  readonly #asked
  readonly #reply
  readonly #mayRenew

  constructor(
    services: ForwardServices,
    verdict: Forward,
    request: FastifyRequest,
    reply: FastifyReply,
    mayRenew: boolean,
  ) {
    const { route, who, accessToken } = verdict
    const context = contextOf(request)
    const { facts, trace } = context
    const headers = services.headers.build(facts, route, who, accessToken)
    const pool = services.upstreams.poolFor(route)
    const { socket } = request.raw
    this.pool =
      facts.headers.authorization === undefined && !hasOwnConnections(socket)
        ? pool
        : dispatcherFor(
            { client: socket, address: facts.client.address, session: verdict.session?.id ?? null },
            pool,
            hasConnectionLogin(headers),
            () => services.upstreams.openOne(route),
          )
    this.route = route
    this.facts = facts
    this.headers = trace === null ? headers : traced(headers, route, trace)
    this.request = request.raw
    this.response = reply.raw
    this.isOwnCookie = services.cookies.isOwn
    this.headerFields = services.config.limits.headerFields
    this.#services = services
    this.#verdict = verdict
    this.#context = context
    this.#asked = request
    this.#reply = reply
    this.#mayRenew = mayRenew
  }

  intercept(answer: UpstreamAnswer, repeatable: boolean): (() => void) | null {
    const { config, loginRedirects, answers } = this.#services
    const { route, facts } = this
    const { session } = this.#verdict
    const [request, reply] = [this.#asked, this.#reply]
    const passing = { route, facts, session, kind: () => kindOf(request, config) }
    const found = intercept(answer, passing, loginRedirects, config, this.#context.now)
    switch (found.type) {
      case 'pass':
        return null
      case 'answer':
        return () => {
          answers.send(request, reply, found.answer)
        }
      case 'renew':
        return this.#renew(repeatable)
    }
  }

  #renew(repeatable: boolean): (() => void) | null {
    const { tokens, answers } = this.#services
    const { session, accessToken } = this.#verdict
    if (session === null || accessToken === null || !this.#mayRenew) return null
    const renewal = tokens.renew(session, this.route.token, accessToken, Date.now())
    if (renewal === null || !repeatable) return null
    return () => {
      sendAgain(this.#services, this.#verdict, session, renewal, this.#asked, this.#reply).catch((error: unknown) => {
        answers.send(this.#asked, this.#reply, answerFor(new Fault('internal_error', { cause: error })))
      })
    }
  }

  onWaited(ms: number, status: number | null, passed: boolean): void {
    const { metrics } = this.#services
    metrics.upstreamSeconds.note(ms)
    this.#context.waited += ms
    if (passed) metrics.addedSeconds.note(this.#reply.elapsedTime - this.#context.waited)
    this.#context.trace?.wasAnswered(status)
  }

  onBrokenOff(error: Error): void {
    this.#asked.log.error(
      { event: 'upstream_aborted', id: this.#asked.id, route: this.route.label, cause: causes(error) },
      'the application broke off its answer',
    )
  }

  fail(fault: Fault): void {
    this.#asked.log[faults[fault.code].level](
      { event: fault.code, id: this.#asked.id, route: this.route.label, cause: causes(fault.cause) },
      fault.message,
    )
    this.#services.answers.send(this.#asked, this.#reply, answerFor(fault))
  }

  onEventStream(end: () => void): () => void {
    return this.#services.streams.add(this.#verdict.session, { kind: 'event-stream', close: end })
  }
}

/**
 * In place of the client's trace context the gateway's own, which goes on from it; none where the route takes it out.
 */
function traced(headers: string[], { upstream, headers: { remove } }: CompiledRoute, trace: RequestTrace): string[] {
  const own = trace.goesUpstream(upstream.origin)
  if (remove.some((name) => name.toLowerCase() === 'traceparent')) return headers
  const out = [...own]
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (!/^trace(?:parent|state)$/i.test(name)) out.push(name, headers[i + 1] ?? '')
  }
  return out
}

/**
 * Once, with a new token where there is one; with the old one else, so that the client gets the upstream's own answer.
 */
async function sendAgain(
  services: ForwardServices,
  verdict: Forward,
  session: Session,
  renewal: Promise<Acquired>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const { config, answers, sessions } = services
  const got = await renewal
  if (reply.raw.destroyed) return
  const { facts, now } = contextOf(request)
  const denial = got.ok
    ? admit(verdict.route, got.session, true, now)
    : denyWithoutToken(got.denial, verdict.route, session, facts, sessions, now)
  if (denial !== null && denial.reason !== 'token-refused' && denial.reason !== 'token-unavailable') {
    answers.send(request, reply, challenge(denial, kindOf(request, config), facts, verdict.route, config))
    return
  }
  const renewed = got.ok ? { session: got.session, who: got.session, accessToken: got.accessToken } : {}
  send(services, { ...verdict, ...renewed }, request, reply, false)
}

function webSocket(
  { config, sessions, streams }: ForwardServices,
  { route, session }: Forward,
  request: FastifyRequest,
) {
  const { path, client } = contextOf(request).facts
  const { id, log } = request
  const { label } = route
  return {
    idleRead: config.limits.idleRead,
    // A message is the user's doing; what the browser answers to pings is not.
    onMessage() {
      if (session !== null) sessions.touch(streams.ownerOf(session), Date.now())
    },
    onSwitched(close: (code: number) => void) {
      const openedAt = performance.now()
      const forget = streams.add(session, {
        kind: 'websocket',
        close: (reason) => {
          close(reason === 'session-ended' ? WEBSOCKET_SESSION_ENDED : WEBSOCKET_GOING_AWAY)
        },
      })
      log.info({ event: 'websocket_open', id, path, route: label, client: client.address })
      return () => {
        forget()
        log.info({ event: 'websocket_closed', id, route: label, ms: Math.round(performance.now() - openedAt) })
      }
    },
  }
}
