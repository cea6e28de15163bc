import type { Writable } from 'node:stream'
import pino from 'pino'
import { withDeadline } from '../resilience/deadline.ts'

export interface LineBuffer {
  readonly write: (line: string) => void
  /** Resolves when all lines are written, or after a second if the reader is too slow. */
  readonly flush: () => Promise<void>
}

/** Writing each line at once would cost a system call per line. */
const FLUSH_EVERY_MS = 100
const BLOCK_BYTES = 32_768
/** Linux's PIPE_BUF. */
const PIPE_BYTES = 4_096
const MAX_BYTES_PER_CHARACTER = 3
const FLUSH_TIMEOUT_MS = 1_000
/** How many bytes may wait for a reader that has stopped reading. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024

export interface LineTarget {
  /**
   * Whether other processes write to the same output. If so, blocks of at most PIPE_BUF bytes keep lines whole
   * (pipe(7)).
   */
  readonly shared?: boolean
  /** Called with the number of dropped lines once a reader that had stopped reads again. */
  readonly onLost?: (lines: number) => void
}

interface Outlet {
  /** Accepts a block. Returns `true` if the block is already written, so that its memory can be reused. */
  write(block: Buffer): boolean
  /** Returns the memory that waiting blocks occupy, in bytes. */
  waiting(): number
  drained(): Promise<void>
}

/**
 * Collects lines as bytes and writes them in blocks. `out` is the descriptor of a file, which takes writes at once, or a
 * stream: up to 8 MB wait for its reader, and further lines are counted and dropped.
 */
export function openLineBuffer(
  out: number | Writable,
  { shared = false, onLost = () => {} }: LineTarget = {},
): LineBuffer {
  const size = shared ? PIPE_BYTES : BLOCK_BYTES
  const outlet = typeof out === 'number' ? writeInPlace(out) : writeOneByOne(out)
  let block = Buffer.allocUnsafeSlow(size)
  let used = 0
  let lost = 0

  function send(): void {
    if (used === 0) return
    if (!outlet.write(block.subarray(0, used))) block = Buffer.allocUnsafeSlow(size)
    used = 0
  }

  /** After a loss, half of the room must be free before lines are accepted again. */
  function hasRoom(): boolean {
    return outlet.waiting() <= (lost === 0 ? MAX_WAITING_BYTES : MAX_WAITING_BYTES / 2)
  }

  function reportLost(): void {
    const lines = lost
    lost = 0
    onLost(lines)
  }

  setInterval(() => {
    if (lost > 0 && hasRoom()) reportLost()
    // A waiting block occupies its full size in memory even if it is half empty, so the timer sends a block only
    // when no other block waits.
    if (outlet.waiting() === 0) send()
  }, FLUSH_EVERY_MS).unref()
  return {
    write(line) {
      if (!hasRoom()) {
        lost += 1
        return
      }
      if (lost > 0) reportLost()
      const maxBytes = line.length * MAX_BYTES_PER_CHARACTER
      if (used > size / 2 || used + maxBytes > size) send()
      if (maxBytes > size) outlet.write(Buffer.from(line))
      else used += block.write(line, used)
    },
    async flush() {
      send()
      if (outlet.waiting() === 0) return
      // The deadline's timer may be all that keeps the process alive.
      await withDeadline(outlet.drained(), FLUSH_TIMEOUT_MS, () => undefined)
    },
  }
}

function writeInPlace(fd: number): Outlet {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types cover strings only
  const destination = pino.destination({ fd, sync: true, contentMode: 'buffer' }) as unknown as {
    write(block: Buffer): boolean
    on(name: 'error', listener: () => void): void
  }
  // The gateway cannot log a write error, such as a full disk, because the log itself cannot be written.
  destination.on('error', () => {})
  return {
    write(block) {
      destination.write(block)
      return true
    },
    waiting: () => 0,
    drained: async () => {},
  }
}

/** Writes one block at a time: a stream would join blocks that wait, and more than PIPE_BUF bytes may be split. */
function writeOneByOne(out: Writable): Outlet {
  const blocks: Buffer[] = []
  let waiting = 0
  let waiters: (() => void)[] = []

  // The gateway keeps running if the reader closes the pipe.
  out.on('error', () => {})

  function next(): void {
    const [block] = blocks
    if (block === undefined) {
      for (const resolve of waiters) resolve()
      waiters = []
      return
    }
    unblock(out)
    out.write(block, () => {
      waiting -= block.buffer.byteLength
      blocks.shift()
      next()
    })
  }

  return {
    write(block) {
      waiting += block.buffer.byteLength
      if (blocks.push(block) === 1) next()
      return false
    },
    waiting: () => waiting,
    drained: async () =>
      new Promise((resolve) => {
        waiters.push(resolve)
      }),
  }
}

/**
 * Makes writes return without waiting for the reader. Node.js makes writes to terminals block, and each worker that
 * starts makes writes to the shared standard output block. Call this function before each write for that reason.
 * Node.js has no public API for this: https://github.com/nodejs/node/issues/10617
 */
function unblock(out: Writable): void {
  const handle: unknown = Reflect.get(out, '_handle')
  if (typeof handle !== 'object' || handle === null) return
  const setBlocking: unknown = Reflect.get(handle, 'setBlocking')
  if (typeof setBlocking === 'function') Reflect.apply(setBlocking, handle, [false])
}
