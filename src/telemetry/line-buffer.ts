import type { Writable } from 'node:stream'
import pino from 'pino'
import { withDeadline } from '../resilience/deadline.ts'

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
/** How much may wait for a reader that has stopped reading. */
const MOST_BYTES_WAITING = 8 * 1024 * 1024

/** How lines are written. */
export interface LineTarget {
  /** Several processes write there: blocks can't be torn apart (pipe(7)), but for a line that is longer. */
  readonly shared?: boolean
  /** Called when a reader reads again that had stopped, with how many lines there was no room for. */
  readonly onLost?: (lines: number) => void
}

/** Where blocks go. */
interface Outlet {
  /** Takes a block; `true` where it is written by then, so that its memory can be used again. */
  pass(block: Buffer): boolean
  /** How many bytes wait, memory that their blocks leave unused included. */
  waiting(): number
  /** Resolves when nothing waits any more. */
  drained(): Promise<void>
}

/**
 * Collects lines as bytes (a string made of many has to be put together in the end) and writes them in blocks. `out` is a
 * file descriptor that takes at once whatever it is given, or a stream, which may be full: 8 MB wait for its reader, and
 * lines beyond that are counted and dropped.
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
    if (!outlet.pass(block.subarray(0, used))) block = Buffer.allocUnsafeSlow(size)
    used = 0
  }

  /** Once some lines are lost, it takes more than a little room before lines are taken again. */
  function hasRoom(): boolean {
    return outlet.waiting() <= (lost === 0 ? MOST_BYTES_WAITING : MOST_BYTES_WAITING / 2)
  }

  function tellLost(): void {
    const lines = lost
    lost = 0
    onLost(lines)
  }

  setInterval(() => {
    if (lost > 0 && hasRoom()) tellLost()
    // While some wait, a block that is not full takes as much memory as one that is.
    if (outlet.waiting() === 0) send()
  }, FLUSH_EVERY_MS).unref()
  return {
    write(line) {
      if (!hasRoom()) {
        lost += 1
        return
      }
      if (lost > 0) tellLost()
      const most = line.length * MOST_BYTES_A_CHARACTER
      if (used > size / 2 || used + most > size) send()
      if (most > size) outlet.pass(Buffer.from(line))
      else used += block.write(line, used)
    },
    async flush() {
      send()
      if (outlet.waiting() === 0) return
      // The deadline's timer may be all that keeps the process alive.
      await withDeadline(outlet.drained(), FLUSH_WITHIN, () => undefined)
    },
  }
}

function writeInPlace(fd: number): Outlet {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- its types know of strings alone
  const destination = pino.destination({ fd, sync: true, contentMode: 'buffer' }) as unknown as {
    write(block: Buffer): boolean
    on(name: 'error', listener: () => void): void
  }
  // Where a disk is full there is nobody to tell.
  destination.on('error', () => {})
  return {
    pass(block) {
      destination.write(block)
      return true
    },
    waiting: () => 0,
    drained: async () => {},
  }
}

/** One block at a time: a stream would join those that wait, and what is longer than PIPE_BUF can be torn apart. */
function writeOneByOne(out: Writable): Outlet {
  const blocks: Buffer[] = []
  let waiting = 0
  let settle: (() => void)[] = []

  // A reader that has gone is no reason to stop.
  out.on('error', () => {})

  function next(): void {
    const [block] = blocks
    if (block === undefined) {
      for (const resolve of settle) resolve()
      settle = []
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
    pass(block) {
      waiting += block.buffer.byteLength
      if (blocks.push(block) === 1) next()
      return false
    },
    waiting: () => waiting,
    drained: async () =>
      new Promise((resolve) => {
        settle.push(resolve)
      }),
  }
}

/**
 * A write must not wait for a reader. Node.js makes terminals wait, and a worker that starts makes the standard output
 * wait that it shares with all others, so this is done before each write.
 */
function unblock(out: Writable): void {
  const handle: unknown = Reflect.get(out, '_handle')
  if (typeof handle !== 'object' || handle === null) return
  const setBlocking: unknown = Reflect.get(handle, 'setBlocking')
  if (typeof setBlocking === 'function') Reflect.apply(setBlocking, handle, [false])
}
