import { createSecretKey, hkdfSync } from 'node:crypto'
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { measured } from './measured.ts'
import { MemoryStore } from './memory.ts'
import type { Store } from './store.ts'

/** Opens the configured store. One that can't be reached yet is tried again until it can. */
export async function openStore(settings: Config['session'], log: Log, metrics: Metrics, tracing: Tracing | null): Promise<Store> {
  return measured(await open(settings, log, metrics), metrics, tracing)
}

async function open(settings: Config['session'], log: Log, metrics: Metrics): Promise<Store> {
  const { store: location } = settings
  if (location.kind === 'memory') {
    const store = new MemoryStore(location.max, () => { metrics.storeEvictions.inc() })
    metrics.watchStore(() => store.size())
    return store
  }
  // A tenth of a second of start-up that only those who use Redis should pay.
  const [{ RedisStore }, { connectTo }] = await Promise.all([import('./redis.ts'), import('./redis-connections.ts')])
  return new RedisStore({
    connect: connectTo(location, settings.redis),
    indexKeys: settings.keys.map((key) => createSecretKey(Buffer.from(hkdfSync('sha256', key, '', 'gatehouse index', 32)))),
    lifetime: settings.lifetime,
    log,
  })
}
