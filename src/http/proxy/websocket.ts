import { performance } from 'node:perf_hooks'
import type { Duplex } from 'node:stream'
import { watchIdleReaders } from '../server/idle-readers.ts'
import type { Upgrade } from '../server/upgrade.ts'
import { headersTimeout, Receiver, statusText, type Transfer } from './exchange.ts'
import { clientHeaders } from './response-headers.ts'
import { phraseOf } from './undici-parser.ts'
import { upstreamPath } from './upstream-path.ts'

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
function switchingHead(headers: readonly string[], protocol: string, phrase: string): string {
  const lines: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i] ?? ''}: ${headers[i + 1] ?? ''}`)
  return [`HTTP/1.1 101 ${phrase}`, 'Connection: Upgrade', `Upgrade: ${protocol}`, ...lines, '', ''].join('\r\n')
}

/**
 * Joins both ends, byte for byte and with back-pressure; a side that has ended leaves the other direction open. Returns
 * how to close the connection with a code of RFC 6455, section 7.4, behind the frame that the upstream is sending.
 */
function join({ client, upstream, onMessage, onClosed, idleRead }: Joint): (code: number) => void {
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

/** A request for a WebSocket. */
export interface WebSocketJob {
  readonly upgrade: Upgrade
  readonly onMessage: () => void
  /** How long either end may take nothing of what waits for it, ms. */
  readonly idleRead: number
  /**
   * The upstream has switched; `close` closes both ends with a code of RFC 6455. Returns what to call when it is over.
   */
  readonly onSwitched: (close: (code: number) => void) => () => void
}

/**
 * Sends the upgrade upstream: its own answer decides, a 101 joins the connections, any other goes to the client as it
 * is.
 */
export function transferUpgrade(job: Transfer, { upgrade, onMessage, onSwitched, idleRead }: WebSocketJob): void {
  const { route, facts, isOwnCookie } = job
  const handedAt = performance.now()
  const switched = (rawHeaders: readonly (Buffer | string)[], upstream: Duplex): void => {
    const { socket: client } = upgrade
    if (client.destroyed) {
      upstream.destroy()
      return
    }
    const { headers } = clientHeaders(rawHeaders, isOwnCookie)
    upgrade.take()
    client.write(switchingHead(headers, 'websocket', statusText(101, phraseOf(upstream))), 'latin1')
    job.onWaited(performance.now() - handedAt, 101, true)
    joinUntilClosed(client, upstream, { onMessage, onSwitched, idleRead })
  }
  job.pool.dispatch(
    {
      path: upstreamPath(route, facts.path) + facts.query,
      method: 'GET',
      headers: job.headers,
      upgrade: 'websocket',
      headersTimeout: headersTimeout(route, false),
      bodyTimeout: 0,
    },
    new Receiver(job, { handedAt, hasBody: false, retry: null, onSwitched: switched }),
  )
}

/** Apart from what asked for it: a connection that stays open for days must not hold on to its request. */
function joinUntilClosed(
  client: Duplex,
  upstream: Duplex,
  { onMessage, onSwitched, idleRead }: Omit<WebSocketJob, 'upgrade'>,
): void {
  const over: { call: () => void } = { call: () => {} }
  const close = join({
    client,
    upstream,
    onMessage,
    idleRead,
    onClosed: () => {
      over.call()
    },
  })
  over.call = onSwitched(close)
}

/** Follows one direction of a WebSocket connection without looking into what it says (RFC 6455, section 5.2). */
export interface FrameTracker {
  /** Takes the next bytes. `boundary` is the offset in them behind the last whole frame, -1 without one. */
  push(chunk: Buffer): { readonly boundary: number; readonly messages: number }
  /** Whether the bytes so far end with a whole frame. */
  atBoundary(): boolean
}

/** Opcodes below are continuation, text and binary; from there on control frames. */
const FIRST_CONTROL_OPCODE = 8

/** A tracker at the beginning of a connection. */
function trackFrames(): FrameTracker {
  let header: number[] = []
  let payloadLeft = 0

  /** How long the header is, as far as its bytes tell. */
  function headerLength(): number {
    const second = header[1]
    if (second === undefined) return 2
    const size = second & 0x7f
    return 2 + (size === 126 ? 2 : size === 127 ? 8 : 0) + ((second & 0x80) === 0 ? 0 : 4)
  }

  function payloadLength(): number {
    const size = (header[1] ?? 0) & 0x7f
    if (size < 126) return size
    return header.slice(2, size === 126 ? 4 : 10).reduce((sum, byte) => sum * 256 + byte, 0)
  }

  return {
    push(chunk) {
      let boundary = -1
      let messages = 0
      for (let at = 0; at < chunk.length;) {
        if (payloadLeft > 0) {
          const taken = Math.min(payloadLeft, chunk.length - at)
          payloadLeft -= taken
          at += taken
          if (payloadLeft === 0) boundary = at
          continue
        }
        header.push(chunk[at] ?? 0)
        at += 1
        if (header.length < headerLength()) continue
        if (((header[0] ?? 0) & 0x0f) < FIRST_CONTROL_OPCODE) messages += 1
        payloadLeft = payloadLength()
        header = []
        if (payloadLeft === 0) boundary = at
      }
      return { boundary, messages }
    },
    atBoundary: () => payloadLeft === 0 && header.length === 0,
  }
}

/** A close frame (RFC 6455, section 5.5.1) as a server sends it, or `masked` as a client does. */
function closeFrame(code: number, masked: boolean): Buffer {
  const body = Buffer.from([code >> 8, code & 0xff])
  // A mask of zeros changes nothing, and says that it is there.
  return Buffer.concat([Buffer.from([0x88, masked ? 0x82 : 0x02]), masked ? Buffer.alloc(4) : Buffer.alloc(0), body])
}
