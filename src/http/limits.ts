import rateLimit, { type FastifyRateLimitStore, type FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import type { Config } from '../config/schema.ts'
import { Fault } from '../errors.ts'
import type { Count } from '../store/store.ts'
import { countedAs, type Counts } from './counts.ts'

/** The configured rate limits as hooks; a limit that is off has none. */
export type Limits = { readonly [name in keyof Config['rateLimit']]: onRequestHookHandler[] }

/** Sets up the rate limits, counted per client address; who is over one gets 429 `rate_limited` with Retry-After. */
export async function createLimits(
  app: FastifyInstance,
  settings: Config['rateLimit'],
  counts: Counts,
): Promise<Limits> {
  await app.register(rateLimit, {
    global: false,
    store: storeOf(counts),
    keyGenerator: (request) => countedAs(request.context?.facts.client.address ?? request.ip),
    addHeaders: {
      'x-ratelimit-limit': false,
      'x-ratelimit-remaining': false,
      'x-ratelimit-reset': false,
      'retry-after': false,
    },
    addHeadersOnExceeding: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false },
    errorResponseBuilder: (_request, context) =>
      new Fault('rate_limited', { retryAfter: Math.max(1, Math.ceil(context.ttl / 1000)) }),
  })
  const hooks = (name: keyof Limits): onRequestHookHandler[] => {
    const limit = settings[name]
    return limit === null ? [] : [app.rateLimit({ max: limit.max, timeWindow: limit.window, groupId: name })]
  }
  return { login: hooks('login'), callback: hooks('callback'), session: hooks('session'), requests: hooks('requests') }
}

/** The plugin wants a class; each limit is a child with a name of its own. */
function storeOf(counts: Counts): FastifyRateLimitStoreCtor {
  return class LimitCounts implements FastifyRateLimitStore {
    readonly #limit: string

    constructor(options: object) {
      this.#limit = 'groupId' in options ? String(options.groupId) : ''
    }

    incr(address: string, callback: (error: null, count: Count) => void, window: number): void {
      const count = async (): Promise<void> => {
        callback(null, await counts.add(`${this.#limit} ${window} ${address}`, window))
      }
      void count()
    }

    child(options: object): FastifyRateLimitStore {
      return new LimitCounts(options)
    }
  }
}
