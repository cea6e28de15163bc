import type { FastifyReply, FastifyRequest } from 'fastify'
import { challenge } from '../../gate/challenge.ts'
import { contextOf } from '../context.ts'
import { noteDenial } from '../denials.ts'
import type { Services } from './endpoint.ts'

/**
 * Refuses what a page of another site wants of an endpoint, with a line in the log; `detail` in place of the usual
 * words.
 */
export function refuseCrossOrigin(
  { answers, config }: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  detail?: string,
): FastifyReply {
  const denial = { reason: 'cross-origin' } as const
  noteDenial(request, denial, undefined)
  const answer = challenge(denial, 'script', contextOf(request).facts, null, config)
  return answers.send(request, reply, detail === undefined ? answer : { ...answer, detail })
}
