import type { StoreListener } from '../store.ts'

const BEAT_EVERY_MS = 200
/** A stretch without heartbeats that is longer may have cost a message. */
const GAP_MS = 700
/** So many heartbeats without one that comes back: the connections are no good. */
const MOST_UNANSWERED = 15

type Notice =
  | { readonly type: 'changed'; readonly id: string; readonly version: number; readonly from: string }
  | { readonly type: 'gone'; readonly id: string; readonly from: string }

/**
 * Knows how complete the notices of other processes are. A heartbeat that goes out through each master and comes back
 * over the subscription proves the whole way: Redis delivers in order, so everything that was published before it has
 * arrived. Whatever may have cost a message begins the proof anew.
 */
export interface Notices {
  /** What to publish with a change, so that this process's own listener skips it. */
  changed(id: string, version: number): string
  gone(id: string): string
  /** Takes in a message. */
  receive(message: string): void
  /** A message may have been lost. */
  doubt(): void
  /** See `Store.assuredUntil`. */
  assuredUntil(readAt: number): number
  /** Sends a heartbeat through each master now. */
  beat(): void
  /** Begins to send heartbeats all the time. */
  start(): void
  stop(): void
}

interface NoticesParts {
  /** Tells this process from others. */
  readonly self: string
  readonly listener: () => StoreListener | null
  readonly masters: () => readonly string[]
  readonly publish: (master: string, message: string) => Promise<unknown>
  /** The notices are complete again. */
  readonly onAssured: () => void
  /** Heartbeats go out, but none comes back. */
  readonly onSilence: () => void
  readonly clock?: () => number
}

interface Stretch {
  readonly from: number
  readonly to: number
}

const NO_TIME: Stretch = { from: Number.POSITIVE_INFINITY, to: Number.NEGATIVE_INFINITY }

/** Nothing is known yet. All times are ms of `clock`, which is never adjusted. */
export function createNotices({
  self,
  listener,
  masters,
  publish,
  onAssured,
  onSilence,
  clock = () => performance.now(),
}: NoticesParts): Notices {
  let timer: NodeJS.Timeout | null = null
  /** What the latest heartbeats went through. */
  let ways: readonly string[] = []
  /** When the latest heartbeat that has come back over each way was sent. */
  const heard = new Map<string, number>()
  const unanswered = new Map<string, number>()
  /** Since when nothing was lost; `null` while that is not known. */
  let since: number | null = null
  /** Until when everything has been told. */
  let until = Number.NEGATIVE_INFINITY
  /** The last stretch of time that is known to be complete. */
  let complete = NO_TIME

  function lose(): void {
    if (since !== null) complete = { from: since, to: until }
    since = null
    heard.clear()
  }

  function takeBeat(sentAt: number, way: string): void {
    // What is not of this clock's past was never sent.
    if (!ways.includes(way) || !(sentAt <= clock())) return
    const before = heard.get(way)
    if (before !== undefined && sentAt - before > GAP_MS) lose()
    heard.set(way, sentAt)
    unanswered.delete(way)
    if (ways.some((one) => !heard.has(one))) return
    until = Math.min(...heard.values())
    // Not when it was sent: the subscription may have begun between that and its way through Redis.
    if (since !== null) return
    since = clock()
    onAssured()
  }

  function beat(): void {
    const present = masters()
    if (present.length !== ways.length || present.some((way) => !ways.includes(way))) {
      lose()
      ways = [...present]
      unanswered.clear()
    }
    // A way that has been asked too often in vain.
    let silent = false
    for (const way of ways) {
      const count = (unanswered.get(way) ?? 0) + 1
      if (count > MOST_UNANSWERED) silent = true
      unanswered.set(way, count)
      publish(way, `beat ${clock()} ${way}`).catch(() => {
        // Its absence says it all.
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
        const [, sentAt, way = ''] = message.split(' ')
        takeBeat(Number(sentAt), way)
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
      if (since !== null && readAt >= since) return Math.max(readAt, until)
      return readAt >= complete.from ? Math.max(readAt, complete.to) : readAt
    },
    beat,
    start() {
      timer = setInterval(beat, BEAT_EVERY_MS).unref()
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
