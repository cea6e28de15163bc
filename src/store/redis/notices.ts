import type { StoreListener } from '../store.ts'

const BEAT_EVERY_MS = 200
/** In a longer gap between heartbeats, a message may have been lost. */
const GAP_MS = 700
/** After this many unanswered heartbeats, the connections count as broken. */
const MAX_UNANSWERED = 15

type Notice =
  | { readonly type: 'changed'; readonly id: string; readonly version: number; readonly from: string }
  | { readonly type: 'gone'; readonly id: string; readonly from: string }

/**
 * Tracks whether the notices of other processes are complete. A heartbeat goes out through each master and comes back
 * over the subscription. Redis delivers in order, so every message published before the heartbeat has arrived, too. A
 * possible loss of a message restarts the proof.
 */
export interface Notices {
  /** Returns the message for a change, marked so that this process ignores it. */
  changed(id: string, version: number): string
  /** Returns the message for the end of a session. */
  gone(id: string): string
  /** Handles a message from the subscription. */
  receive(message: string): void
  /** Records that a message may have been lost. */
  doubt(): void
  /** See `Store.assuredUntil`. */
  assuredUntil(readAt: number): number
  /** Sends a heartbeat through each master now. */
  beat(): void
  /** Starts to send heartbeats regularly. */
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

/** Creates the tracker. All times are ms of `clock`, which never jumps. */
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
  /** The masters that the latest heartbeats went through. */
  let routes: readonly string[] = []
  /** When the latest heartbeat to come back through each master was sent. */
  const heard = new Map<string, number>()
  const unanswered = new Map<string, number>()
  /** Since when no message was lost; `null` while that is unknown. */
  let since: number | null = null
  /** Until when the notices are complete. */
  let until = Number.NEGATIVE_INFINITY
  /** The last period that is known to be complete. */
  let complete = NO_TIME

  function lose(): void {
    if (since !== null) complete = { from: since, to: until }
    since = null
    heard.clear()
  }

  function takeBeat(sentAt: number, route: string): void {
    // This process has not sent a heartbeat from the future.
    if (!routes.includes(route) || !(sentAt <= clock())) return
    const before = heard.get(route)
    if (before !== undefined && sentAt - before > GAP_MS) lose()
    heard.set(route, sentAt)
    unanswered.delete(route)
    if (routes.some((one) => !heard.has(one))) return
    until = Math.min(...heard.values())
    // Not the time of sending: the subscription may have begun after that and before Redis delivered the heartbeat.
    if (since !== null) return
    since = clock()
    onAssured()
  }

  function beat(): void {
    const present = masters()
    if (present.length !== routes.length || present.some((route) => !routes.includes(route))) {
      lose()
      routes = [...present]
      unanswered.clear()
    }
    let silent = false
    for (const route of routes) {
      const count = (unanswered.get(route) ?? 0) + 1
      if (count > MAX_UNANSWERED) silent = true
      unanswered.set(route, count)
      publish(route, `beat ${clock()} ${route}`).catch(() => {
        // The missing heartbeat reports the failure.
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
