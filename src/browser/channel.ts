/** A message between the tabs of one origin. The gateway's own pages send the first two. */
type Message =
  /** A frame has obtained a session or new tokens. */
  | 'renewed'
  /** The user has signed in in a separate window. */
  | 'signed-in'
  /** The session has ended. */
  | 'ended'
  /** The session may be about to end, so each tab reads the session again. */
  | 'look'
  /** A page has read the session of this user. */
  | `user ${string}`

const MESSAGES = /^(?:renewed|signed-in|ended|look|user .+)$/

export interface Channel {
  /** Sends a message to all tabs, including this one. */
  post(message: Message): void
  /** Calls `listener` for each message. Returns a function that removes the listener. */
  listen(listener: (message: Message) => void): () => void
}

export function openChannel(): Channel {
  const channel = new BroadcastChannel('gatehouse')
  const listeners = new Set<(message: Message) => void>()
  const dispatch = (message: Message): void => {
    for (const listener of listeners) listener(message)
  }
  // The application may send its own messages on a channel with this name.
  channel.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (isMessage(data)) dispatch(data)
  }
  return {
    post(message) {
      channel.postMessage(message)
      dispatch(message)
    },
    listen(listener) {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
      }
    },
  }
}

function isMessage(data: unknown): data is Message {
  return typeof data === 'string' && MESSAGES.test(data)
}

/**
 * Runs `work` while holding the lock `name`, which tabs share. Without TLS, browsers have no locks, so `work` runs
 * without a lock.
 */
export function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  return 'locks' in navigator ? navigator.locks.request(`gatehouse:${name}`, work) : work()
}

/** Runs `work` unless another tab holds the lock `name`. */
export async function withLockIfFree(name: string, work: () => Promise<unknown>): Promise<void> {
  if (!('locks' in navigator)) await work()
  else
    await navigator.locks.request(`gatehouse:${name}`, { ifAvailable: true }, async (lock) => lock !== null && work())
}
