/** What the tabs of one origin tell each other; the gateway's own pages say the first two. */
type Word =
  /** A frame has brought a session, or new tokens. */
  | 'renewed'
  /** The user has signed in in a window of its own. */
  | 'signed-in'
  /** The session has ended. */
  | 'ended'
  /** It may be ending just now: look for yourself. */
  | 'look'
  /** A page has met a session of that user's. */
  | `user ${string}`

/** The tabs' channel. */
export type Channel = {
  /** Tells all tabs, this one included. */
  readonly say: (word: Word) => void
  readonly listen: (listener: (word: Word) => void) => () => void
}

const WORDS = /^(?:renewed|signed-in|ended|look|user .+)$/
const isWord = (data: unknown): data is Word => typeof data === 'string' && WORDS.test(data)

/** Opens the channel that all tabs of this origin share. */
export const openChannel = (): Channel => {
  const channel = new BroadcastChannel('gatehouse')
  const listeners = new Set<(word: Word) => void>()
  const tell = (word: Word): void => {
    for (const listener of listeners) listener(word)
  }
  // An application may have a channel of that name, too.
  channel.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (isWord(data)) tell(data)
  }
  return {
    say: (word) => {
      channel.postMessage(word)
      tell(word)
    },
    listen: (listener) => {
      listeners.add(listener)
      return () => {
        listeners.delete(listener)
      }
    },
  }
}
