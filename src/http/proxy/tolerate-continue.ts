import type { Socket } from 'node:net'

/**
 * Makes a `100 Continue` that nobody has asked for harmless (RFC 9110, section 15.2: a client may ignore it) on a
 * connection of undici's (7.x), which takes it for the end of the connection, but passes over a `102`: so it reads
 * that.
 */
export function tolerateContinue(socket: Socket): void {
  /** An answer is to begin. */
  let expecting = false
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => {
    const chunk: unknown = read(size)
    if (expecting && Buffer.isBuffer(chunk)) expecting = isFinalToCome(chunk)
    return chunk
  }
  const write = socket.write.bind(socket)
  Object.assign(socket, {
    write(chunk: string | Uint8Array, ...rest: WriteOptions): boolean {
      if (isHead(chunk)) expecting = true
      return write(chunk, ...rest)
    },
  })
}

type WriteOptions = [encoding?: BufferEncoding, callback?: (error?: Error | null) => void]

/** Heads go out as strings that begin with a method; what frames the chunks of a body begins with a digit or a line end. */
function isHead(chunk: string | Uint8Array): boolean {
  return typeof chunk === 'string' && chunk.charCodeAt(0) >= FIRST_LETTER
}

const FIRST_LETTER = 0x41
const [ONE, TWO] = [0x31, 0x32]
/** Behind `HTTP/1.1 `. */
const STATUS = 9

/** Rewrites the interim heads that a chunk begins with; `true` when there is nothing else in it. */
function isFinalToCome(chunk: Buffer): boolean {
  let at = 0
  while (at < chunk.length) {
    if (chunk[at + STATUS] !== ONE) return false
    const status = chunk.toString('latin1', at + STATUS, at + STATUS + 3)
    if (status === '101') return false
    if (status === '100') chunk[at + STATUS + 2] = TWO
    const end = chunk.indexOf('\r\n\r\n', at)
    if (end === -1) return false
    at = end + 4
  }
  return true
}
