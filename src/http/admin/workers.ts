import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import { aggregateMetrics } from '../../telemetry/metrics.ts'
import type { Log } from '../../telemetry/log.ts'
import { LIVEZ, answerAsAdmin } from './answers.ts'
import { guardSessions, denyForeignHosts, type AdminSettings } from './guard.ts'

export interface AdminRequest {
  readonly method: 'GET' | 'DELETE'
  readonly url: string
  readonly authorization?: string
  readonly remoteAddress?: string
}

export interface AdminResponse {
  readonly status: number
  readonly type: string
  readonly body: string
}

interface ServingWorker {
  answer(request: AdminRequest): Promise<AdminResponse>
  /** Returns the metrics as prom-client's JSON. */
  metrics(): Promise<unknown>
}

interface WorkersAdminOptions {
  readonly settings: AdminSettings
  readonly log: Log
  readonly workers: () => readonly ServingWorker[]
  readonly isDraining: () => boolean
  readonly limits: Config['limits']
}

/** A worker that takes longer to respond counts as not ready. */
const ANSWER_TIMEOUT_MS = 5_000

export function buildWorkersAdmin({
  settings,
  log,
  workers,
  isDraining,
  limits,
}: WorkersAdminOptions): FastifyInstance {
  const app = Fastify({ logger: false })
  answerAsAdmin(app, log, limits)
  denyForeignHosts(app, settings, log)

  app.get('/livez', () => LIVEZ)

  app.get('/readyz', async (_request, reply) => {
    const answers = await Promise.all(
      workers().map(async (worker) => withTimeout(worker.answer({ method: 'GET', url: '/readyz' })).catch(() => null)),
    )
    const worst = answers.includes(null)
      ? null
      : (answers.find((answer) => answer?.status !== 200) ?? answers[0] ?? null)
    if (worst !== null && !(isDraining() && worst.status === 200)) return send(reply, worst)
    return reply
      .code(503)
      .send({ ready: false, checks: { provider: 'unavailable', store: 'unavailable', draining: isDraining() } })
  })

  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await aggregateMetrics(
      await Promise.all(workers().map(async (worker) => withTimeout(worker.metrics()).catch(() => []))),
    )
    return reply.header('content-type', contentType).send(text)
  })

  // Any worker can find and end a session, because workers share the store.
  void app.register(async (scope) => {
    guardSessions(scope, settings, log)
    for (const url of ['/sessions', '/sessions/:id']) {
      scope.route({
        url,
        method: ['GET', 'DELETE'],
        async handler({ method, url: requestUrl, headers, socket }, reply) {
          const [worker] = workers()
          if (worker === undefined) return reply.code(503).send()
          const answer = worker.answer({
            method: method === 'DELETE' ? 'DELETE' : 'GET',
            url: requestUrl,
            ...(headers.authorization === undefined ? {} : { authorization: headers.authorization }),
            ...(socket.remoteAddress === undefined ? {} : { remoteAddress: socket.remoteAddress }),
          })
          return send(reply, await withTimeout(answer))
        },
      })
    }
  })
  return app
}

function send(reply: FastifyReply, { status, type, body }: AdminResponse): FastifyReply {
  return reply
    .code(status)
    .header('content-type', type === '' ? 'text/plain' : type)
    .send(body)
}

async function withTimeout<T>(work: Promise<T>): Promise<T> {
  return withDeadline(work, ANSWER_TIMEOUT_MS, () => {
    throw new Error('a worker does not answer')
  })
}
