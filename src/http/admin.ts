import Fastify, { type FastifyInstance } from 'fastify'
import { Fault, causes, faults } from '../errors.ts'
import type { Provider } from '../oidc/provider.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { PROBLEM_TYPE, problem } from './problem.ts'
import { registerSessionAdministration } from './admin-sessions.ts'
import type { Readiness } from './readiness.ts'

interface AdminServices {
  readonly provider: Provider
  readonly sessions: Sessions
  readonly metrics: Metrics
  readonly readiness: () => Promise<Readiness>
  readonly log: Log
}

/** The second listener: the process's health and metrics, never on the public port. */
export function buildAdmin({ provider, sessions, metrics, readiness, log }: AdminServices): FastifyInstance {
  const app = Fastify({ logger: false })

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
  app.setErrorHandler((error, _request, reply) => {
    const { status, code, detail } = error instanceof Fault ? error : new Fault('internal_error', { cause: error })
    log[faults[code].level]({ event: code, listener: 'admin', cause: causes(error) }, code)
    return reply
      .code(status)
      .header('content-type', PROBLEM_TYPE)
      .send(problem({ status, code, detail, title: faults[code].title }))
  })

  return app
}
