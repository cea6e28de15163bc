import type { FastifyInstance, FastifyReply } from 'fastify'
import { faults } from '../errors.ts'
import type { SessionSummary, Sessions } from '../session/sessions.ts'
import { PROBLEM_TYPE, problem } from './problem.ts'

interface BySubject {
  Querystring: { sub?: string }
}

/** Session administration on the admin listener: who is logged in, and ending it. Ids open nothing. */
export function registerSessionAdministration(app: FastifyInstance, sessions: Sessions, issuer: () => string): void {
  app.get<BySubject>('/sessions', async (request, reply) => {
    const { sub } = request.query
    if (sub === undefined || sub === '') return missingSubject(reply)
    const found = await sessions.find({ issuer: issuer(), subject: sub })
    return reply.send({ sessions: found.map((session) => describe(session, sub)) })
  })

  app.delete<BySubject>('/sessions', async (request, reply) => {
    const { sub } = request.query
    if (sub === undefined || sub === '') return missingSubject(reply)
    const found = await sessions.find({ issuer: issuer(), subject: sub })
    await Promise.all(found.map(({ id }) => sessions.endById(id, 'admin')))
    return reply.code(204).send()
  })

  app.delete<{ Params: { id: string } }>('/sessions/:id', async (request, reply) => {
    await sessions.endById(request.params.id, 'admin')
    return reply.code(204).send()
  })
}

function describe({ id, createdAt, lastSeenAt, endsAt }: SessionSummary, sub: string): Record<string, string> {
  return {
    id,
    sub,
    created_at: new Date(createdAt).toISOString(),
    last_seen_at: new Date(lastSeenAt).toISOString(),
    ends_at: new Date(endsAt).toISOString(),
  }
}

function missingSubject(reply: FastifyReply): FastifyReply {
  return reply
    .code(400)
    .header('content-type', PROBLEM_TYPE)
    .send(problem({ ...faults.bad_request, code: 'bad_request', detail: 'Say whose sessions: /sessions?sub=SUBJECT.' }))
}
