import { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { Duplex } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { Config } from '../../config/schema.ts'
import type { Verdict } from '../../gate/verdict.ts'
import type { Sessions } from '../../session/sessions.ts'
import { printable } from '../../telemetry/log.ts'
import { contextOf } from '../context.ts'
import { identityOf } from '../identity.ts'
import { takenBySystem, watchIdleReaders } from '../server/idle-readers.ts'
import type { Streams } from './open-streams.ts'

interface Joint {
  readonly client: Duplex
  readonly upstream: Duplex
  readonly onMessage: () => void
  readonly onClosed: () => void
  /** How long the upstream may read nothing while data waits for it, in ms. The listener limits the client. */
  readonly idleRead: number
}

/** The private close code for a session that has ended, chosen by analogy with 401. */
const SESSION_ENDED = 4401
/** https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 */
const GOING_AWAY = 1001
/** How long the client may take to answer a close frame. */
const CLOSE_MS = 1_000
/** How long the last bytes of one end may take to reach the other. */
const LAST_BYTES_MS = 10_000

/**
 * Connects both ends byte for byte, with backpressure. If one side ends, the other direction stays open. Returns a
 * function that closes the connection with a close code, after the frame that the upstream is sending.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-7.4
 */
function join({ client, upstream, onMessage, onClosed, idleRead }: Joint): (code: number) => void {
  const [fromClient, fromUpstream] = [trackFrames(), trackFrames()]
  let closing: number | null = null
  let closed = false
  let watching: NodeJS.Timeout | undefined
  let written = 0

  // An HTTP/2 stream does not tell how much of a chunk has been sent, so progress is noticed by whole chunks.
  const taken = (): number | null =>
    upstream instanceof Socket ? takenBySystem(upstream) : written - upstream.writableLength
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
    // In the middle of a client's frame, the upstream would read the close frame as part of that frame.
    upstream.end(fromClient.atBoundary() ? closeFrame(code, true) : undefined)
  }

  client.on('data', (chunk: Buffer) => {
    if (closing !== null || upstream.destroyed) return
    if (fromClient.push(chunk).messages > 0) onMessage()
    written += chunk.length
    if (upstream.write(chunk)) return
    client.pause()
    // While the client is paused, its disconnect is not noticed. The timer cuts an upstream that reads nothing.
    watching ??= watchIdleReaders([upstream], idleRead, cut, taken)
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
  // The last bytes from an end that has disconnected must still reach the other end.
  const left = (other: Duplex) => (): void => {
    if (closing !== null || other.destroyed) {
      cut()
      return
    }
    other.end()
    // Discards unread data, because unread data would hide the end of the connection.
    other.resume()
    setTimeout(cut, LAST_BYTES_MS).unref()
  }
  client.on('error', () => {}).on('close', left(upstream))
  upstream.on('error', () => {}).on('close', left(client))
  client.resume()

  return (code) => {
    if (closing !== null || closed) return
    closing = code
    setTimeout(cut, CLOSE_MS).unref()
    // Stops forwarding the client's data, but waits for its close frame.
    client.resume()
    if (fromUpstream.atBoundary()) sayGoodbye(code)
    else upstream.resume()
  }
}

interface WebSocketServices {
  readonly config: Pick<Config, 'limits'>
  readonly sessions: Pick<Sessions, 'touch'>
  readonly streams: Streams
}

/**
 * Connects both ends of a WebSocket, and registers it so that it closes with its session. Keeps no reference to the
 * request, because a WebSocket may be open for days.
 */
export function joinWebSocket(
  { config, sessions, streams }: WebSocketServices,
  { route, session }: Extract<Verdict, { type: 'forward' }>,
  request: FastifyRequest,
  client: Duplex,
  upstream: Duplex,
): void {
  const context = contextOf(request)
  const { facts } = context
  const { id, log } = request
  const identity = identityOf(context, log)
  const { label } = route
  const openedAt = performance.now()
  let forget: (() => void) | null = null
  const close = join({
    client,
    upstream,
    idleRead: config.limits.idleRead,
    // A message counts as user activity; a browser's response to a ping does not.
    onMessage() {
      if (session !== null) sessions.touch(streams.ownerOf(session), Date.now())
    },
    onClosed() {
      forget?.()
      const ms = Math.round(performance.now() - openedAt)
      log.info({ event: 'websocket_closed', id, route: label, ...identity, ms })
    },
  })
  const { path, client: by } = facts
  log.info({ event: 'websocket_open', id, path: printable(path), route: label, client: by.address, ...identity })
  forget = streams.add(session, {
    kind: 'websocket',
    close(reason) {
      close(reason === 'session-ended' ? SESSION_ENDED : GOING_AWAY)
    },
  })
}

/**
 * Follows the frames in one direction of a WebSocket, without their payload.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-5.2
 */
export interface FrameTracker {
  /** Reads the next bytes. `boundary` is the offset after the last complete frame, or -1 if there is none. */
  push(chunk: Buffer): { readonly boundary: number; readonly messages: number }
  atBoundary(): boolean
}

/** Opcodes below this value are continuation, text and binary frames. */
const FIRST_CONTROL_OPCODE = 8

function trackFrames(): FrameTracker {
  let header: number[] = []
  let payloadLeft = 0

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

/**
 * Returns a close frame of a server, or of a client if `masked`.
 * @see https://www.rfc-editor.org/rfc/rfc6455#section-5.5.1
 */
function closeFrame(code: number, masked: boolean): Buffer {
  const body = Buffer.from([code >> 8, code & 0xff])
  // A mask of zeros does not change the payload.
  return Buffer.concat([Buffer.from([0x88, masked ? 0x82 : 0x02]), masked ? Buffer.alloc(4) : Buffer.alloc(0), body])
}
