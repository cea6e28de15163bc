import type { FastifyInstance } from 'fastify'
import { percentEncodeBytes } from '../bytes.ts'
import type { PublicOrigins } from '../gate/public-origins.ts'
import { contextOf } from './context.ts'

/**
 * Redirects every request to the same path and query at its public origin, before its body arrives. Status 308 keeps
 * method and body, so that a client does not turn a POST into a GET.
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-15.4.9
 */
export function registerHttpsRedirect(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    const context = contextOf(request)
    const { origin, path, query } = context.facts
    context.verdict = 'https_redirect'
    return reply.redirect(origin + percentEncodeBytes(path + query), 308)
  })
  app.all('*', () => {
    throw new Error('a request bypassed the redirect')
  })
}

/** Returns the public origins, found by the name in a Host header: the port is that of the listener without TLS. */
export function originsByName(origins: PublicOrigins): PublicOrigins {
  return { ...origins, find: (host) => origins.find(host.replace(/:\d*$/, '')) }
}
