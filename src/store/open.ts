import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { StoreLocation } from '../config/value-types/store.ts'
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
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
  const [{ RedisStore }, { connectTo }] = await Promise.all([
    import('./redis/store.ts'),
    import('./redis/connections.ts'),
  ])
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

/** The same store; each call is timed and, where there is tracing, has a span of its own. */
function measured(store: Store, { storeSeconds }: Metrics, tracing: Tracing | null): Store {
  async function timed<T>(operation: string, call: () => Promise<T>): Promise<T> {
    const stop = storeSeconds.startTimer({ operation })
    try {
      const reply = await (tracing === null
        ? call()
        : tracing.call(`store ${operation}`, { 'db.operation.name': operation }, call))
      stop({ outcome: 'ok' })
      return reply
    } catch (error) {
      stop({ outcome: 'failed' })
      throw error
    }
  }

  return {
    read: (id) => timed('read', () => store.read(id)),
    create: (id, record, owner, ttl) => timed('create', () => store.create(id, record, owner, ttl)),
    replace: (id, record, ttl) => timed('replace', () => store.replace(id, record, ttl)),
    relist: (id, owner) => timed('relist', () => store.relist(id, owner)),
    touch: (id, seenAt, ttl) => timed('touch', () => store.touch(id, seenAt, ttl)),
    remove: (id) => timed('remove', () => store.remove(id)),
    find: (criterion) => timed('find', () => store.find(criterion)),
    once: (value, ttl) => timed('once', () => store.once(value, ttl)),
    mark: (name, note, ttl) => timed('mark', () => store.mark(name, note, ttl)),
    marked: (name) => timed('marked', () => store.marked(name)),
    lock: (id, holder, ttl) => timed('lock', () => store.lock(id, holder, ttl)),
    unlock: (id, holder) => timed('unlock', () => store.unlock(id, holder)),
    count(name, window) {
      const counted = store.count(name, window)
      return counted === null ? null : timed('count', () => counted)
    },
    ping: () => timed('ping', () => store.ping()),
    size: () => store.size(),
    listen(listener) {
      store.listen(listener)
    },
    reconnect() {
      store.reconnect()
    },
    assuredUntil: (readAt) => store.assuredUntil(readAt),
    close: () => store.close(),
  }
}
