import { subscribe } from 'node:diagnostics_channel'
import { Socket } from 'node:net'

/** Connections on which an answer is to begin. */
const expecting = new WeakSet<Socket>()

subscribe('undici:client:sendHeaders', (message) => {
  if (typeof message === 'object' && message !== null && 'socket' in message && message.socket instanceof Socket)
    expecting.add(message.socket)
})

/**
 * Makes a `100 Continue` that nobody has asked for harmless (RFC 9110, section 15.2: a client may ignore it). undici
 * takes it for the end of the connection, but passes over a `102`: so it reads that.
 */
export function tolerateContinue(socket: Socket): void {
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => {
    const chunk: unknown = read(size)
    if (expecting.has(socket) && Buffer.isBuffer(chunk) && !isFinalToCome(chunk)) expecting.delete(socket)
    return chunk
  }
}

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
