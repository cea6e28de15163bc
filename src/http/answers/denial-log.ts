import type { FastifyRequest } from 'fastify'
import type { Denial } from '../../gate/verdict.ts'

interface Noted {
  readonly event: string
  readonly level: 'info' | 'warn'
  readonly text: string
}

/** The denials that somebody who looks after security wants to find; of the others the access line tells. */
const NOTED: { readonly [reason in Denial['reason']]?: Noted } = {
  'ambiguous-path': {
    event: 'ambiguous_path',
    level: 'warn',
    text: 'a path that can be read in more than one way was refused',
  },
  'forbidden': { event: 'forbidden', level: 'info', text: 'the claims do not allow it' },
  'cross-origin': {
    event: 'cross_origin',
    level: 'warn',
    text: 'another site sent a request that would change something',
  },
  'invalid-token': { event: 'invalid_token', level: 'info', text: 'a client’s own token was not accepted' },
  'token-refused': { event: 'token_refused', level: 'warn', text: 'the provider gives no token for this route' },
  'token-unavailable': { event: 'token_unavailable', level: 'warn', text: 'there is no valid token just now' },
}

/** Leaves a line in the log for a denial that is worth one. */
export function noteDenial(request: FastifyRequest, denial: Denial, route: string | undefined): void {
  const noted = NOTED[denial.reason]
  if (noted === undefined) return
  const why = 'why' in denial ? { why: denial.why } : {}
  request.log[noted.level](
    { event: noted.event, id: request.id, route, client: request.context?.facts.client.address, ...why },
    noted.text,
  )
}
