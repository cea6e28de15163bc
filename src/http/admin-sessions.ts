import type { FastifyInstance } from 'fastify'
import { Fault } from '../errors.ts'
import type { SessionSummary, Sessions } from '../session/sessions.ts'

interface BySubject {
  Querystring: { sub?: string | string[] }
}

/** Session administration on the admin listener: who is logged in, and ending it. Ids open nothing. */
export function registerSessionAdministration(app: FastifyInstance, sessions: Sessions, issuer: () => string): void {
  app.get<BySubject>('/sessions', async (request, reply) => {
    const sub = subjectOf(request.query)
    const found = await sessions.find({ issuer: issuer(), subject: sub })
    return reply.send({ sessions: found.map((session) => describe(session, sub)) })
  })

  app.delete<BySubject>('/sessions', async (request, reply) => {
    const sub = subjectOf(request.query)
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

function subjectOf({ sub }: BySubject['Querystring']): string {
  if (typeof sub === 'string' && sub !== '') return sub
  throw new Fault('bad_request', { detail: 'Say whose sessions: /sessions?sub=SUBJECT.' })
}
