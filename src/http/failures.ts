import { STATUS_CODES, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Fault, causes, faults, type FaultCode } from '../errors.ts'
import type { Answer } from '../gate/challenge.ts'
import { classify } from '../gate/classify.ts'
import type { RequestKind } from '../gate/verdict.ts'
import type { Cookies } from './cookies.ts'
import { renderPage, type Action } from './pages.ts'

/** Writes the gateway's own answers. */
export interface Answers {
  /** A problem (RFC 9457) for a script, a page for a person, a redirect where the answer says so. */
  send(request: FastifyRequest, reply: FastifyReply, answer: Answer): FastifyReply
}

/** Makes the writer of answers. */
export function createAnswers(config: Config, cookies: Cookies): Answers {
  function headersOf(answer: Answer): Record<string, string> {
    return {
      'gatehouse': answer.code,
      'cache-control': 'no-store',
      ...(answer.clearSession === true ? { 'set-cookie': cookies.clearTicket() } : {}),
      ...(answer.authenticate === undefined ? {} : { 'www-authenticate': answer.authenticate }),
      ...(answer.retryAfter === undefined ? {} : { 'retry-after': String(answer.retryAfter) }),
      ...(answer.allow === undefined ? {} : { allow: answer.allow }),
      // RFC 9110, section 15.5.9.
      ...(answer.status === 408 ? { connection: 'close' } : {}),
      ...(answer.location === undefined ? {} : { location: answer.location }),
    }
  }

  function render(request: FastifyRequest, answer: Answer): { headers: Record<string, string>; body: string } {
    const headers = headersOf(answer)
    if (answer.location !== undefined) return { headers, body: '' }
    const kind = kindOf(request, config)
    if (kind === 'script' || kind === 'websocket') {
      const htmx =
        answer.loginUrl !== undefined && request.headers['hx-request'] !== undefined
          ? { 'hx-redirect': answer.loginUrl }
          : {}
      return {
        headers: { ...headers, ...htmx, 'content-type': 'application/problem+json' },
        body: JSON.stringify(problemOf(answer, request.id)),
      }
    }
    const page = renderPage(
      {
        name: answer.code,
        title: answer.title,
        detail: answer.detail,
        requestId: request.id,
        actions: waysOn(answer, kind, request.context?.facts.origin ?? ''),
      },
      config.pages,
    )
    return { headers: { ...headers, ...page.headers }, body: page.html }
  }

  return {
    send(request, reply, answer) {
      if (request.context !== null) request.context.verdict = answer.code
      const { headers, body } = render(request, answer)
      // While a request is being passed on, Fastify has handed its answer over.
      if (reply.sent)
        reply.raw.writeHead(answer.status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body)
      else void reply.code(answer.status).headers(headers).serializer(String).send(body)
      return reply
    },
  }
}

/** What kind of request it is, worked out once. */
export function kindOf(request: FastifyRequest, config: Config): RequestKind {
  const kind = request.context?.kind ?? classify(request.method, request.headers, config.scripts)
  if (request.context !== null) request.context.kind = kind
  return kind
}

function problemOf({ status, code, title, detail, loginUrl }: Answer, requestId: string): Record<string, unknown> {
  return {
    type: 'about:blank',
    title,
    status,
    code,
    detail,
    request_id: requestId,
    ...(loginUrl === undefined ? {} : { login_url: loginUrl }),
  }
}

function waysOn(answer: Answer, kind: RequestKind, origin: string): Action[] {
  if (answer.loginUrl !== undefined) return [{ label: 'Sign in', href: answer.loginUrl, top: kind === 'frame' }]
  if (answer.status >= 500 && kind === 'navigation')
    return [
      { label: 'Try again', href: '' },
      { label: 'Start page', href: `${origin}/` },
    ]
  return [{ label: 'Start page', href: `${origin}/` }]
}

/** The answer for something that went wrong. */
export function answerFor(fault: Fault): Answer {
  const { title } = faults[fault.code]
  return {
    status: fault.status,
    code: fault.code,
    title,
    detail: fault.detail,
    ...(fault.retryAfter === null ? {} : { retryAfter: fault.retryAfter }),
  }
}

/** Everything that is thrown ends here: the log gets the cause, the user a plain sentence. */
export function handleFailures(app: FastifyInstance, answers: Answers): void {
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const fault = asFault(error)
    request.log[faults[fault.code].level]({ event: fault.code, id: request.id, cause: causes(error) }, fault.message)
    if (reply.raw.headersSent) {
      reply.raw.destroy()
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

/** How long a client that was refused may take to close its side, ms. */
const LAST_WORDS = 2_000

/** Answers what the HTTP parser refuses, before there is a request: a problem, then the connection closes. */
export function answerParserError(error: Error & { code?: string }, socket: Socket): void {
  // Node's own note of what the connection is busy with: in the middle of an answer, another one would be read as part of it.
  const answer: unknown = Reflect.get(socket, '_httpMessage')
  const answering = answer instanceof ServerResponse && answer.headersSent
  if (error.code === 'ECONNRESET' || !socket.writable || answering) {
    socket.destroy()
    return
  }
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code ?? ''] ?? 400
  setTimeout(() => {
    socket.destroy()
  }, LAST_WORDS).unref()
  socket.end(rawProblem(status, 'bad_request', faults.bad_request.title, faults.bad_request.detail))
}

/** A complete HTTP/1.1 answer with a problem, for a connection that never becomes a request. */
export function rawProblem(
  status: number,
  code: FaultCode,
  title: string,
  detail: string,
  more: readonly string[] = [],
): string {
  const body = JSON.stringify({ type: 'about:blank', title, status, code, detail })
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Gatehouse: ${code}`,
    'Cache-Control: no-store',
    ...more,
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}
