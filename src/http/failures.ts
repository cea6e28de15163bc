import type { FastifyError, FastifyInstance } from 'fastify'
import { Fault, causes, faults, type FaultCode } from '../errors.ts'
import type { Answer } from '../gate/challenge.ts'
import { breakOff } from './answer-queue.ts'
import type { Answers } from './answers.ts'

/** The answer for something that went wrong. */
export function answerFor(fault: Fault): Answer {
  return {
    status: fault.status,
    code: fault.code,
    title: fault.title,
    detail: fault.detail,
    ...(fault.retryAfter === null ? {} : { retryAfter: fault.retryAfter }),
    ...(fault.loginUrl === null ? {} : { loginUrl: fault.loginUrl }),
  }
}

/** Everything that is thrown ends here: the log gets the cause, the user a plain sentence. */
export function handleFailures(app: FastifyInstance, answers: Answers): void {
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const fault = asFault(error)
    request.log[faults[fault.code].level]({ event: fault.code, id: request.id, cause: causes(error) }, fault.message)
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
