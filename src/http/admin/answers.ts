import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { Fault, causes, faults } from '../../errors.ts'
import { finalAnswer, type Answer } from '../../gate/challenge.ts'
import type { Log } from '../../telemetry/log.ts'
import { tooManyFields } from '../server/framing.ts'
import { answerFor } from '../answers/send.ts'
import { PROBLEM_TYPE, problem } from '../problem.ts'
import { VERSION } from '../../version.ts'

/** The body of `GET /livez`. */
export const LIVEZ = { alive: true, version: VERSION }

/**
 * Registers the common behavior of both kinds of admin listener: ignores bodies, refuses too many header fields, and
 * answers errors with a problem.
 */
export function answerAsAdmin(app: FastifyInstance, log: Log, { headerFields }: Config['limits']): void {
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('x-content-type-options', 'nosniff')
    done()
  })
  // Node.js would drop fields above its own limit instead of refusing the request.
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
  app.setNotFoundHandler((_request, reply) => sendProblem(reply, finalAnswer({ reason: 'no-route' })))
  app.setErrorHandler((error, _request, reply) => {
    const fault = faultOf(error)
    log[faults[fault.code].level]({ event: fault.code, listener: 'admin', cause: causes(error) }, fault.code)
    return sendProblem(reply, answerFor(fault))
  })
}

/** Returns the fault for an error. A 4xx from Fastify, for example for a malformed Content-Type, is a bad request. */
function faultOf(error: unknown): Fault {
  if (error instanceof Fault) return error
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500
  return status >= 400 && status < 500
    ? new Fault('bad_request', { status, cause: error })
    : new Fault('internal_error', { cause: error })
}

export function sendProblem(
  reply: FastifyReply,
  { status, code, title, detail, retryAfter, authenticate }: Answer,
): FastifyReply {
  if (retryAfter !== undefined) reply.header('retry-after', String(retryAfter))
  if (authenticate !== undefined) reply.header('www-authenticate', authenticate)
  return reply
    .code(status)
    .headers({ 'gatehouse': code, 'cache-control': 'no-store', 'content-type': PROBLEM_TYPE })
    .serializer(String)
    .send(problem({ status, code, title, detail }))
}
