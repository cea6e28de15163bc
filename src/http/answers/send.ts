import { STATUS_CODES } from 'node:http'
import type { FastifyReply, FastifyRequest, FastifyError, FastifyInstance } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { Fault, causes, faults, type FaultCode } from '../../errors.ts'
import { finalAnswer, type Answer } from '../../gate/challenge.ts'
import { classify } from '../../gate/classify.ts'
import { corsHeaders, type FindCors } from '../../gate/cors.ts'
import { hostOf, type RouteTable } from '../../gate/match.ts'
import type { Facts, FinalDenial, RequestKind } from '../../gate/verdict.ts'
import type { Cookies } from '../cookies/cookies.ts'
import { requestFields } from '../identity.ts'
import { PROBLEM_TYPE, problem } from '../problem.ts'
import { breakOff } from '../server/response-queue.ts'
import { targetOf } from '../target.ts'
import { logDenial } from './denial-log.ts'
import { pageFor, type PageServices, type Situation } from './actions.ts'
import { pageRequest, renderPage, type PageRequest } from './pages.ts'

export interface Answers {
  /**
   * Sends a redirect if the response has a location, otherwise a problem to a script and a page to a browser. `facts`
   * are those of the request that the user sees, if a proxy has described it.
   */
  send(request: FastifyRequest, reply: FastifyReply, answer: Answer, facts?: Facts): FastifyReply
  /** Sends the response of a denial, and writes its log line. */
  deny(request: FastifyRequest, reply: FastifyReply, denial: FinalDenial): FastifyReply
}

/**
 * Creates the functions that send the gateway's own responses on one network listener. `findCors` finds the CORS
 * settings of a URL's route. It is `null` for the forward-auth listener, because its URLs belong to no route.
 */
export function createAnswers(
  config: Config,
  cookies: Cookies,
  routes: RouteTable,
  findCors: FindCors | null,
): Answers {
  function corsOf({ context, method, headers, raw }: FastifyRequest): Readonly<Record<string, string>> {
    if (context !== null && context.route !== null) return corsHeaders(context.route, headers.origin)
    if (findCors === null) return {}
    if (context !== null) return findCors(method, context.facts.path, headers, hostOf(context.facts.origin))
    const target = targetOf(raw)
    return target.ok ? findCors(method, target.path, headers) : {}
  }

  function headersOf(answer: Answer): Record<string, string> {
    return {
      'gatehouse': answer.code,
      'cache-control': 'no-store',
      ...(answer.clearSession === true ? { 'set-cookie': cookies.clearTicket() } : {}),
      ...(answer.authenticate === undefined ? {} : { 'www-authenticate': answer.authenticate }),
      ...(answer.retryAfter === undefined ? {} : { 'retry-after': String(answer.retryAfter) }),
      ...(answer.allow === undefined ? {} : { allow: answer.allow }),
      // https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9
      ...(answer.status === 408 ? { connection: 'close' } : {}),
      ...(answer.location === undefined ? {} : { location: answer.location }),
    }
  }

  function render(
    request: FastifyRequest,
    answer: Answer,
    facts: Facts | null,
  ): { headers: Record<string, string>; body: string } {
    const headers = { ...headersOf(answer), ...corsOf(request) }
    if (answer.location !== undefined) return { headers: { ...headers, 'x-content-type-options': 'nosniff' }, body: '' }
    const htmx =
      answer.loginUrl !== undefined && request.headers['hx-request'] !== undefined
        ? { 'hx-redirect': answer.loginUrl }
        : {}
    const kind = kindOf(request, config)
    const { route = null, session = null, now = Date.now() } = request.context ?? {}
    const situation = { kind, facts, route, session, now }
    const content = contentOf(answer, situation, { config, routes }, pageRequest(request))
    return { headers: { ...headers, ...htmx, ...content.headers }, body: content.body }
  }

  function send(
    request: FastifyRequest,
    reply: FastifyReply,
    answer: Answer,
    facts = request.context?.facts,
  ): FastifyReply {
    if (request.context !== null) request.context.verdict = answer.code
    const { headers, body } = render(request, answer, facts ?? null)
    // Fastify does not send a response to a request that is being proxied, because its reply is hijacked.
    if (reply.sent) {
      const length = Buffer.byteLength(body)
      if (request.context !== null) request.context.bytes = length
      reply.raw
        // Passes the status text, because the response may already have the application's status text.
        .writeHead(answer.status, STATUS_CODES[answer.status], {
          ...headers,
          'x-request-id': request.id,
          'content-length': length,
        })
        .end(body)
    } else void reply.code(answer.status).headers(headers).serializer(String).send(body)
    return reply
  }

  return {
    send,
    deny(request, reply, denial) {
      logDenial(request, denial)
      return send(request, reply, finalAnswer(denial))
    },
  }
}

/** Returns the body and headers of a response: a problem for a script, otherwise a page. */
export function contentOf(
  answer: Answer,
  situation: Situation,
  services: PageServices,
  request: PageRequest,
): { headers: Readonly<Record<string, string>>; body: string } {
  if (situation.kind !== 'script' && situation.kind !== 'websocket') {
    const { headers, html } = renderPage(pageFor(answer, situation, services), services.config.pages, request)
    return { headers, body: html }
  }
  const login = answer.loginUrl === undefined ? {} : { login_url: answer.loginUrl }
  return {
    headers: { 'content-type': PROBLEM_TYPE, 'x-content-type-options': 'nosniff' },
    body: problem(answer, { request_id: request.id, ...login }),
  }
}

/** Returns the kind of a request, and stores it in the context. */
export function kindOf(request: FastifyRequest, config: Config): RequestKind {
  const kind = request.context?.kind ?? classify(request.method, request.headers, config.scripts)
  if (request.context !== null) request.context.kind = kind
  return kind
}

export function answerFor(fault: Fault): Answer {
  return {
    status: fault.status,
    code: fault.code,
    ...fault.words,
    ...(fault.retryAfter === null ? {} : { retryAfter: fault.retryAfter }),
    ...(fault.loginUrl === null ? {} : { loginUrl: fault.loginUrl }),
    ...(fault.mayRetry === undefined ? {} : { mayRetry: fault.mayRetry }),
  }
}

/**
 * Registers the error handler. The handler logs the cause of an error, and sends the public texts of the fault to the
 * client. If the response has already begun, the handler breaks it off instead.
 */
export function handleFailures(app: FastifyInstance, answers: Answers): void {
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const fault = asFault(error)
    const facts = {
      event: fault.code,
      ...requestFields(request),
      provider: fault.provider,
      cause: causes(error),
    }
    request.log[fault.isRepeated ? 'debug' : faults[fault.code].level](facts, fault.message)
    if (reply.raw.headersSent) {
      breakOff(reply.raw)
      return reply
    }
    return answers.send(request, reply, answerFor(fault))
  })
}

function asFault(error: FastifyError | Fault): Fault {
  if (error instanceof Fault) return error
  const status = 'statusCode' in error ? error.statusCode : undefined
  const byStatus: Record<number, FaultCode> = {
    413: 'payload_too_large',
    404: 'not_found',
    405: 'method_not_allowed',
    429: 'rate_limited',
  }
  const code = byStatus[status ?? 500] ?? (status !== undefined && status < 500 ? 'bad_request' : 'internal_error')
  return new Fault(code, { cause: error })
}
