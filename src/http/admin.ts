import Fastify, { type FastifyInstance } from 'fastify'
import { Fault, faults } from '../errors.ts'
import type { Provider } from '../oidc/provider.ts'
import type { Store } from '../store/store.ts'
import type { Sessions } from '../session/sessions.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { registerSessionAdministration } from './admin-sessions.ts'

interface AdminServices {
  readonly provider: Provider
  readonly store: Store
  readonly sessions: Sessions
  readonly metrics: Metrics
  readonly isDraining: () => boolean
}

const STORE_CHECK_MS = 2_000

/** The second listener: the process's health and metrics, never on the public port. */
export function buildAdmin({ provider, store, sessions, metrics, isDraining }: AdminServices): FastifyInstance {
  const app = Fastify({ logger: false })

  app.get('/livez', () => ({ alive: true }))

  app.get('/readyz', async (_request, reply) => {
    const draining = isDraining()
    const checks = { provider: provider.peek() === null ? 'unavailable' : 'ok', store: await answers(store) ? 'ok' : 'unavailable', draining }
    const ready = checks.provider === 'ok' && checks.store === 'ok' && !draining
    return reply.code(ready ? 200 : 503).send({ ready, checks })
  })

  app.get('/metrics', async (_request, reply) => reply.header('content-type', metrics.registry.contentType).send(await metrics.registry.metrics()))

  // Sessions carry the issuer that the provider calls itself, which is the configured one but for a trailing slash.
  registerSessionAdministration(app, sessions, () => provider.peek()?.configuration.serverMetadata().issuer ?? provider.settings.issuer)
  app.setErrorHandler((error, _request, reply) => {
    const { status, code, detail } = error instanceof Fault ? error : new Fault('internal_error', { cause: error })
    return reply.code(status).header('content-type', 'application/problem+json').send(JSON.stringify({
      type: 'about:blank', title: faults[code].title, status, code, detail,
    }))
  })

  return app
}

async function answers(store: Store): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => { timer = setTimeout(() => { resolve(false) }, STORE_CHECK_MS) })
  try {
    return await Promise.race([store.ping().then(() => true, () => false), late])
  } finally {
    clearTimeout(timer)
  }
}
