import { METHODS } from 'node:http'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { PublicOrigins } from '../gate/public-origins.ts'
import { idOf } from './request-id.ts'
import { rewriteTarget } from './target.ts'

/** Creates a Fastify instance that routes every method except CONNECT by the raw target, and does not log. */
export function createFastify(origins: Pick<PublicOrigins, 'find'>): FastifyInstance {
  const app: FastifyInstance = Fastify({
    // With a logger, Fastify would add listeners and a child logger to each request. `observe` logs requests instead.
    logger: false,
    genReqId: idOf,
    // Checks the raw target before Fastify uses it for routing.
    rewriteUrl: (request) => rewriteTarget(request, origins),
    routerOptions: { maxParamLength: 65_536 },
    exposeHeadRoutes: true,
  })
  for (const method of METHODS) {
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  return app
}
