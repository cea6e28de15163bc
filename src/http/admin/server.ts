import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { Fault } from '../../errors.ts'
import { announcedIssuer } from '../../oidc/provider.ts'
import type { Providers } from '../../oidc/providers.ts'
import type { Sessions, SessionSummary } from '../../session/sessions.ts'
import { type Log, printable, subjectIn } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { peerOf } from '../facts.ts'
import { LIVEZ, answerAsAdmin } from './answers.ts'
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

  app.get('/livez', () => LIVEZ)

  app.get('/readyz', async (_request, reply) => {
    const found = await readiness()
    return reply.code(found.ready ? 200 : 503).send(found)
  })

  app.get('/metrics', async (_request, reply) =>
    reply.header('content-type', metrics.registry.contentType).send(await metrics.registry.metrics()),
  )

  void app.register(async (scope) => {
    guardSessions(scope, settings, log)
    registerSessionAdministration(scope, { settings, sessions, providers, log })
  })
  return app
}

interface BySubject {
  Querystring: { sub?: string | string[]; provider?: string | string[] }
}

/** The session of a user, with the name of the provider if there are several. */
interface Listed extends SessionSummary {
  readonly provider?: string
}

/** How many sessions a log line names. */
const MAX_LOGGED_SESSIONS = 100
const MAX_LOGGED_LENGTH = 256

/** Registers the listing and the ending of a user's sessions. An id gives no access to the session. */
function registerSessionAdministration(
  app: FastifyInstance,
  { settings, sessions, providers, log }: Pick<AdminServices, 'settings' | 'sessions' | 'providers' | 'log'>,
): void {
  /** Logs who has listed or ended sessions. `ended` is the number of sessions that this call has ended. */
  function logUse({ socket }: FastifyRequest, sub: string | null, ids: readonly string[], ended: number | null): void {
    const client = peerOf(socket) || '-'
    const by = settings.sessions === 'loopback' ? 'loopback' : 'token'
    const named = ids.slice(0, MAX_LOGGED_SESSIONS).map((id) => printable(id.slice(0, MAX_LOGGED_LENGTH)))
    log.info(
      {
        event: 'session_administration',
        listener: 'admin',
        action: ended === null ? 'list' : 'end',
        by,
        client,
        ...subjectIn(log, sub === null ? null : sub.slice(0, MAX_LOGGED_LENGTH)),
        sessions: named,
        ...(ended === null ? {} : { ended }),
      },
      ended === null ? 'the sessions of a user were listed' : 'sessions were ended',
    )
  }

  /** Returns the sessions of a subject at each provider, or at the one that the query names. */
  async function find({ provider: name, ...query }: BySubject['Querystring']): Promise<Listed[][]> {
    const subject = subjectOf(query)
    const wanted = providers.all.filter((provider) => name === undefined || provider.name === name)
    if (wanted.length === 0) throw new Fault('bad_request', { detail: 'There is no provider of this name.' })
    // Sessions store the issuer that the provider announces. The configured issuer may differ by a trailing slash.
    const issuers = [...new Set(wanted.map(announcedIssuer))]
    return Promise.all(
      issuers.map(async (issuer) => {
        const found = await sessions.find({ issuer, subject })
        const names = wanted.flatMap((one) =>
          announcedIssuer(one) === issuer && one.name !== undefined ? [one.name] : [],
        )
        // A record does not show at which client of its issuer the session began.
        return found.map((session) => ({ ...session, ...(names.length === 0 ? {} : { provider: names.join(', ') }) }))
      }),
    )
  }

  app.get<BySubject>('/sessions', async (request, reply) => {
    const found = await find(request.query)
    const sub = subjectOf(request.query)
    const ids = found.flat().map(({ id }) => id)
    logUse(request, sub, ids, null)
    return reply.send({ sessions: found.flat().map((session) => describe(session, sub)) })
  })

  app.delete<BySubject>('/sessions', async (request, reply) => {
    const found = (await find(request.query)).filter((ofIssuer) => ofIssuer.length > 0)
    // Two providers may give the same `sub` to two users.
    if (found.length > 1) {
      const names = found.flatMap(([first]) => first?.provider ?? [])
      throw new Fault('bad_request', {
        detail: `Users of several providers have this sub. Add &provider=NAME: ${names.join(', ')}.`,
      })
    }
    const sub = subjectOf(request.query)
    const ids = found.flat().map(({ id }) => id)
    const ended = await Promise.all(ids.map(async (id) => sessions.endById(id, 'admin', sub)))
    logUse(request, sub, ids, ended.filter(Boolean).length)
    return reply.code(204).send()
  })

  app.delete<{ Params: { id: string } }>('/sessions/:id', async (request, reply) => {
    const { id } = request.params
    const isEnded = await sessions.endById(id, 'admin')
    logUse(request, null, [id], isEnded ? 1 : 0)
    return reply.code(204).send()
  })
}

function describe({ id, provider, createdAt, lastSeenAt, endsAt }: Listed, sub: string): Record<string, string> {
  return {
    id,
    ...(provider === undefined ? {} : { provider }),
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
