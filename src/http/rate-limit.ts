import rateLimit from '@fastify/rate-limit'
import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest, onRequestHookHandler } from 'fastify'
import { LRUCache } from 'lru-cache'
import { clientNetwork } from '../config/address-ranges.ts'
import type { Config } from '../config/schema.ts'
import { Fault } from '../errors.ts'
import type { FindTokenOwner } from '../gate/bearer.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Count, Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Context } from './context.ts'

/** The hooks of the configured rate limits. A limit that is off has no hook. */
export type Limits = { readonly [name in keyof Config['rateLimit']]: onRequestHookHandler[] }

/** Finds the owner of the token of a request, as `FindTokenOwner` does. */
type OwnerOfToken = (context: Context, mayVerify: () => boolean) => ReturnType<FindTokenOwner>

/**
 * Creates the rate limits per client address. Their hooks throw `rate_limited` with Retry-After above the limit. Requests
 * to the application with a valid token are counted by its owner.
 */
export async function createLimits(
  app: FastifyInstance,
  settings: Config['rateLimit'],
  counts: Counts,
  ownerOfToken: OwnerOfToken,
): Promise<Limits> {
  await app.register(rateLimit, {
    global: false,
    store: storeOf(counts),
    keyGenerator: addressOf,
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
    if (limit === null) return []
    const options = { max: limit.max, timeWindow: limit.window, groupId: name }
    const byOwner = name === 'requests' ? { keyGenerator: countByOwner(ownerOfToken, limit) } : {}
    return [app.rateLimit({ ...options, ...byOwner })]
  }
  return { login: hooks('login'), callback: hooks('callback'), session: hooks('session'), requests: hooks('requests') }
}

/**
 * Returns a function that names the owner of a request's token, or the address. Once an address has sent as many invalid
 * tokens as it may send requests, no further token from there is verified until the window ends.
 */
function countByOwner(
  ownerOfToken: OwnerOfToken,
  { max, window }: { readonly max: number; readonly window: number },
): (request: FastifyRequest) => string | Promise<string> {
  const invalid = new LRUCache<string, { count: number; readonly endsAt: number }>({ max: MAX_NAMES })

  function countsOf(address: string) {
    const known = invalid.get(address)
    return known === undefined || known.endsAt <= performance.now() ? null : known
  }

  async function afterVerification(verification: Promise<string | null>, address: string): Promise<string> {
    try {
      const owner = await verification
      if (owner !== null) return owner
    } catch {
      // The decision on the request fails with the same error.
      return address
    }
    const counts = countsOf(address) ?? { count: 0, endsAt: performance.now() + window }
    counts.count += 1
    invalid.set(address, counts)
    return address
  }

  return (request) => {
    const address = addressOf(request)
    if (request.context === null) return address
    const owner = ownerOfToken(request.context, () => (countsOf(address)?.count ?? 0) < max)
    return owner instanceof Promise ? afterVerification(owner, address) : (owner ?? address)
  }
}

function addressOf({ context, ip }: FastifyRequest): string {
  const client = context?.facts.client
  // A proxy may report an address that cannot be read.
  return clientNetwork(client === undefined ? ip : client.address || client.peer)
}

export function hasLimits(settings: Config['rateLimit']): boolean {
  return Object.values(settings).some((limit) => limit !== null)
}

/**
 * Returns a function that logs that the address of a proxy counts as the address of all its clients. It logs once,
 * because any client can send X-Forwarded-For.
 */
export function createProxyWarning(log: Log): (peer: string) => void {
  let hasLogged = false
  return (peer) => {
    if (hasLogged) return
    hasLogged = true
    const sender = peer === '' ? 'the Unix socket' : peer
    log.warn(
      { event: 'proxy_not_trusted', ...(peer === '' ? {} : { peer }) },
      `X-Forwarded-For from ${sender} is ignored, so rateLimit counts all requests from there as one client; if a proxy ` +
        `sends them, ${peer === '' ? TRUST_THE_SOCKET : 'add its address to trustedProxies'}`,
    )
  }
}

/** On a Unix socket, clients have no address that a list could name. */
const TRUST_THE_SOCKET =
  'set trustedProxies to any address, such as [127.0.0.1], which trusts all clients of the socket'

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

/** Counts requests by name, in all processes together if the store is shared. */
export interface Counts {
  /** Increments a count. `window` is in ms. Never rejects: while the store cannot count, this process counts alone. */
  add(name: string, window: number): Promise<Count>
}

const MAX_NAMES = 20_000
const COUNT_TIMEOUT_MS = 250
/** The pause after the store has failed to count. */
const PAUSE_MS = 1_000

export function createCounts(store: Pick<Store, 'count'>): Counts {
  const localCounts = new LRUCache<string, { current: number; readonly endsAt: number }>({ max: MAX_NAMES })
  let pausedUntil = Number.NEGATIVE_INFINITY

  function addLocally(name: string, window: number, now: number): Count {
    const known = localCounts.get(name)
    const count = known === undefined || known.endsAt <= now ? { current: 0, endsAt: now + window } : known
    if (count !== known) localCounts.set(name, count)
    count.current += 1
    return { current: count.current, ttl: count.endsAt - now }
  }

  return {
    async add(name, window) {
      const now = performance.now()
      // This process always counts too, so that an outage of the store does not reset the count of an attacker.
      const local = addLocally(name, window, now)
      const pending = now < pausedUntil ? null : store.count(name, window)
      if (pending === null) return local
      // An error is not logged here, because the store logs its own errors.
      const shared = await withDeadline(
        pending.catch(() => null),
        COUNT_TIMEOUT_MS,
        () => null,
      )
      if (shared === null) pausedUntil = performance.now() + PAUSE_MS
      return shared ?? local
    },
  }
}
