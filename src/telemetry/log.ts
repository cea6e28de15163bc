import type { DestinationStream, Logger } from 'pino'
import pino from 'pino'
import { percentEncodeBytes } from '../bytes.ts'
import { causes } from '../errors.ts'
import { openLineBuffer } from './line-buffer.ts'

export type Log = Logger

export interface LogSink {
  readonly log: Log
  readonly flush: () => Promise<void>
}

/** Returns the user's name for log lines, as `log.user` says, or `undefined` if the claims have none. */
export type NameUser = (claims: Readonly<Record<string, unknown>>) => string | undefined

/** How each log names users. `null`: lines do not name them. */
const names = new WeakMap<object, NameUser | null>()

/** Returns how a log names users: like its parent if it is a child, or not at all if that was never set. */
function namingOf(log: object): NameUser | null {
  // A child of a pino logger has its parent as prototype.
  for (let one: object | null = log; one !== null; one = Reflect.getPrototypeOf(one)) {
    const known = names.get(one)
    if (known !== undefined) return known
  }
  return null
}

interface LogOptions {
  /** The destination; standard output by default. */
  readonly stream?: DestinationStream
  /** Whether writes to standard output finish at once, as they do for files. */
  readonly synchronous?: boolean
  /** Whether other processes write to the same standard output. */
  readonly shared?: boolean
  /** Fields that are added to each line, such as the worker that writes it. */
  readonly base?: Readonly<Record<string, unknown>>
}

/** Opens a log that writes JSON lines to standard output, where they are buffered for at most 100 ms, or to `stream`. */
export function openLog(
  level: string,
  { stream, synchronous = false, shared = false, base }: LogOptions = {},
): LogSink {
  const options = {
    level,
    base: base ?? null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    // Objects that libraries log contain headers, bodies and tokens.
    serializers: { err: causes, req: () => undefined, res: () => undefined },
  }
  if (stream !== undefined) return { log: pino(options, stream), flush: async () => {} }
  const lines = openLineBuffer(synchronous ? 1 : process.stdout, {
    shared,
    onLost(count) {
      // The log writes this line at every level, because nothing else shows that lines are missing.
      log
        .child({}, { level: 'warn' })
        .warn({ event: 'log_lines_lost', lines: count }, 'the reader of the log was too slow: lines have been lost')
    },
  })
  const log = pino(options, lines)
  return { log, flush: lines.flush }
}

/**
 * Returns a function that writes complete lines to a log's destination. Pino's maintainers suggest `streamSym` for
 * access to the destination: https://github.com/pinojs/pino/issues/505
 */
export function lineWriterOf(log: Log): (line: string) => void {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pino types its symbols as unknown
  const stream = Reflect.get(log, pino.symbols.streamSym) as DestinationStream
  return (line) => {
    stream.write(line)
  }
}

/** Sets how the lines of a log name users: not at all with `null`. */
export function nameUsers(log: Log, nameUser: NameUser | null): void {
  names.set(log, nameUser)
}

/** Returns the name of the user with these claims, or `undefined` if the lines of this log have none. */
export function userName(log: object, claims: Readonly<Record<string, unknown>>): string | undefined {
  return namingOf(log)?.(claims)
}

interface Owned {
  readonly id: string
  readonly provider?: string
  readonly claims?: Readonly<Record<string, unknown>>
}

/** Returns the fields of an event that say whose session it concerns. */
export function sessionFields(
  log: object,
  { id, provider, claims }: Owned,
): Readonly<Record<string, string | undefined>> {
  return { session: id, user: claims === undefined ? undefined : userName(log, claims), provider }
}

/** Returns the `sub` field of an event, or no field if the lines of this log do not name users. */
export function subjectIn(log: object, subject: string | null): { readonly sub?: string } {
  return subject === null || namingOf(log) === null ? {} : { sub: subject }
}

/**
 * Replaces every character that is not printable ASCII by `%HH`, so that client data can neither forge a log line nor
 * control a terminal.
 */
export function printable(text: string): string {
  return percentEncodeBytes(text)
}
