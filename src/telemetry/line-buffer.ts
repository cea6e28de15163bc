import { setTimeout as sleep } from 'node:timers/promises'
import pino from 'pino'

/** Log lines on their way out. */
export interface LineBuffer {
  readonly write: (line: string) => void
  /** Resolves when everything has been written, or can't be, or a reader is too slow: before the process ends. */
  readonly flush: () => Promise<void>
}

// A line costs a system call when it is written at once; a tenth of a second is soon enough for anybody who watches.
const FLUSH_EVERY_MS = 100
const BLOCK_BYTES = 32_768
/** Linux's PIPE_BUF. */
const PIPE_BYTES = 4_096
const MOST_BYTES_A_CHARACTER = 3
/** How long the last lines wait for their reader, ms. */
const FLUSH_WITHIN = 1_000

/** What is known of where the lines go. */
export interface LineTarget {
  /** Several processes write there: blocks can't be torn apart (pipe(7)), but for a line that is longer. */
  readonly shared?: boolean
  /** It takes at once whatever it is given. */
  readonly prompt?: boolean
}

/**
 * Collects lines as bytes (a string made of many has to be put together in the end) and writes them in blocks: in
 * place where `fd` is prompt; elsewhere another thread does, for nobody is to wait for a slow reader.
 */
export function openLineBuffer(fd: number, { shared = false, prompt = false }: LineTarget = {}): LineBuffer {
  const size = shared ? PIPE_BYTES : BLOCK_BYTES
  const destination = pino.destination({
    fd,
    sync: prompt,
    contentMode: 'buffer',
    ...(shared ? { maxWrite: PIPE_BYTES } : {}),
  })
  /** Bytes that are on their way, and who waits for them. */
  let pending = 0
  let waiting: (() => void)[] = []
  const settle = (): void => {
    pending = 0
    for (const resolve of waiting) resolve()
    waiting = []
  }
  destination.on('write', (bytes) => {
    pending -= bytes
    if (pending <= 0) settle()
  })
  // The reader has gone: there is nobody left to tell.
  destination.on('error', settle)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types know of strings alone
  const blocks = destination as unknown as { write(block: Buffer): boolean }
  let block = Buffer.allocUnsafeSlow(size)
  let used = 0

  function pass(bytes: Buffer): void {
    if (!prompt) pending += bytes.length
    blocks.write(bytes)
  }

  function send(): void {
    if (used === 0) return
    pass(block.subarray(0, used))
    if (!prompt) block = Buffer.allocUnsafeSlow(size)
    used = 0
  }

  setInterval(send, FLUSH_EVERY_MS).unref()
  return {
    write(line) {
      const most = line.length * MOST_BYTES_A_CHARACTER
      if (used > size / 2 || used + most > size) send()
      if (most > size) pass(Buffer.from(line))
      else used += block.write(line, used)
    },
    async flush() {
      send()
      if (prompt || pending <= 0) return
      const written = new Promise<void>((resolve) => {
        waiting.push(resolve)
      })
      await Promise.race([written, sleep(FLUSH_WITHIN, undefined, { ref: false })])
    },
  }
}
