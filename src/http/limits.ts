import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Fault } from '../errors.ts'

/** The configured rate limits as hooks; a limit that is off has none. */
export type Limits = { readonly [name in keyof Config['rateLimit']]: onRequestHookHandler[] }

const MAX_ADDRESSES = 10_000

/** Sets up the rate limits, counted per client address; who is over one gets 429 `rate_limited` with Retry-After. */
export async function createLimits(app: FastifyInstance, settings: Config['rateLimit']): Promise<Limits> {
  await app.register(rateLimit, {
    global: false,
    cache: MAX_ADDRESSES,
    keyGenerator: (request) => request.context?.facts.client.address ?? request.ip,
    addHeaders: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false, 'retry-after': false },
    addHeadersOnExceeding: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false },
    errorResponseBuilder: (_request, context) => new Fault('rate_limited', { retryAfter: Math.max(1, Math.ceil(context.ttl / 1000)) }),
  })
  const hooks = (limit: Config['rateLimit']['login']): onRequestHookHandler[] => (
    limit === null ? [] : [app.rateLimit({ max: limit.max, timeWindow: limit.window })]
  )
  return { login: hooks(settings.login), callback: hooks(settings.callback), session: hooks(settings.session), requests: hooks(settings.requests) }
}
