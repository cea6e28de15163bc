import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { StoreLocation } from '../config/value-types/store.ts'
import type { Config } from '../config/schema.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { MemoryStore } from './memory.ts'
import type { Store } from './store.ts'

/**
 * Opens the configured store, which connects in the background. A reload may change the values of `settings`, but not
 * the kind of store.
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
  // The Redis client is loaded only if it is configured, because loading takes a tenth of a second.
  const [{ RedisStore }, { connectTo }] = await Promise.all([
    import('./redis/store.ts'),
    import('./redis/connections.ts'),
  ])
  return new RedisStore({
    connect: (onError) => connectTo(remote(settings), settings.redis)(onError),
    indexKeys: deriveIndexKeys(() => settings.keys),
    lifetime: () => settings.lifetime,
    log,
  })
}

function remote({ store }: Config['session']): Exclude<StoreLocation, { kind: 'memory' }> {
  if (store.kind === 'memory') throw new TypeError('the kind of store can’t change')
  return store
}

/** Derives the index keys from the session keys. Derives them again only if the session keys have changed. */
function deriveIndexKeys(keys: () => readonly Buffer[]): () => readonly KeyObject[] {
  let source: readonly Buffer[] = []
  let derived: readonly KeyObject[] = []
  return () => {
    if (source !== keys()) {
      source = keys()
      derived = source.map((key) => createSecretKey(Buffer.from(hkdfSync('sha256', key, '', 'gatehouse index', 32))))
    }
    return derived
  }
}

const OPERATIONS = [
  'read',
  'create',
  'replace',
  'relist',
  'touch',
  'remove',
  'find',
  'once',
  'mark',
  'marked',
  'lock',
  'unlock',
  'count',
  'ping',
] as const

function measured(store: Store, { storeSeconds }: Metrics, tracing: Tracing | null): Store {
  for (const operation of OPERATIONS) storeSeconds.zero({ operation, outcome: 'failed' })

  async function timed<T>(operation: (typeof OPERATIONS)[number], call: () => Promise<T>): Promise<T> {
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
    claimOnce: (value, ttl) => timed('once', () => store.claimOnce(value, ttl)),
    setNote: (name, note, ttl) => timed('mark', () => store.setNote(name, note, ttl)),
    getNote: (name) => timed('marked', () => store.getNote(name)),
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
