import type { StoreListener } from '../store.ts'

const BEAT_INTERVAL_MS = 200
/** A longer gap between heartbeats means that a message may have been lost. */
const MAX_GAP_MS = 700
/** The connections have failed after this many unanswered heartbeats. */
const MAX_UNANSWERED = 15

type Notice =
  | { readonly type: 'changed'; readonly id: string; readonly version: number; readonly from: string }
  | { readonly type: 'gone'; readonly id: string; readonly from: string }

/**
 * Tracks whether the notices of other processes are complete. This process publishes heartbeats through each master and
 * receives them through its subscription. Redis delivers messages in order, so every message published before a received
 * heartbeat has arrived as well. After a possible loss, the tracking starts again.
 */
export interface Notices {
  /** Returns the message for a change. This process ignores its own messages. */
  changed(id: string, version: number): string
  gone(id: string): string
  receive(message: string): void
  /** Records that a message may have been lost. */
  doubt(): void
  assuredUntil(readAt: number): number
  beat(): void
  start(): void
  stop(): void
}

interface NoticesOptions {
  /** Identifies this process. */
  readonly self: string
  readonly listener: () => StoreListener | null
  readonly masters: () => readonly string[]
  readonly publish: (master: string, message: string) => Promise<unknown>
  /** The notices are complete again. */
  readonly onAssured: () => void
  /** Heartbeats do not come back. */
  readonly onSilence: () => void
  readonly clock?: () => number
}

interface Period {
  readonly from: number
  readonly to: number
}

const NO_TIME: Period = { from: Number.POSITIVE_INFINITY, to: Number.NEGATIVE_INFINITY }

/** Creates the tracker. All times are in ms of `clock`, which must be monotonic. */
export function createNotices({
  self,
  listener,
  masters,
  publish,
  onAssured,
  onSilence,
  clock = () => performance.now(),
}: NoticesOptions): Notices {
  let timer: NodeJS.Timeout | null = null
  /** The masters through which the latest heartbeats were sent. */
  let routes: readonly string[] = []
  /** The time at which the latest received heartbeat was sent, by master. */
  const receivedBeats = new Map<string, number>()
  const unanswered = new Map<string, number>()
  /** The start of the current period without a loss, or `null` while the notices may be incomplete. */
  let completeFrom: number | null = null
  /** The time up to which the notices are complete. */
  let completeTo = Number.NEGATIVE_INFINITY
  let lastComplete = NO_TIME

  function lose(): void {
    if (completeFrom !== null) lastComplete = { from: completeFrom, to: completeTo }
    completeFrom = null
    receivedBeats.clear()
  }

  function takeBeat(sentAt: number, route: string): void {
    // Ignores a forged heartbeat from the future.
    if (!routes.includes(route) || !(sentAt <= clock())) return
    const before = receivedBeats.get(route)
    if (before !== undefined && sentAt - before > MAX_GAP_MS) lose()
    receivedBeats.set(route, sentAt)
    unanswered.delete(route)
    if (routes.some((one) => !receivedBeats.has(one))) return
    completeTo = Math.min(...receivedBeats.values())
    if (completeFrom !== null) return
    // Uses the current time instead of `sentAt`, because the subscription may have begun after `sentAt`.
    completeFrom = clock()
    onAssured()
  }

  function beat(): void {
    const current = masters()
    if (current.length !== routes.length || current.some((route) => !routes.includes(route))) {
      lose()
      routes = [...current]
      unanswered.clear()
    }
    let silent = false
    for (const route of routes) {
      const count = (unanswered.get(route) ?? 0) + 1
      if (count > MAX_UNANSWERED) silent = true
      unanswered.set(route, count)
      publish(route, `beat ${clock()} ${route}`).catch(() => {
        // `beat` has already counted this heartbeat as unanswered.
      })
    }
    if (!silent) return
    unanswered.clear()
    onSilence()
  }

  return {
    changed: (id, version) => JSON.stringify({ type: 'changed', id, version, from: self } satisfies Notice),
    gone: (id) => JSON.stringify({ type: 'gone', id, from: self } satisfies Notice),
    receive(message) {
      if (message.startsWith('beat ')) {
        const [, sentAt, route = ''] = message.split(' ')
        takeBeat(Number(sentAt), route)
        return
      }
      const notice = readNotice(message)
      if (notice === null || notice.from === self) return
      if (notice.type === 'gone') listener()?.gone(notice.id)
      else listener()?.changed(notice.id, notice.version)
    },
    doubt: () => {
      lose()
    },
    assuredUntil(readAt) {
      if (completeFrom !== null && readAt >= completeFrom) return Math.max(readAt, completeTo)
      return readAt >= lastComplete.from ? Math.max(readAt, lastComplete.to) : readAt
    },
    beat,
    start() {
      timer = setInterval(beat, BEAT_INTERVAL_MS).unref()
    },
    stop() {
      if (timer !== null) clearInterval(timer)
    },
  }
}

function readNotice(message: string): Notice | null {
  try {
    const value: unknown = JSON.parse(message)
    if (typeof value !== 'object' || value === null || !('id' in value) || typeof value.id !== 'string') return null
    const from = 'from' in value && typeof value.from === 'string' ? value.from : ''
    if ('type' in value && value.type === 'gone') return { type: 'gone', id: value.id, from }
    return 'version' in value && typeof value.version === 'number'
      ? { type: 'changed', id: value.id, version: value.version, from }
      : null
  } catch {
    return null
  }
}
