import pino from 'pino'

/** Log lines on their way out. */
export interface LineBuffer {
  readonly write: (line: string) => void
  /** Writes what is left, and waits for it: before the process ends. */
  readonly flush: () => void
}

// A line costs a system call when it is written at once; a tenth of a second is soon enough for anybody who watches.
const FLUSH_EVERY_MS = 100
const BLOCK_BYTES = 32_768
/** Linux's PIPE_BUF. */
const PIPE_BYTES = 4_096
const MOST_BYTES_A_CHARACTER = 3

/**
 * Collects lines as bytes (a string made of many has to be put together in the end) and writes them in blocks. Blocks
 * of several processes that share `fd` can't be torn apart (pipe(7)), but for a line that is longer.
 */
export function openLineBuffer(fd: number, shared: boolean): LineBuffer {
  const size = shared ? PIPE_BYTES : BLOCK_BYTES
  const destination = pino.destination({
    fd,
    sync: false,
    contentMode: 'buffer',
    ...(shared ? { maxWrite: PIPE_BYTES } : {}),
  })
  destination.on('error', () => {})
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types know of strings alone
  const blocks = destination as unknown as { write(block: Buffer): boolean }
  let block = Buffer.allocUnsafeSlow(size)
  let used = 0

  function send(): void {
    if (used === 0) return
    blocks.write(block.subarray(0, used))
    block = Buffer.allocUnsafeSlow(size)
    used = 0
  }

  setInterval(send, FLUSH_EVERY_MS).unref()
  return {
    write(line) {
      const most = line.length * MOST_BYTES_A_CHARACTER
      if (used > size / 2 || used + most > size) send()
      if (most > size) blocks.write(Buffer.from(line))
      else used += block.write(line, used)
    },
    flush() {
      send()
      try {
        destination.flushSync()
      } catch {
        // Not open yet, or the reader has gone: there is nobody left to tell.
      }
    },
  }
}
