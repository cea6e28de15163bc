import { setTimeout as sleep } from 'node:timers/promises'
import { normalizeIP } from '@fastify/rate-limit'
import { LRUCache } from 'lru-cache'
import type { Count, Store } from '../store/store.ts'

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
      const counted = await Promise.race([everywhere.catch(() => null), sleep(COUNTED_WITHIN, null, { ref: false })])
      if (counted === null) pausedUntil = performance.now() + PAUSE
      return counted ?? here
    },
  }
}

/**
 * An address as it is counted: of IPv6 the first 64 bits, for who has one of them has them all (RFC 6177, section 2).
 */
export function countedAs(address: string): string {
  return normalizeIP(address)
}
