import type { Config } from '../config/schema.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { MemoryStore } from './memory.ts'
import type { Store } from './store.ts'

/** Opens the configured store. */
export function openStore({ store: location }: Pick<Config['session'], 'store'>, metrics: Metrics): Store {
  if (location.kind !== 'memory') throw new Error(`a store of kind ${location.kind} is not available yet`)
  const store = new MemoryStore(location.max, () => { metrics.storeEvictions.inc() })
  metrics.watchStore(() => store.size())
  return store
}
