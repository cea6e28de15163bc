import { createHash } from 'node:crypto'
import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

interface Frame {
  readonly fin: boolean
  readonly opcode: number
  readonly payload: Buffer
  /** The length of the whole frame in bytes. */
  readonly size: number
}

const OPCODES = { close: 8, ping: 9, pong: 10 } as const

const MAX_FRAME_BYTES = 16 * 1024 * 1024

// https://www.rfc-editor.org/rfc/rfc6455#section-1.3
function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

function payloadLength(bytes: Buffer): { length: number; header: number } | null {
  const short = (bytes[1] ?? 0) & 0x7f
  if (short < 126) return { length: short, header: 2 }
  if (short === 126) return bytes.length < 4 ? null : { length: bytes.readUInt16BE(2), header: 4 }
  return bytes.length < 10 ? null : { length: Number(bytes.readBigUInt64BE(2)), header: 10 }
}

// https://www.rfc-editor.org/rfc/rfc6455#section-5.2: frames of a client are always masked.
function readFrame(bytes: Buffer): Frame | 'too long' | null {
  if (bytes.length < 2) return null
  const measured = payloadLength(bytes)
  if (measured === null) return null
  const { length, header } = measured
  if (length > MAX_FRAME_BYTES) return 'too long'
  const size = header + 4 + length
  if (bytes.length < size) return null
  const mask = bytes.subarray(header, header + 4)
  const payload = Buffer.from(bytes.subarray(header + 4, size))
  for (let index = 0; index < length; index += 1) payload[index] = (payload[index] ?? 0) ^ (mask[index % 4] ?? 0)
  return { fin: ((bytes[0] ?? 0) & 0x80) !== 0, opcode: (bytes[0] ?? 0) & 0x0f, payload, size }
}

function writeFrame(opcode: number, payload: Buffer, fin = true): Buffer {
  const first = (fin ? 0x80 : 0) | opcode
  const { length } = payload
  if (length < 126) return Buffer.concat([Buffer.of(first, length), payload])
  const header = Buffer.alloc(length < 65_536 ? 4 : 10)
  header[0] = first
  header[1] = length < 65_536 ? 126 : 127
  if (length < 65_536) header.writeUInt16BE(length, 2)
  else header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, payload])
}

function closeFrame(code: number, reason = ''): Buffer {
  const payload = Buffer.concat([Buffer.alloc(2), Buffer.from(reason)])
  payload.writeUInt16BE(code)
  return writeFrame(OPCODES.close, payload)
}

function refuse(socket: Duplex, status: number): void {
  const body = `${status} ${STATUS_CODES[status] ?? ''}\n`
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\ncontent-type: text/plain\r\nconnection: close\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function accept(socket: Duplex, key: string, protocol: string | undefined): void {
  socket.write(
    [
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Accept: ${acceptKey(key)}`,
      ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
      '\r\n',
    ].join('\r\n'),
  )
}

function echoFrames(socket: Duplex, closeCode: number | null, head: Buffer): void {
  let pending: Buffer = head

  const answer = ({ fin, opcode, payload }: Frame): void => {
    if (opcode === OPCODES.close) socket.end(writeFrame(OPCODES.close, payload))
    else if (opcode === OPCODES.ping) socket.write(writeFrame(OPCODES.pong, payload))
    else if (opcode !== OPCODES.pong && closeCode !== null) socket.write(closeFrame(closeCode, 'as requested'))
    else if (opcode !== OPCODES.pong && !socket.write(writeFrame(opcode, payload, fin))) {
      socket.pause()
      socket.once('drain', () => {
        socket.resume()
      })
    }
  }

  const read = (): void => {
    for (;;) {
      const frame = readFrame(pending)
      if (frame === null) return
      if (frame === 'too long') {
        socket.end(closeFrame(1009))
        return
      }
      pending = pending.subarray(frame.size)
      answer(frame)
    }
  }

  socket.on('data', (chunk: Buffer) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    read()
  })
  socket.on('error', () => {
    socket.destroy()
  })
  socket.on('end', () => {
    socket.end()
  })
  read()
}

/**
 * Accepts a WebSocket with its first subprotocol and echoes every message. Query: `status` refuses the upgrade with
 * that status, `close` answers the first message with that close code. Returns whether the WebSocket was accepted.
 */
export function acceptWebSocket(req: IncomingMessage, socket: Duplex, head: Buffer, query: URLSearchParams): boolean {
  const key = req.headers['sec-websocket-key']
  const status = query.get('status')
  if (status !== null || key === undefined || req.headers.upgrade?.toLowerCase() !== 'websocket') {
    refuse(socket, status === null ? 400 : Number(status))
    return false
  }
  accept(socket, key, req.headers['sec-websocket-protocol']?.split(',')[0]?.trim())
  const close = query.get('close')
  echoFrames(socket, close === null ? null : Number(close), head)
  return true
}
