import type { FastifyInstance } from 'fastify'
import { Fault } from '../errors.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import type { FactReader } from './facts.ts'
import { isLastOnConnection } from './last-on-connection.ts'
import { closeInStages, hasBody } from './staged-close.ts'

/** Gives each request its context before anything else happens to it; refuses the methods that never pass. */
export function giveContext(app: FastifyInstance, facts: FactReader, tracing: Tracing | null): void {
  app.decorateRequest('context', null)
  app.addHook('onRequest', (request, reply, done) => {
    if (hasBody(request.raw)) closeInStages(request.raw)
    if (isLastOnConnection(request.raw)) reply.raw.shouldKeepAlive = false
    const read = facts.read(request.raw)
    const trace = tracing === null ? null : tracing.begin(read.method, read.headers)
    request.context = {
      now: Date.now(),
      facts: read,
      kind: null,
      route: null,
      session: null,
      verdict: 'none',
      waited: 0,
      trace,
    }
    if (read.method === 'TRACE' || read.method === 'TRACK') throw new Fault('method_not_allowed')
    if (trace === null) done()
    else trace.within(done)
  })
}
