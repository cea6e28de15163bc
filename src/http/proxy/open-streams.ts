import { LRUCache } from 'lru-cache'
import { SlotList, type Slotted } from '../slot-list.ts'
import type { Session } from '../../session/session.ts'
import type { Sessions } from '../../session/sessions.ts'

export const STREAM_KINDS = ['event-stream', 'websocket', 'grpc'] as const

export type CloseReason = 'session-ended' | 'draining'

interface Stream {
  readonly kind: (typeof STREAM_KINDS)[number]
  readonly close: (reason: CloseReason) => void
}

export interface Streams {
  /** Registers a stream with its session, if it has one. Returns a function that removes it. */
  add(session: Session | null, stream: Stream): () => void
  /** Moves the streams of one session to another, because the same user has logged in again. */
  move(from: string, to: Session): void
  ownerOf(session: Session): Session
  /** Closes all streams, including those that are opened later. */
  drain(): void
  count(kind: string): number
}

/** How often the gateway checks whether sessions with streams have expired, or have ended without a notice. */
const CHECK_MS = 1_000
const MAX_MOVED = 10_000

interface OpenStream extends Stream, Slotted {}

interface Group {
  session: Session
  readonly streams: SlotList<OpenStream>
}

/** Creates the register of open streams, which closes them when their sessions end. */
export function createStreams(sessions: Pick<Sessions, 'load' | 'onEnd'>): Streams {
  const groups = new Map<string, Group>()
  const moved = new LRUCache<string, Session>({ max: MAX_MOVED })
  const unowned = new SlotList<OpenStream>()
  let draining = false

  function closeGroup(id: string, reason: CloseReason): void {
    const group = groups.get(id)
    groups.delete(id)
    for (const stream of group?.streams.takeAll() ?? []) stream.close(reason)
  }

  function ownerOf(session: Session): Session {
    const next = moved.get(session.id)
    return next === undefined ? session : ownerOf(next)
  }

  async function check({ session }: Group): Promise<void> {
    // The check is not user activity. If the store is unavailable, the next check tries again.
    if ((await sessions.load(session.ticket, Date.now())) === null) closeGroup(session.id, 'session-ended')
  }

  sessions.onEnd((id) => {
    closeGroup(id, 'session-ended')
  })
  const timer = setInterval(() => {
    for (const group of groups.values()) check(group).catch(() => {})
  }, CHECK_MS).unref()

  return {
    add(session, stream) {
      if (draining) {
        stream.close('draining')
        return () => {}
      }
      const open = { ...stream, slot: -1 }
      if (session === null) {
        unowned.add(open)
        return () => {
          unowned.remove(open)
        }
      }
      const owner = ownerOf(session)
      const group = groups.get(owner.id) ?? { session: owner, streams: new SlotList<OpenStream>() }
      group.streams.add(open)
      groups.set(owner.id, group)
      return () => {
        group.streams.remove(open)
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
      for (const stream of unowned.takeAll()) stream.close('draining')
    },
    count: (kind) =>
      [...unowned, ...[...groups.values()].flatMap(({ streams }) => [...streams])].filter(
        (stream) => stream.kind === kind,
      ).length,
  }
}
