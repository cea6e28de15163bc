import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import type { Store } from './store.ts'

/** The same store; each call is timed and, where there is tracing, has a span of its own. */
export function measured(store: Store, { storeSeconds }: Metrics, tracing: Tracing | null): Store {
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
