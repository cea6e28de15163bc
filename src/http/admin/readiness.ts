import type { Provider } from '../../oidc/provider.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import type { Store } from '../../store/store.ts'

/** Whether this gateway can serve, and what keeps it from that. */
export interface Readiness {
  readonly ready: boolean
  readonly checks: {
    readonly provider: 'ok' | 'unavailable'
    readonly store: 'ok' | 'unavailable'
    readonly draining: boolean
  }
}

interface Parts {
  readonly provider: Pick<Provider, 'peek'>
  readonly store: Pick<Store, 'ping'>
  readonly isDraining: () => boolean
}

/** How long the store may take to answer, ms. */
const STORE_WITHIN = 2_000

/** Makes the check behind `/readyz`: provider discovered once, store answering, not draining. Never rejects. */
export function createReadiness({ provider, store, isDraining }: Parts): () => Promise<Readiness> {
  return async () => {
    const draining = isDraining()
    const checks = {
      provider: provider.peek() === null ? 'unavailable' : 'ok',
      store: (await answers(store)) ? 'ok' : 'unavailable',
      draining,
    } as const
    return { ready: checks.provider === 'ok' && checks.store === 'ok' && !draining, checks }
  }
}

async function answers(store: Parts['store']): Promise<boolean> {
  try {
    await withDeadline(store.ping(), STORE_WITHIN, () => {
      throw new Error('the store does not answer')
    })
    return true
  } catch {
    return false
  }
}
