import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { closeFrame, trackFrames } from './websocket-frames.ts'

/** Two ends of an upgraded connection. */
interface Joint {
  readonly client: Duplex
  readonly upstream: Duplex
  /** A message of the client's has begun. */
  readonly onMessage: () => void
  readonly onClosed: () => void
}

/** How long the client may take to say goodbye, ms. */
const GOODBYE = 1_000

/** The head of the answer that switches protocols (RFC 9110, section 15.2.2), with the upstream's own headers. */
export function switchingHead(headers: readonly string[], protocol: string): string {
  const lines: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i] ?? ''}: ${headers[i + 1] ?? ''}`)
  return [`HTTP/1.1 101 ${STATUS_CODES[101] ?? ''}`, 'Connection: Upgrade', `Upgrade: ${protocol}`, ...lines, '', ''].join('\r\n')
}

/**
 * Joins both ends, byte for byte and with back-pressure. Returns how to close the connection with a code of RFC 6455,
 * section 7.4, behind the frame that the upstream is sending.
 */
export function join({ client, upstream, onMessage, onClosed }: Joint): (code: number) => void {
  const [fromClient, fromUpstream] = [trackFrames(), trackFrames()]
  let closing: number | null = null
  let closed = false

  const end = (): void => {
    if (closed) return
    closed = true
    client.destroy()
    upstream.destroy()
    onClosed()
  }
  const sayGoodbye = (code: number): void => {
    upstream.pause()
    client.write(closeFrame(code, false))
    upstream.end(closeFrame(code, true))
    setTimeout(end, GOODBYE).unref()
  }

  client.on('data', (chunk: Buffer) => {
    if (fromClient.push(chunk).messages > 0) onMessage()
    if (closing === null && !upstream.write(chunk)) client.pause()
  })
  upstream.on('drain', () => { client.resume() })
  upstream.on('data', (chunk: Buffer) => {
    const { boundary } = fromUpstream.push(chunk)
    if (closing !== null) {
      if (boundary === -1) client.write(chunk)
      else {
        client.write(chunk.subarray(0, boundary))
        sayGoodbye(closing)
      }
      return
    }
    if (!client.write(chunk)) upstream.pause()
  })
  client.on('drain', () => { if (closing === null) upstream.resume() })
  client.on('end', () => { upstream.end() })
  upstream.on('end', () => { client.end() })
  for (const side of [client, upstream]) {
    side.on('error', end)
    side.on('close', end)
  }

  return (code) => {
    if (closing !== null || closed) return
    closing = code
    if (fromUpstream.atBoundary()) sayGoodbye(code)
    else setTimeout(end, GOODBYE).unref()
  }
}
