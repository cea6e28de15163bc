import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { Fault, causes, faults } from '../../errors.ts'
import type { Answer } from '../../gate/challenge.ts'
import type { Log } from '../../telemetry/log.ts'
import { tooManyFields } from '../server/header-fields.ts'
import { answerFor } from '../answers/send.ts'
import { PROBLEM_TYPE, problem } from '../problem.ts'

/**
 * What both kinds of admin listener do alike: no body counts, whatever type it claims, too many header fields are
 * refused, and what goes wrong is a problem (RFC 9457).
 */
export function answerAsAdmin(app: FastifyInstance, log: Log, { headerFields }: Config['limits']): void {
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff')
    done()
  })
  // As on the public listener: nothing is dropped, too many are refused.
  app.server.maxHeadersCount = 0
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.raw.rawHeaders.length > 2 * headerFields) done(tooManyFields('header', headerFields))
    else done()
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => {
    payload.resume()
    done(null)
  })
  app.setNotFoundHandler((_request, reply) => sendProblem(reply, answerFor(new Fault('not_found'))))
  app.setErrorHandler((error, _request, reply) => {
    const fault = faultOf(error)
    log[faults[fault.code].level]({ event: fault.code, listener: 'admin', cause: causes(error) }, fault.code)
    return sendProblem(reply, answerFor(fault))
  })
}

/** What Fastify itself refuses, a malformed Content-Type for one, is the client's mistake. */
function faultOf(error: unknown): Fault {
  if (error instanceof Fault) return error
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
  return status >= 400 && status < 500
    ? new Fault('bad_request', { status, cause: error })
    : new Fault('internal_error', { cause: error })
}

/** A problem, as on the public listener. */
export function sendProblem(
  reply: FastifyReply,
  { status, code, title, detail, retryAfter }: Pick<Answer, 'status' | 'code' | 'title' | 'detail' | 'retryAfter'>,
): FastifyReply {
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  return reply
    .code(status)
    .headers({ 'gatehouse': code, 'cache-control': 'no-store', 'content-type': PROBLEM_TYPE })
    .serializer(String)
    .send(problem({ status, code, title, detail }))
}
