import type { Duplex } from 'node:stream'
import { watchIdleReaders } from '../idle-readers.ts'
import { closeFrame, trackFrames } from './websocket-frames.ts'

/** Two ends of an upgraded connection. */
interface Joint {
  readonly client: Duplex
  readonly upstream: Duplex
  /** A message of the client's has begun. */
  readonly onMessage: () => void
  readonly onClosed: () => void
  /** How long either end may take nothing of what waits for it, ms; the client's is watched by the listener. */
  readonly idleRead: number
}

/** How long the client may take to say goodbye, ms. */
const GOODBYE = 1_000

/** How long what one end said last may take to reach the other, ms. */
const LAST_WORDS = 10_000

/**
 * The head of the answer that switches protocols (RFC 9110, section 15.2.2), with the upstream's own headers and status
 * text, one character a byte.
 */
export function switchingHead(headers: readonly string[], protocol: string, phrase: string): string {
  const lines: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i] ?? ''}: ${headers[i + 1] ?? ''}`)
  return [`HTTP/1.1 101 ${phrase}`, 'Connection: Upgrade', `Upgrade: ${protocol}`, ...lines, '', ''].join('\r\n')
}

/**
 * Joins both ends, byte for byte and with back-pressure; a side that has ended leaves the other direction open. Returns
 * how to close the connection with a code of RFC 6455, section 7.4, behind the frame that the upstream is sending.
 */
export function join({ client, upstream, onMessage, onClosed, idleRead }: Joint): (code: number) => void {
  const [fromClient, fromUpstream] = [trackFrames(), trackFrames()]
  let closing: number | null = null
  let closed = false
  let watching: NodeJS.Timeout | undefined

  const cut = (): void => {
    if (closed) return
    closed = true
    clearInterval(watching)
    client.destroy()
    upstream.destroy()
    onClosed()
  }
  const sayGoodbye = (code: number): void => {
    upstream.pause()
    client.end(closeFrame(code, false))
    // In the middle of the client's frame it would be taken for a part of it.
    upstream.end(fromClient.atBoundary() ? closeFrame(code, true) : undefined)
  }

  client.on('data', (chunk: Buffer) => {
    if (closing !== null || upstream.destroyed) return
    if (fromClient.push(chunk).messages > 0) onMessage()
    if (upstream.write(chunk)) return
    client.pause()
    // A client that is not read does not tell that it has gone.
    watching ??= watchIdleReaders([upstream], idleRead, cut)
  })
  upstream.on('drain', () => {
    clearInterval(watching)
    watching = undefined
    client.resume()
  })
  upstream.on('data', (chunk: Buffer) => {
    if (client.destroyed || client.writableEnded) return
    const { boundary } = fromUpstream.push(chunk)
    if (closing !== null && boundary !== -1) {
      client.write(chunk.subarray(0, boundary))
      sayGoodbye(closing)
    } else if (!client.write(chunk)) {
      upstream.pause()
    }
  })
  client.on('drain', () => {
    upstream.resume()
  })
  client.on('end', () => {
    upstream.end()
  })
  upstream.on('end', () => {
    client.end()
  })
  // What an end that has gone has said before still has to reach the other.
  const left = (other: Duplex) => (): void => {
    if (closing !== null || other.destroyed) {
      cut()
      return
    }
    other.end()
    // Its remaining data is discarded: unread data would hide the end of the connection.
    other.resume()
    setTimeout(cut, LAST_WORDS).unref()
  }
  client.on('error', () => {}).on('close', left(upstream))
  upstream.on('error', () => {}).on('close', left(client))
  client.resume()

  return (code) => {
    if (closing !== null || closed) return
    closing = code
    setTimeout(cut, GOODBYE).unref()
    // What still comes from the client is not for the upstream any more, but its goodbye is waited for.
    client.resume()
    if (fromUpstream.atBoundary()) sayGoodbye(code)
    else upstream.resume()
  }
}
