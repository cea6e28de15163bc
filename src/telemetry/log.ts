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

/** JSON lines on standard output (or `stream`), buffered for at most 100 ms. */
export function openLog(level: string, stream?: DestinationStream): LogSink {
  const options = {
    level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label: string) => ({ level: label }) },
    // What a library may hand over whole has headers, bodies and tokens in it.
    serializers: { err: causes, req: () => undefined, res: () => undefined },
  }
  if (stream !== undefined) return { log: pino(options, stream), flush: () => {} }
  const destination = pino.destination({ fd: 1, sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_EVERY_MS })
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
