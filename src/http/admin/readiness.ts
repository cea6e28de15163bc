import type { Providers } from '../../oidc/providers.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import type { Store } from '../../store/store.ts'

export interface Readiness {
  readonly ready: boolean
  readonly checks: {
    readonly provider: 'ok' | 'unavailable'
    readonly store: 'ok' | 'unavailable'
    readonly draining: boolean
  }
}

interface ReadinessServices {
  readonly providers: Pick<Providers, 'all'>
  readonly store: Pick<Store, 'ping'>
  readonly isDraining: () => boolean
}

const STORE_TIMEOUT_MS = 2_000

/**
 * Creates the check for `/readyz`. The gateway is ready if the provider has been discovered, the store responds, and the
 * gateway is not draining. The check never rejects.
 */
export function createReadiness({ providers, store, isDraining }: ReadinessServices): () => Promise<Readiness> {
  return async () => {
    const draining = isDraining()
    const checks = {
      provider: providers.all.every((provider) => provider.peek() === null) ? 'unavailable' : 'ok',
      store: (await responds(store)) ? 'ok' : 'unavailable',
      draining,
    } as const
    return { ready: checks.provider === 'ok' && checks.store === 'ok' && !draining, checks }
  }
}

async function responds(store: Pick<Store, 'ping'>): Promise<boolean> {
  try {
    await withDeadline(store.ping(), STORE_TIMEOUT_MS, () => {
      throw new Error('the store does not answer')
    })
    return true
  } catch {
    return false
  }
}
