import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Fault } from '../errors.ts'

/**
 * The name of a gateway in Via (RFC 9110, section 7.6.3): the same for its replicas, and no other gateway's, since two
 * that have the same client at the provider for the same public URLs do not pass requests to the same applications.
 */
export function viaNameOf({ provider, publicUrl, basePath, routes }: Config): string {
  const applications = routes.map(({ upstream }) => upstream)
  const identity = JSON.stringify([provider.issuer, provider.clientId, publicUrl, basePath, applications])
  return `gatehouse-${createHash('sha256').update(identity).digest('hex').slice(0, 32)}`
}

/** Refuses requests that have been through this gateway already: an upstream of its own leads back here. */
export function refuseLoops(app: FastifyInstance, name: string): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const { via } = request.headers
    if (via?.includes(name) !== true) done()
    else
      done(
        new Fault('upstream_unreachable', {
          status: 508,
          detail: 'This request came back to the gateway that had passed it on.',
          cause: new Error('a loop: an upstream leads back to this gateway'),
        }),
      )
  })
}
