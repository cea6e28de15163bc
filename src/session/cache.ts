import { LRUCache } from 'lru-cache'
import type { Session } from './session.ts'

const MAX_SESSIONS = 20_000
/** How many ended sessions one process remembers. */
const MAX_REMEMBERED = 50_000
// With the option `max`, the library allocates memory for all entries in advance, which slows the start of the
// process. With `maxSize`, the library allocates nothing in advance.
const REMEMBERED = { maxSize: MAX_REMEMBERED, sizeCalculation: () => 1 }

export interface Cached {
  readonly session: Session
  /** When the session was last read from the store, in ms of `performance.now`. */
  readonly readAt: number
  /** Another process has written a newer version. */
  readonly outdated: boolean
}

/** The opened sessions of this process. An ended session is never cached again, because ids are not reused. */
export interface SessionCache {
  get(id: string): Cached | null
  /** Caches a session, unless it has ended or the cache has a newer version. */
  keep(session: Session, readAt: number): void
  noteChange(id: string, version: number): void
  /** Drops a session that has not ended, so that it is read again. */
  drop(id: string): void
  end(id: string): void
  hasEnded(id: string): boolean
  sessions(): Iterable<Session>
}

export function createSessionCache(): SessionCache {
  const cached = new LRUCache<string, Cached>({ max: MAX_SESSIONS })
  const ended = new LRUCache<string, true>(REMEMBERED)
  const versions = new LRUCache<string, number>(REMEMBERED)

  return {
    get: (id) => cached.get(id) ?? null,
    keep(session, readAt) {
      if (ended.has(session.id) || (cached.get(session.id)?.session.version ?? 0) > session.version) return
      // The notice of a change may arrive before the reply to an earlier read.
      cached.set(session.id, { session, readAt, outdated: (versions.get(session.id) ?? 0) > session.version })
    },
    noteChange(id, version) {
      versions.set(id, Math.max(version, versions.get(id) ?? 0))
      const known = cached.get(id)
      if (known !== undefined && known.session.version < version) cached.set(id, { ...known, outdated: true })
    },
    drop: (id) => {
      cached.delete(id)
    },
    end(id) {
      ended.set(id, true)
      cached.delete(id)
      versions.delete(id)
    },
    hasEnded: (id) => ended.has(id),
    *sessions() {
      for (const { session } of cached.values()) yield session
    },
  }
}
