import { createHash, randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { open } from './raw-http.ts'

/** A message, or the close code of the other side (`null` for a close frame without one). */
type Event = { readonly opcode: number; readonly payload: Buffer } | { readonly close: number | null }

type Options = {
  readonly headers?: readonly string[]
  /** Bytes that are sent together with the handshake. */
  readonly early?: Buffer
  /** Default GET. */
  readonly method?: string
}

/** The client's end of a connection on which a WebSocket was requested (RFC 6455). */
export type WebSocketEnd = {
  readonly status: number
  /** The last value of each header, by its name in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: () => string
  readonly socket: Socket
  /** Sends one frame, masked as a client's must be. */
  readonly send: (payload: string | Buffer, how?: { readonly opcode?: number; readonly fin?: boolean }) => boolean
  /** Resolves with the next message or close; rejects if the connection ends first, or after `timeout` ms. */
  readonly next: (timeout?: number) => Promise<Event>
  /** The code of the close frame; `null` if the connection ended without one. */
  readonly closed: Promise<number | null>
}

const TEXT = 1
const CLOSE = 8

/** Returns a client's frame. Its mask is all zeros, which leaves the payload as it is. */
const clientFrame = (payload: Buffer, { opcode = TEXT, fin = true } = {}): Buffer => {
  const { length } = payload
  const header = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  header[0] = (fin ? 0x80 : 0) | opcode
  header[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (header.length === 4) header.writeUInt16BE(length, 2)
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, Buffer.alloc(4), payload])
}

const readFrame = (bytes: Buffer): { opcode: number; payload: Buffer; size: number } | null => {
  if (bytes.length < 2) return null
  const short = (bytes[1] ?? 0) & 0x7f
  const header = short < 126 ? 2 : short === 126 ? 4 : 10
  if (bytes.length < header) return null
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
  if (bytes.length < header + length) return null
  return { opcode: (bytes[0] ?? 0) & 0x0f, payload: bytes.subarray(header, header + length), size: header + length }
}

const readHead = (text: string): { status: number; headers: Map<string, string> } => {
  const [first = '', ...lines] = text.split('\r\n')
  return {
    status: Number(first.split(' ')[1]),
    headers: new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    ),
  }
}

/** Requests a WebSocket at this URL, and waits for the response headers, whether the upgrade succeeds or not. */
export const openWebSocket = async (
  url: string,
  { headers = [], early, method = 'GET' }: Options = {},
): Promise<WebSocketEnd> => {
  const { host, pathname, search } = new URL(url)
  const socket = open(url)
  const key = randomBytes(16).toString('base64')
  const lines = [
    `${method} ${pathname}${search} HTTP/1.1`,
    ...(headers.some((line) => /^host:/i.test(line)) ? [] : [`Host: ${host}`]),
    'Connection: Upgrade',
    'Upgrade: websocket',
    `Sec-WebSocket-Key: ${key}`,
    'Sec-WebSocket-Version: 13',
    ...headers,
    '',
    '',
  ]
  let bytes: Buffer[] = []
  let size = 0
  let wanted = 2
  let head: { status: number; headers: Map<string, string> } | null = null
  let isClosed = false
  const events: Event[] = []
  const waiting = new Set<() => void>()
  const wake = (): void => {
    for (const one of waiting) one()
  }

  const readFrames = (): void => {
    if (head?.status !== 101 || size < wanted) return
    let all = Buffer.concat(bytes, size)
    for (let frame = readFrame(all); frame !== null; frame = readFrame(all)) {
      const { opcode, payload } = frame
      events.push(
        opcode === CLOSE
          ? { close: payload.length < 2 ? null : payload.readUInt16BE(0) }
          : { opcode, payload: Buffer.from(payload) },
      )
      all = all.subarray(frame.size)
    }
    // A large frame is parsed once it is complete: parsing on each chunk would be slow.
    const short = (all[1] ?? 0) & 0x7f
    wanted = all.length >= 10 && short === 127 ? Number(all.readBigUInt64BE(2)) + 10 : all.length + 1
    ;[bytes, size] = [[all], all.length]
  }
  const closed = new Promise<number | null>((resolve) => {
    socket.on('close', () => {
      isClosed = true
      const last = events.findLast((event) => 'close' in event)
      resolve(last !== undefined && 'close' in last ? last.close : null)
      wake()
    })
  })
  socket.on('data', (chunk: Buffer) => {
    bytes.push(chunk)
    size += chunk.length
    if (head === null) {
      const all = Buffer.concat(bytes, size)
      const end = all.indexOf('\r\n\r\n')
      if (end === -1) return
      head = readHead(all.toString('latin1', 0, end))
      ;[bytes, size] = [[all.subarray(end + 4)], all.length - end - 4]
      if (head.status === 101 && head.headers.get('sec-websocket-accept') !== acceptFor(key))
        throw new Error('the Sec-WebSocket-Accept header is wrong')
    }
    readFrames()
    wake()
  })
  socket.on('end', () => {
    socket.end()
  })
  socket.write(Buffer.concat([Buffer.from(lines.join('\r\n')), early ?? Buffer.alloc(0)]))

  const waitFor = async <T>(read: () => T | null, timeout: number): Promise<T> =>
    new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        clearTimeout(timer)
        waiting.delete(check)
        act()
      }
      const timer = setTimeout(() => {
        finish(() => {
          reject(new Error(`no result within ${timeout} ms`))
        })
      }, timeout)
      const check = (): void => {
        const found = read()
        if (found !== null)
          finish(() => {
            resolve(found)
          })
        else if (isClosed)
          finish(() => {
            reject(new Error('the connection has ended'))
          })
      }
      waiting.add(check)
      check()
    })
  const answer = await waitFor(() => head, 10_000)
  return {
    ...answer,
    socket,
    closed,
    body: () => Buffer.concat(bytes).toString(),
    send: (payload, how) => socket.write(clientFrame(Buffer.from(payload), how)),
    next: async (timeout = 5_000) => waitFor(() => events.shift() ?? null, timeout),
  }
}

const acceptFor = (key: string): string =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
