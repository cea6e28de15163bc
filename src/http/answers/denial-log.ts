import type { FastifyRequest } from 'fastify'
import { MAX_TARGET_LENGTH } from '../../gate/return-target.ts'
import type { Denial } from '../../gate/verdict.ts'
import { requestFields } from '../identity.ts'

interface LogLine {
  readonly event: string
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly text: string
  readonly cause?: string
}

const LINES: { readonly [reason in Denial['reason']]?: LogLine } = {
  'no-route': { event: 'not_found', level: 'debug', text: 'there is nothing at this address' },
  'malformed': { event: 'bad_request', level: 'info', text: 'the request is malformed' },
  'transfer-coding': { event: 'bad_request', level: 'info', text: 'the transfer coding is not supported' },
  'method-not-allowed': {
    event: 'method_not_allowed',
    level: 'info',
    text: 'the method is not allowed',
    cause: 'no URL allows this method',
  },
  'loop': {
    event: 'upstream_unreachable',
    level: 'error',
    text: 'a request came back to the gateway that forwarded it',
    cause: 'a loop: an upstream leads back to this gateway',
  },
  'ambiguous-path': {
    event: 'ambiguous_path',
    level: 'warn',
    text: 'a path that can be read in more than one way was refused',
  },
  'forbidden': { event: 'forbidden', level: 'info', text: 'the user’s claims do not allow the request' },
  'cross-origin': {
    event: 'cross_origin',
    level: 'warn',
    text: 'another site sent a request that would change something',
  },
  'invalid-token': { event: 'invalid_token', level: 'info', text: 'a client’s own token was not accepted' },
  'insufficient-scope': { event: 'forbidden', level: 'info', text: 'a client’s own token lacks a scope' },
  'token-refused': { event: 'token_refused', level: 'warn', text: 'the provider refuses a token for this route' },
  'token-unavailable': { event: 'token_unavailable', level: 'warn', text: 'there is currently no valid token' },
}

export function logDenial(request: FastifyRequest, denial: Denial, route?: string): void {
  const line = LINES[denial.reason]
  if (line === undefined) return
  // A method that other URLs allow is a harmless mistake of the client.
  if (denial.reason === 'method-not-allowed' && denial.allow !== null) return
  const { event, level, text, cause } = line
  request.log[level](
    {
      event,
      ...requestFields(request),
      route,
      ...(cause === undefined ? {} : { cause }),
      ...('cause' in denial ? { cause: denial.cause } : {}),
      ...('why' in denial ? { why: denial.why } : {}),
    },
    text,
  )
}

/** Logs that a login cannot return to a URL because the URL is too long. */
export function logLongTarget(request: FastifyRequest, length: number): void {
  if (length <= MAX_TARGET_LENGTH) return
  request.log.info(
    { event: 'return_url_too_long', ...requestFields(request), length, limit: MAX_TARGET_LENGTH },
    'a return URL is too long, so the login leads to the start page',
  )
}
