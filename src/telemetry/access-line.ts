import { lineWriterOf, type Log } from './log.ts'

/** One finished request, as the access log tells it. */
export interface AccessLine {
  readonly id: string
  readonly method: string
  /** Without the query: codes, states and other people's secrets travel there. */
  readonly path: string
  readonly status: number
  readonly verdict: string
  readonly route: string
  readonly ms: number
  readonly client: string
  readonly traceId: string | null
  /** The answer did not reach its end. */
  readonly aborted: boolean
  /** Why the HTTP parser refused it. */
  readonly cause?: string | undefined
}

/** Writes access lines to where a log's own go, as long as its level is `info` or less. */
export function openAccessLog(log: Log): (line: AccessLine) => void {
  const write = lineWriterOf(log)
  const bound = boundFields(log)
  return (line) => {
    if (log.isLevelEnabled('info')) write(formatAccessLine(line, Date.now(), bound))
  }
}

/** What stands in JSON as it is. */
const PLAIN = /^[\u0020\u0021\u0023-\u005b\u005d-\u007e]*$/

/**
 * The line as pino would write it at level `info`, put together by hand: it is on the way of every request, where pino
 * took an eighth of the time. `time` is ms since the epoch, `bound` what `boundFields` gives.
 */
export function formatAccessLine(line: AccessLine, time: number, bound = ''): string {
  const { id, method, path, status, verdict, route, ms, client, traceId, aborted, cause } = line
  const more =
    (traceId === null ? '' : `,"trace_id":"${traceId}"`) +
    (aborted ? ',"aborted":true' : '') +
    (cause === undefined ? '' : `,"cause":${quoted(cause)}`)
  return (
    `{"level":"info","time":"${isoTime(time)}"${bound},"event":"request","id":"${id}","method":"${method}"` +
    `,"path":${quoted(path)},"status":${status},"verdict":"${verdict}","route":${quoted(route)},"ms":${ms}` +
    `,"client":"${client}"${more}}\n`
  )
}

/** What a log says in each of its lines (`worker`, say), as the text for `formatAccessLine`. */
export function boundFields(log: Pick<Log, 'bindings'>): string {
  const fields = JSON.stringify(log.bindings()).slice(1, -1)
  return fields === '' ? '' : `,${fields}`
}

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text)
}

let written = { time: Number.NaN, iso: '' }

function isoTime(time: number): string {
  // Many requests end within the same millisecond.
  if (time !== written.time) written = { time, iso: new Date(time).toISOString() }
  return written.iso
}
