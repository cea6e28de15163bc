import { contextOf } from '../context.ts'
import type { Endpoint } from './endpoint.ts'

/** How long an application may cache the keys. */
const MAX_AGE_S = 300

/**
 * `GET jwks`: the public keys that verify the gateway's assertions, as a JWK Set.
 * @see https://www.rfc-editor.org/rfc/rfc7517#section-5
 */
export const jwks: Endpoint = ({ assertions }) => {
  const body = { keys: assertions?.publicKeys ?? [] }
  return (request, reply) => {
    contextOf(request).verdict = 'jwks'
    return reply.header('cache-control', `public, max-age=${MAX_AGE_S}`).send(body)
  }
}
