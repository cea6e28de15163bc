import type { StoreListener } from './store.ts'

const BEAT_EVERY_MS = 200
/** Without a heartbeat for so long the channel counts as cut. */
const SILENT_AFTER_MS = 700

type Notice =
  | { readonly type: 'changed', readonly id: string, readonly version: number, readonly from: string }
  | { readonly type: 'gone', readonly id: string, readonly from: string }

/**
 * Knows how complete the notifications of other processes are. A heartbeat that goes out to Redis and comes back over the
 * subscription proves the whole way; anything that may have cost a message begins the proof anew.
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
  listen(listener: StoreListener): void
  /** Begins to send heartbeats through `publish`. */
  start(publish: (message: string) => Promise<unknown>): void
  stop(): void
}

/** `self` tells this process from others. */
export function createNotices(self: string, clock: () => number = Date.now): Notices {
  let listener: StoreListener | null = null
  let timer: NodeJS.Timeout | null = null
  /** Since when nothing was lost; `null` while that is not known. */
  let since: number | null = null
  let doubtedAt = Number.NEGATIVE_INFINITY
  let heardAt = Number.NEGATIVE_INFINITY
  /** The last stretch of time that is known to be complete. */
  let complete = { from: Number.POSITIVE_INFINITY, to: Number.NEGATIVE_INFINITY }

  function lose(at: number): void {
    if (since !== null) complete = { from: since, to: heardAt }
    since = null
    doubtedAt = at
  }

  function beat(sentAt: number): void {
    if (since !== null && sentAt - heardAt > SILENT_AFTER_MS) lose(heardAt)
    if (sentAt <= doubtedAt) return
    heardAt = Math.max(heardAt, sentAt)
    since ??= sentAt
  }

  return {
    changed: (id, version) => JSON.stringify({ type: 'changed', id, version, from: self } satisfies Notice),
    gone: (id) => JSON.stringify({ type: 'gone', id, from: self } satisfies Notice),
    receive(message) {
      if (message.startsWith('beat ')) {
        beat(Number(message.slice('beat '.length)))
        return
      }
      const notice = readNotice(message)
      if (notice === null || notice.from === self) return
      if (notice.type === 'gone') listener?.gone(notice.id)
      else listener?.changed(notice.id, notice.version)
    },
    doubt: () => { lose(clock()) },
    assuredUntil(readAt) {
      if (since !== null && readAt >= since) return Math.max(readAt, heardAt)
      return readAt >= complete.from ? Math.max(readAt, complete.to) : readAt
    },
    listen: (theirs) => { listener = theirs },
    start(publish) {
      timer = setInterval(() => {
        publish(`beat ${clock()}`).catch(() => {
          // Its absence says it all.
        })
      }, BEAT_EVERY_MS).unref()
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
    return 'version' in value && typeof value.version === 'number' ? { type: 'changed', id: value.id, version: value.version, from } : null
  } catch {
    return null
  }
}
