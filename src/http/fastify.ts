import { METHODS } from 'node:http'
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import { idOf } from './request-id.ts'
import { rewriteTarget } from './target.ts'

/**
 * A Fastify that routes every method but CONNECT, on the target as it was sent, and says nothing of requests by itself.
 */
export function createFastify({ publicUrl }: Pick<Config, 'publicUrl'>, log: Log): FastifyInstance {
  // Fastify's own lines (two a request, one an address) would only double ours.
  const quiet: FastifyBaseLogger = log.child({}, { level: 'warn' })
  const app: FastifyInstance = Fastify({
    loggerInstance: quiet,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: idOf,
    // The raw target is looked at before anything routes on it.
    rewriteUrl: (request) => rewriteTarget(request, publicUrl),
    routerOptions: { maxParamLength: 65_536 },
    exposeHeadRoutes: true,
  })
  // Every request gets the same log. What a `childLoggerFactory` gives, Fastify examines each time.
  Object.assign(app.log, { child: () => log })
  for (const method of METHODS) {
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  return app
}
