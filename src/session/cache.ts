import { LRUCache } from 'lru-cache'
import type { Session } from './session.ts'

/** How many opened sessions one process keeps. */
const MAX_SESSIONS = 20_000
/** How many ended ones it remembers. */
const MAX_REMEMBERED = 50_000
// By size, each entry being 1: told a `max`, the library makes room for all of them at once, which a start waits for.
const remembered = { maxSize: MAX_REMEMBERED, sizeCalculation: () => 1 }

/** A session that this process has opened, and when (ms of `performance.now`) it was last read from the store. */
export interface Kept {
  readonly session: Session
  readonly readAt: number
  /** Another process has written a newer version. */
  readonly outdated: boolean
}

/** The opened sessions of this process. An id that has ended never comes back: ids are used once. */
export interface SessionCache {
  get(id: string): Kept | null
  /** Keeps a session unless it has ended, or a newer version is known to be there: then it has to be read again. */
  keep(session: Session, readAt: number): void
  /** Another process has written this version. */
  noteChange(id: string, version: number): void
  /** Lets go of a session that goes on: it has to be read again. */
  drop(id: string): void
  /** Remembers an end; gives back the session where it was at hand. */
  end(id: string): Session | null
  hasEnded(id: string): boolean
}

/** An empty cache. */
export function createSessionCache(): SessionCache {
  const kept = new LRUCache<string, Kept>({ max: MAX_SESSIONS })
  const ended = new LRUCache<string, true>(remembered)
  const versions = new LRUCache<string, number>(remembered)

  return {
    get: (id) => kept.get(id) ?? null,
    keep(session, readAt) {
      if (ended.has(session.id) || (kept.get(session.id)?.session.version ?? 0) > session.version) return
      // The notice may have overtaken the answer of a read that began before it.
      kept.set(session.id, { session, readAt, outdated: (versions.get(session.id) ?? 0) > session.version })
    },
    noteChange(id, version) {
      versions.set(id, Math.max(version, versions.get(id) ?? 0))
      const known = kept.get(id)
      if (known !== undefined && known.session.version < version) kept.set(id, { ...known, outdated: true })
    },
    drop: (id) => {
      kept.delete(id)
    },
    end(id) {
      const known = kept.get(id)?.session ?? null
      ended.set(id, true)
      kept.delete(id)
      versions.delete(id)
      return known
    },
    hasEnded: (id) => ended.has(id),
  }
}
