import rateLimit from '@fastify/rate-limit'
import { type FastifyRateLimitStore, type FastifyRateLimitStoreCtor, normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, onRequestHookHandler } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { Config } from '../config/schema.ts'
import { Fault } from '../errors.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Count, Store } from '../store/store.ts'

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

/** Counts what addresses ask for, together with all other processes where the store is shared. */
export interface Counts {
  /** One more under this name; `window` in ms. Never rejects: what the store can't count now, this process does. */
  add(name: string, window: number): Promise<Count>
}

/** How many addresses one process remembers. */
const MAX_NAMES = 20_000
/** How long a request waits for the store to count it, ms. */
const COUNTED_WITHIN = 250
/** After the store has failed to count, it is not asked again for this long, ms. */
const PAUSE = 1_000

/** Nobody has asked yet. */
export function createCounts(store: Pick<Store, 'count'>): Counts {
  const own = new LRUCache<string, { current: number; readonly endsAt: number }>({ max: MAX_NAMES })
  let pausedUntil = Number.NEGATIVE_INFINITY

  function addHere(name: string, window: number, now: number): Count {
    const known = own.get(name)
    const one = known === undefined || known.endsAt <= now ? { current: 0, endsAt: now + window } : known
    if (one !== known) own.set(name, one)
    one.current += 1
    return { current: one.current, ttl: one.endsAt - now }
  }

  return {
    async add(name, window) {
      const now = performance.now()
      // Counted here in any case: an attack must not have a fresh start with every outage.
      const here = addHere(name, window, now)
      const everywhere = now < pausedUntil ? null : store.count(name, window)
      if (everywhere === null) return here
      // Why the store can't, it has told itself.
      const counted = await withDeadline(
        everywhere.catch(() => null),
        COUNTED_WITHIN,
        () => null,
      )
      if (counted === null) pausedUntil = performance.now() + PAUSE
      return counted ?? here
    },
  }
}

/**
 * An address as it is counted: of IPv6 the first 64 bits, for who has one of them has them all (RFC 6177, section 2).
 */
function countedAs(address: string): string {
  return normalizeIP(address)
}
