import type { Socket } from 'node:net'
import { open } from './raw-http.ts'

/** Frame types: https://www.rfc-editor.org/rfc/rfc9113#section-6 */
export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4 } as const

export type Frame = {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export type FrameClient = {
  readonly socket: Socket
  /** The frames that have arrived, in their order. */
  readonly frames: readonly Frame[]
  readonly isClosed: () => boolean
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** Returns the bytes of a frame. */
export const frame = (type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const integer = (value: number, prefixBits: number): Buffer => {
  const max = 2 ** prefixBits - 1
  if (value < max) return Buffer.from([value])
  const bytes = [max]
  let rest = value - max
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Buffer.from([...bytes, rest])
}

/**
 * Returns fields as literals without indexing (https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2), one byte for each
 * character.
 */
export const fields = (pairs: readonly (readonly [name: string, value: string])[]): Buffer =>
  Buffer.concat(
    pairs.flatMap(([name, value]) => [
      Buffer.from([0]),
      integer(name.length, 7),
      Buffer.from(name, 'latin1'),
      integer(value.length, 7),
      Buffer.from(value, 'latin1'),
    ]),
  )

/** Returns the header section of a GET. */
export const get = (url: string, path: string, more: readonly (readonly [string, string])[] = []): Buffer =>
  fields([[':method', 'GET'], [':scheme', 'http'], [':authority', new URL(url).host], [':path', path], ...more])

/** Calls `take` for each frame that arrives on a connection, behind the first `skipped` bytes. */
export const readFrames = (socket: Socket, take: (frame: Frame) => void, skipped = 0): void => {
  let rest = Buffer.alloc(0)
  let left = skipped
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk.subarray(left)])
    left = Math.max(0, left - chunk.length)
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const length = rest.readUIntBE(0, 3)
      take({
        type: rest.readUInt8(3),
        flags: rest.readUInt8(4),
        stream: rest.readUInt32BE(5),
        payload: rest.subarray(9, 9 + length),
      })
      rest = rest.subarray(9 + length)
    }
  })
}

/** Opens a connection that begins with the preface and empty settings, and collects the frames that arrive. */
export const openFrames = (url: string): FrameClient => {
  const socket = open(url)
  const frames: Frame[] = []
  let closed = false
  socket.on('close', () => {
    closed = true
  })
  readFrames(socket, (one) => {
    frames.push(one)
  })
  socket.write(Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)]))
  return { socket, frames, isClosed: () => closed }
}
