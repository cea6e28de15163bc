import pino, { type DestinationStream, type Logger } from 'pino'
import { causes } from '../errors.ts'
import { openLineBuffer } from './line-buffer.ts'

export type Log = Logger

/** A running log and the way to empty its buffer before the process ends. */
export interface LogSink {
  readonly log: Log
  readonly flush: () => Promise<void>
}

interface LogOptions {
  /** In place of standard output. */
  readonly stream?: DestinationStream
  /** Standard output takes at once whatever it is given. */
  readonly prompt?: boolean
  /** Other processes write to the same standard output. */
  readonly shared?: boolean
  /** What each line says, such as which worker writes it. */
  readonly base?: Readonly<Record<string, unknown>>
}

/** JSON lines on standard output (or `stream`), buffered for at most 100 ms. */
export function openLog(level: string, { stream, prompt = false, shared = false, base }: LogOptions = {}): LogSink {
  const options = {
    level,
    base: base ?? null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // What a library may hand over whole has headers, bodies and tokens in it.
    serializers: { err: causes, req: () => undefined, res: () => undefined },
  }
  if (stream !== undefined) return { log: pino(options, stream), flush: async () => {} }
  const lines = openLineBuffer(prompt ? 1 : process.stdout, {
    shared,
    onLost(count) {
      // Whatever the level: nothing else tells that the log has a gap.
      log
        .child({}, { level: 'warn' })
        .warn({ event: 'log_lines_lost', lines: count }, 'the log was not read: lines have been lost')
    },
  })
  const log = pino(options, lines)
  return { log, flush: lines.flush }
}

/** How lines that are complete already get to where a log's own go. */
export function lineWriterOf(log: Log): (line: string) => void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pino's own symbol for what it has been given
  const stream = Reflect.get(log, pino.symbols.streamSym) as DestinationStream
  return (line) => {
    stream.write(line)
  }
}
