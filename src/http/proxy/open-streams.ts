import { LRUCache } from 'lru-cache'
import type { Session } from '../../session/session.ts'
import type { Sessions } from '../../session/sessions.ts'

/** What can stay open. */
export const STREAM_KINDS = ['event-stream', 'websocket'] as const

/** Why a stream is closed by the gateway. */
export type CloseReason = 'session-ended' | 'draining'

/** A connection that stays open: an event stream or a WebSocket. */
interface Stream {
  readonly kind: (typeof STREAM_KINDS)[number]
  readonly close: (reason: CloseReason) => void
}

/** Who is open, by session. */
export interface Streams {
  /** Registers a stream of a session, or of nobody; returns how to take it out again. */
  add(session: Session | null, stream: Stream): () => void
  /** The streams of one session are another's from now on: the same user has logged in anew. */
  move(from: string, to: Session): void
  /** The session that a stream belongs to by now. */
  ownerOf(session: Session): Session
  /** Closes all, and from now on whatever opens still. */
  drain(): void
  /** How many are open, by kind. */
  count(kind: string): number
}

/** An end by the clock, or one that no notice tells, is found this soon, ms. */
const LOOK_EVERY = 1_000
const MAX_MOVED = 10_000

interface Group {
  session: Session
  readonly streams: Set<Stream>
}

/** Closes the streams of sessions as they end. */
export function createStreams(sessions: Pick<Sessions, 'load' | 'onEnd'>): Streams {
  const groups = new Map<string, Group>()
  const moved = new LRUCache<string, Session>({ max: MAX_MOVED })
  const unowned = new Set<Stream>()
  let draining = false

  function closeGroup(id: string, reason: CloseReason): void {
    const group = groups.get(id)
    groups.delete(id)
    for (const stream of group?.streams ?? []) stream.close(reason)
  }

  function ownerOf(session: Session): Session {
    const next = moved.get(session.id)
    return next === undefined ? session : ownerOf(next)
  }

  async function look({ session }: Group): Promise<void> {
    // Looking is no activity. A store that can't be asked says nothing: the next look may.
    if ((await sessions.load(session.ticket, Date.now())) === null) closeGroup(session.id, 'session-ended')
  }

  sessions.onEnd((id) => {
    closeGroup(id, 'session-ended')
  })
  const timer = setInterval(() => {
    for (const group of groups.values()) look(group).catch(() => {})
  }, LOOK_EVERY).unref()

  return {
    add(session, stream) {
      if (draining) {
        stream.close('draining')
        return () => {}
      }
      if (session === null) {
        unowned.add(stream)
        return () => {
          unowned.delete(stream)
        }
      }
      const owner = ownerOf(session)
      const group = groups.get(owner.id) ?? { session: owner, streams: new Set<Stream>() }
      group.streams.add(stream)
      groups.set(owner.id, group)
      return () => {
        group.streams.delete(stream)
        if (group.streams.size === 0 && groups.get(group.session.id) === group) groups.delete(group.session.id)
      }
    },
    move(from, to) {
      moved.set(from, to)
      const group = groups.get(from)
      if (group === undefined) return
      groups.delete(from)
      group.session = to
      groups.set(to.id, group)
    },
    ownerOf,
    drain() {
      draining = true
      clearInterval(timer)
      for (const id of groups.keys()) closeGroup(id, 'draining')
      for (const stream of unowned) stream.close('draining')
      unowned.clear()
    },
    count: (kind) =>
      [...unowned, ...[...groups.values()].flatMap(({ streams }) => [...streams])].filter(
        (stream) => stream.kind === kind,
      ).length,
  }
}
