import { createHash } from 'node:crypto'
import { Fault } from '../errors.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Store } from '../store/store.ts'
import { NONCE_MS } from './dpop-nonces.ts'

/** The proofs that were used while their nonces are accepted. */
export interface UsedProofs {
  /**
   * Returns `true` for the first use of a proof. Rejects with `store_unavailable` if the store has been unavailable for
   * longer than `outageGrace`.
   */
  markUsed(name: string, now: number): Promise<boolean>
}

/** A nonce is accepted in three periods: the one before its own, its own, and the next. */
const REMEMBERED_MS = 3 * NONCE_MS
const MAX_REMEMBERED = 100_000
const STORE_TIMEOUT_MS = 700
/** The pause after the store has failed. */
const PAUSE_MS = 500

function unavailable(): never {
  throw new Fault('store_unavailable')
}

/**
 * Creates the memory of used proofs: this process's own, and the store's if replicas share it. While the store is
 * unavailable, this process's own memory decides for `outageGrace`. It keeps at least the last `max` proofs.
 */
export function createUsedProofs(
  store: Pick<Store, 'claimOnce' | 'size' | 'assuredUntil'>,
  settings: { readonly outageGrace: number },
  max = MAX_REMEMBERED,
): UsedProofs {
  const isShared = store.size() === null
  // Each set is dropped as a whole, so that expired entries need no timers.
  let recent = new Set<string>()
  let earlier = new Set<string>()
  let begunAt = 0
  let storedAt = performance.now()
  let pausedUntil = Number.NEGATIVE_INFINITY

  function isFirst(id: string, now: number): boolean {
    if (Math.abs(now - begunAt) >= REMEMBERED_MS || recent.size >= max)
      [earlier, recent, begunAt] = [recent, new Set(), now]
    if (recent.has(id) || earlier.has(id)) return false
    recent.add(id)
    return true
  }

  async function markInStore(id: string): Promise<boolean> {
    if (performance.now() < pausedUntil) unavailable()
    try {
      const first = await withDeadline(store.claimOnce(`DPoP ${id}`, REMEMBERED_MS), STORE_TIMEOUT_MS, unavailable)
      storedAt = performance.now()
      return first
    } catch (error) {
      pausedUntil = performance.now() + PAUSE_MS
      throw error
    }
  }

  return {
    async markUsed(name, now) {
      const id = createHash('sha256').update(name).digest('base64url').slice(0, 22)
      if (!isFirst(id, now)) return false
      if (!isShared) return true
      try {
        return await markInStore(id)
      } catch (error) {
        if (performance.now() - store.assuredUntil(storedAt) >= settings.outageGrace) throw error
        return true
      }
    },
  }
}
