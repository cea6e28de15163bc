import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { providersOf, type Config } from '../config/schema.ts'
import type { Answers } from './answers/send.ts'

/**
 * Returns the gateway's name in `Via`. Replicas have the same name. Gateways with the same client at the provider and
 * the same public URLs have different names if their upstreams differ.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.6.3
 */
export function viaNameOf(config: Config): string {
  const { publicUrl, basePath } = config
  const applications = config.routes.map(({ upstream }) => upstream)
  const clients = providersOf(config).flatMap(({ issuer, clientId }) => [issuer, clientId])
  const identity = JSON.stringify([...clients, publicUrl, basePath, applications])
  return `gatehouse-${createHash('sha256').update(identity).digest('hex').slice(0, 32)}`
}

export function denyLoops(app: FastifyInstance, name: string, answers: Answers): void {
  app.addHook('onRequest', (request, reply, done) => {
    if (request.headers.via?.includes(name) === true) answers.deny(request, reply, { reason: 'loop' })
    else done()
  })
}
