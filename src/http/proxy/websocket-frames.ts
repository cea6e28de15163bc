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
export function trackFrames(): FrameTracker {
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
export function closeFrame(code: number, masked: boolean): Buffer {
  const body = Buffer.from([code >> 8, code & 0xff])
  // A mask of zeros changes nothing, and says that it is there.
  return Buffer.concat([Buffer.from([0x88, masked ? 0x82 : 0x02]), masked ? Buffer.alloc(4) : Buffer.alloc(0), body])
}
