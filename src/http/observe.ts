import { performance } from 'node:perf_hooks'
import type { FastifyInstance } from 'fastify'
import { classify } from '../gate/classify.ts'
import type { Config } from '../config/schema.ts'
import type { Metrics } from '../telemetry/metrics.ts'

/** One access line and one count for each request, when its answer has ended. */
export function observe(app: FastifyInstance, config: Config, metrics: Metrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { context } = request
    const verdict = context?.verdict ?? 'refused'
    const route = context?.route?.label ?? '-'
    if (context !== null) {
      const kind = context.kind ?? classify(context.facts.method, context.facts.headers, config.scripts)
      metrics.countRequest(route, kind, verdict)
    }
    const line = {
      event: 'request',
      id: request.id,
      method: request.method,
      // Never the query: codes, states and other people's secrets travel there.
      path: context?.facts.path ?? '-',
      status: reply.raw.statusCode,
      verdict,
      route,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      client: context?.facts.client.address ?? request.socket.remoteAddress,
    }
    request.log.info(reply.raw.writableFinished || line.status === 101 ? line : { ...line, aborted: true })
    done()
  })
}

let count = 0
const born = Math.floor(performance.timeOrigin).toString(36)

/** An id for a request that people can quote: unique among the processes of a gateway and short. */
export function newRequestId(): string {
  count += 1
  return `${born}-${process.pid.toString(36)}-${count.toString(36)}`
}
