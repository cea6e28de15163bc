import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { StoreLocation } from '../config/kind-store.ts'
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { measured } from './measured.ts'
import { MemoryStore } from './memory.ts'
import type { Store } from './store.ts'

/**
 * Opens the configured store. One that can't be reached yet is tried again until it can. Where it is must not change
 * in `settings`; everything else there is read anew when it is needed.
 */
export async function openStore(
  settings: Config['session'],
  log: Log,
  metrics: Metrics,
  tracing: Tracing | null,
): Promise<Store> {
  return measured(await open(settings, log, metrics), metrics, tracing)
}

async function open(settings: Config['session'], log: Log, metrics: Metrics): Promise<Store> {
  if (settings.store.kind === 'memory') {
    const store = new MemoryStore(settings.store.max, () => {
      metrics.storeEvictions.inc()
    })
    metrics.watchStore(() => store.size())
    return store
  }
  // A tenth of a second of start-up that only those who use Redis should pay.
  const [{ RedisStore }, { connectTo }] = await Promise.all([import('./redis.ts'), import('./redis-connections.ts')])
  return new RedisStore({
    connect: (onError) => connectTo(remote(settings), settings.redis)(onError),
    indexKeys: derivedOnce(() => settings.keys),
    lifetime: () => settings.lifetime,
    log,
  })
}

function remote({ store }: Config['session']): Exclude<StoreLocation, { kind: 'memory' }> {
  if (store.kind === 'memory') throw new TypeError('the store can’t move')
  return store
}

/** Derived from the session keys each time those are others. */
function derivedOnce(keys: () => readonly Buffer[]): () => readonly KeyObject[] {
  let from: readonly Buffer[] = []
  let derived: readonly KeyObject[] = []
  return () => {
    if (from !== keys()) {
      from = keys()
      derived = from.map((key) => createSecretKey(Buffer.from(hkdfSync('sha256', key, '', 'gatehouse index', 32))))
    }
    return derived
  }
}
