import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { causes, faults, type Fault } from '../../errors.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import type { Verdict } from '../../gate/verdict.ts'
import type { Session } from '../../session/session.ts'
import type { Sessions } from '../../session/sessions.ts'
import type { Refresher } from '../../token/refresh.ts'
import { contextOf } from '../context.ts'
import type { Cookies } from '../cookies.ts'
import { answerFor, kindOf, type Answers } from '../failures.ts'
import { upgradeOf } from '../upgrades.ts'
import { intercept } from './intercept.ts'
import type { LoginRedirects } from './login-redirect.ts'
import type { Streams } from './streams.ts'
import { transfer, type Transfer } from './transfer.ts'
import { transferUpgrade } from './upgrade.ts'
import type { Upstreams } from './upstreams.ts'

/** What a request that may pass meets on its way. */
export interface ForwardServices {
  readonly config: Config
  readonly headers: UpstreamHeaders
  readonly upstreams: Upstreams
  readonly loginRedirects: LoginRedirects
  readonly sessions: Sessions
  readonly refresher: Pick<Refresher, 'refresh'>
  readonly cookies: Cookies
  readonly answers: Answers
  readonly streams: Streams
}

/** Codes of our own begin at 4000; 4401 reads as 401. */
const WEBSOCKET_SESSION_ENDED = 4401
/** RFC 6455, section 7.4.1. */
const WEBSOCKET_GOING_AWAY = 1001

type Forward = Extract<Verdict, { type: 'forward' }>

/** Passes a request on to its upstream, over whatever protocol it asks for. */
export function forward(services: ForwardServices, verdict: Forward, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { sessions } = services
  const { session, accessToken } = verdict
  const context = contextOf(request)
  if (session !== null) sessions.touch(session, context.now)
  context.session = session
  context.verdict = 'forward'
  reply.hijack()
  const job = jobFor(services, verdict, request, reply, accessToken, true)
  const upgrade = upgradeOf(request.raw)
  if (upgrade === null || kindOf(request, services.config) !== 'websocket') transfer(job)
  else transferUpgrade({ ...job, upgrade, ...webSocket(services, verdict, request) })
  return reply
}

function jobFor(
  services: ForwardServices, verdict: Forward, request: FastifyRequest, reply: FastifyReply, accessToken: string | null, mayRenew: boolean,
): Transfer {
  const { headers, upstreams, cookies, loginRedirects, config, answers, streams } = services
  const { route, session, who } = verdict
  const context = contextOf(request)
  const { facts } = context
  return {
    pool: upstreams.poolFor(route),
    route, facts, isOwnCookie: cookies.isOwn,
    headers: headers.build(facts, route, who, accessToken),
    request: request.raw, response: reply.raw,
    intercept(answer, repeatable) {
      const verdictOnAnswer = intercept(answer, { route, facts, session, kind: () => kindOf(request, config) }, loginRedirects, config, context.now)
      switch (verdictOnAnswer.type) {
        case 'pass': return false
        case 'answer':
          answers.send(request, reply, verdictOnAnswer.answer)
          return true
        case 'renew':
          if (session === null || !mayRenew || route.token.grant !== 'session' || session.tokens.refreshToken === null) return false
          if (repeatable) void renewAndRepeat(services, verdict, request, reply, session)
          else void services.refresher.refresh(session, 'upstream', Date.now())
          return repeatable
      }
    },
    fail(fault: Fault) {
      request.log[faults[fault.code].level]({ event: fault.code, id: request.id, route: route.label, cause: causes(fault.cause) }, fault.message)
      answers.send(request, reply, answerFor(fault))
    },
    onEventStream: (end) => streams.add(session, { kind: 'event-stream', close: end }),
  }
}

/** Once, with a new token where there is one; else the same again, so that the client gets the upstream's own answer. */
async function renewAndRepeat(
  services: ForwardServices, verdict: Forward, request: FastifyRequest, reply: FastifyReply, session: Session,
): Promise<void> {
  const outcome = await services.refresher.refresh(session, 'upstream', Date.now())
  if (reply.raw.destroyed) return
  const token = outcome.type === 'refreshed' ? outcome.session.tokens.accessToken : session.tokens.accessToken
  transfer(jobFor(services, verdict, request, reply, token, false))
}

function webSocket({ sessions, streams }: ForwardServices, { route, session }: Forward, request: FastifyRequest) {
  const { facts } = contextOf(request)
  return {
    // A message is the user's doing; what the browser answers to pings is not.
    onMessage() {
      if (session !== null) sessions.touch(streams.ownerOf(session), Date.now())
    },
    onSwitched(close: (code: number) => void) {
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
  }
}
