import pino, { type DestinationStream, type Logger } from 'pino'
import { causes } from '../errors.ts'

export type Log = Logger

/** A running log and the way to empty its buffer before the process ends. */
export interface LogSink {
  readonly log: Log
  readonly flush: () => void
}

// A line costs a system call when it is written at once; a tenth of a second is soon enough for anybody who watches.
const BUFFER_BYTES = 16_000
const FLUSH_EVERY_MS = 100
/** Linux's PIPE_BUF. */
const PIPE_BYTES = 4_096

/**
 * JSON lines on standard output (or `stream`), buffered for at most 100 ms. Several processes that share it write
 * pieces that can't be torn apart (pipe(7)), but for a line that is longer.
 */
export function openLog(
  level: string,
  { stream, shared = false }: { stream?: DestinationStream; shared?: boolean } = {},
): LogSink {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // What a library may hand over whole has headers, bodies and tokens in it.
    serializers: { err: causes, req: () => undefined, res: () => undefined },
  }
  if (stream !== undefined) return { log: pino(options, stream), flush: () => {} }
  const destination = pino.destination({
    fd: 1,
    sync: false,
    periodicFlush: FLUSH_EVERY_MS,
    ...(shared ? { minLength: PIPE_BYTES / 2, maxWrite: PIPE_BYTES } : { minLength: BUFFER_BYTES }),
  })
  const flush = (): void => {
    try {
      destination.flushSync()
    } catch {
      // Not open yet, or the reader has gone: there is nobody left to tell.
    }
  }
  destination.on('error', () => {})
  return { log: pino(options, destination), flush }
}
