/** What the tabs of one origin tell each other. */
type Word =
  /** There is a session again. */
  | 'renewed'
  /** The session has been ended. */
  | 'ended'
  /** It may be ending just now: look for yourself. */
  | 'look'

/** The tabs' channel; words reach the other tabs only. */
export type Channel = { readonly say: (word: Word) => void, readonly listen: (listener: (word: Word) => void) => () => void }

/** Opens the channel that all tabs of this origin share. */
export const openChannel = (): Channel => {
  const channel = new BroadcastChannel('gatehouse')
  return {
    say: (word) => { channel.postMessage(word) },
    listen: (listener) => {
      const heard = ({ data }: MessageEvent): void => {
        if (data === 'renewed' || data === 'ended' || data === 'look') listener(data)
      }
      channel.addEventListener('message', heard)
      return () => { channel.removeEventListener('message', heard) }
    },
  }
}
