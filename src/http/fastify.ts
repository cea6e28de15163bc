import { METHODS } from 'node:http'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.ts'
import { idOf } from './request-id.ts'
import { rewriteTarget } from './target.ts'

/** Creates a Fastify that routes every method but CONNECT, on the target as it was sent, and logs nothing by itself. */
export function createFastify({ publicUrl }: Pick<Config, 'publicUrl'>): FastifyInstance {
  const app: FastifyInstance = Fastify({
    // With a logger, Fastify listens for the end of each answer and makes a child logger for each request. `observe`
    // gives requests their log instead.
    logger: false,
    genReqId: idOf,
    // The raw target is checked before anything routes on it.
    rewriteUrl: (request) => rewriteTarget(request, publicUrl),
    routerOptions: { maxParamLength: 65_536 },
    exposeHeadRoutes: true,
  })
  for (const method of METHODS) {
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  return app
}
