import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { announcedIssuer } from '../../oidc/provider.ts'
import type { Providers } from '../../oidc/providers.ts'
import type { Sessions, SessionSummary } from '../../session/sessions.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { answerAsAdmin } from './answers.ts'
import { guardSessions, denyForeignHosts, type AdminSettings } from './guard.ts'
import type { Readiness } from './readiness.ts'

interface AdminServices {
  readonly settings: AdminSettings
  readonly providers: Providers
  readonly sessions: Sessions
  readonly metrics: Metrics
  readonly readiness: () => Promise<Readiness>
  readonly log: Log
  readonly limits: Config['limits']
}

export function buildAdmin({
  settings,
  providers,
  sessions,
  metrics,
  readiness,
  log,
  limits,
}: AdminServices): FastifyInstance {
  const app = Fastify({ logger: false })
  answerAsAdmin(app, log, limits)
  denyForeignHosts(app, settings, log)

  app.get('/livez', () => ({ alive: true }))

  app.get('/readyz', async (_request, reply) => {
    const found = await readiness()
    return reply.code(found.ready ? 200 : 503).send(found)
  })

  app.get('/metrics', async (_request, reply) =>
    reply.header('content-type', metrics.registry.contentType).send(await metrics.registry.metrics()),
  )

  void app.register(async (scope) => {
    guardSessions(scope, settings, log)
    // Sessions store the issuer that the provider announces. The configured issuer may differ by a trailing slash.
    registerSessionAdministration(scope, sessions, () => announcedIssuer(providers.of({})))
  })
  return app
}

interface BySubject {
  Querystring: { sub?: string | string[] }
}

/** Registers the listing and the ending of a user's sessions. An id gives no access to the session. */
function registerSessionAdministration(app: FastifyInstance, sessions: Sessions, issuer: () => string): void {
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
  throw new Fault('bad_request', { detail: 'Name the user: /sessions?sub=SUBJECT.' })
}
