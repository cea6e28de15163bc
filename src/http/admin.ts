import Fastify, { type FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.ts'
import type { Provider } from '../oidc/provider.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { answerAsAdmin } from './admin-answers.ts'
import { registerSessionAdministration } from './admin-sessions.ts'
import type { Readiness } from './readiness.ts'

interface AdminServices {
  readonly provider: Provider
  readonly sessions: Sessions
  readonly metrics: Metrics
  readonly readiness: () => Promise<Readiness>
  readonly log: Log
  readonly limits: Config['limits']
}

/** The second listener: the process's health and metrics, never on the public port. */
export function buildAdmin({ provider, sessions, metrics, readiness, log, limits }: AdminServices): FastifyInstance {
  const app = Fastify({ logger: false })
  answerAsAdmin(app, log, limits)

  app.get('/livez', () => ({ alive: true }))

  app.get('/readyz', async (_request, reply) => {
    const found = await readiness()
    return reply.code(found.ready ? 200 : 503).send(found)
  })

  app.get('/metrics', async (_request, reply) =>
    reply.header('content-type', metrics.registry.contentType).send(await metrics.registry.metrics()),
  )

  // Sessions carry the issuer that the provider calls itself, which is the configured one but for a trailing slash.
  registerSessionAdministration(
    app,
    sessions,
    () => provider.peek()?.configuration.serverMetadata().issuer ?? provider.settings.issuer,
  )
  return app
}
