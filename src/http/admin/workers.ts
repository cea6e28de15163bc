import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { Config } from '../../config/schema.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import { aggregate } from '../../telemetry/aggregate.ts'
import type { Log } from '../../telemetry/log.ts'
import { answerAsAdmin } from './answers.ts'
import { guardSessions, refuseForeignHosts, type AdminSettings } from './guard.ts'

/** A request that another process has let through; with the client's address and credentials. */
export interface Asked {
  readonly method: 'GET' | 'DELETE'
  readonly url: string
  readonly authorization?: string
  readonly remoteAddress?: string
}

/** What came of it. */
export interface Answered {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** One of the processes that serve. */
interface ServingWorker {
  /** What its own admin listener would answer. */
  answer(asked: Asked): Promise<Answered>
  /** Its metrics as prom-client's own JSON. */
  metrics(): Promise<unknown>
}

interface Parts {
  readonly settings: AdminSettings
  readonly log: Log
  /** Those that serve now. */
  readonly workers: () => readonly ServingWorker[]
  readonly isDraining: () => boolean
  readonly limits: Config['limits']
}

/** A worker that does not answer within this time is not ready, ms. */
const ANSWER_WITHIN = 5_000

/** The admin listener of a gateway with several processes: it answers for all of them. */
export function buildWorkersAdmin({ settings, log, workers, isDraining, limits }: Parts): FastifyInstance {
  const app = Fastify({ logger: false })
  answerAsAdmin(app, log, limits)
  refuseForeignHosts(app, settings)

  app.get('/livez', () => ({ alive: true }))

  app.get('/readyz', async (_request, reply) => {
    const answers = await Promise.all(
      workers().map(async (worker) => soon(worker.answer({ method: 'GET', url: '/readyz' })).catch(() => null)),
    )
    // The worst answer is everybody's.
    const worst = answers.includes(null)
      ? null
      : (answers.find((answer) => answer?.status !== 200) ?? answers[0] ?? null)
    if (worst !== null && !(isDraining() && worst.status === 200)) return send(reply, worst)
    return reply
      .code(503)
      .send({ ready: false, checks: { provider: 'unavailable', store: 'unavailable', draining: isDraining() } })
  })

  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await aggregate(
      await Promise.all(workers().map(async (worker) => soon(worker.metrics()).catch(() => []))),
    )
    return reply.header('content-type', contentType).send(text)
  })

  // Sessions are everybody's: any worker can find them and end them.
  void app.register(async (scope) => {
    guardSessions(scope, settings, log)
    for (const url of ['/sessions', '/sessions/:id']) {
      scope.route({
        url,
        method: ['GET', 'DELETE'],
        async handler({ method, url: asked, headers, socket }, reply) {
          const [worker] = workers()
          if (worker === undefined) return reply.code(503).send()
          const answer = worker.answer({
            method: method === 'DELETE' ? 'DELETE' : 'GET',
            url: asked,
            ...(headers.authorization === undefined ? {} : { authorization: headers.authorization }),
            ...(socket.remoteAddress === undefined ? {} : { remoteAddress: socket.remoteAddress }),
          })
          return send(reply, await soon(answer))
        },
      })
    }
  })
  return app
}

function send(reply: FastifyReply, { status, type, body }: Answered): FastifyReply {
  return reply
    .code(status)
    .header('content-type', type === '' ? 'text/plain' : type)
    .send(body)
}

async function soon<T>(work: Promise<T>): Promise<T> {
  return withDeadline(work, ANSWER_WITHIN, () => {
    throw new Error('a worker does not answer')
  })
}
