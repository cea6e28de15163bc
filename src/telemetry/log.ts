import pino, { type DestinationStream, type Logger } from 'pino'
import { causes } from '../errors.ts'
import { openLineBuffer, type LineTarget } from './line-buffer.ts'

export type Log = Logger

/** A running log and the way to empty its buffer before the process ends. */
export interface LogSink {
  readonly log: Log
  readonly flush: () => Promise<void>
}

/** JSON lines on standard output (or `stream`), buffered for at most 100 ms. */
export function openLog(
  level: string,
  { stream, ...stdout }: LineTarget & { stream?: DestinationStream } = {},
): LogSink {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // What a library may hand over whole has headers, bodies and tokens in it.
    serializers: { err: causes, req: () => undefined, res: () => undefined },
  }
  if (stream !== undefined) return { log: pino(options, stream), flush: async () => {} }
  const lines = openLineBuffer(1, stdout)
  return { log: pino(options, lines), flush: lines.flush }
}

/** How lines that are complete already get to where a log's own go. */
export function lineWriterOf(log: Log): (line: string) => void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pino's own symbol for what it has been given
  const stream = Reflect.get(log, pino.symbols.streamSym) as DestinationStream
  return (line) => {
    stream.write(line)
  }
}
