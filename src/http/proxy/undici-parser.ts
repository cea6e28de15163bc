import type { Socket } from 'node:net'
import { latin1 } from '../../bytes.ts'
import { HOP_BY_HOP } from '../../header-names.ts'
import { printable } from '../../telemetry/log.ts'
import { logsInConnection } from './connection-bound.ts'
import { markUsedConnection } from './upstream-errors.ts'

/**
 * The members of undici 7's private parser that are used here. Each connection has a parser, and the native parser
 * calls its methods.
 * https://github.com/nodejs/undici/blob/v7.30.2/lib/dispatcher/client-h1.js
 */
export interface Parser {
  llhttp: Llhttp
  /** The address of llhttp's parser. */
  readonly ptr: number
  /** The status of the response whose head has been read, or 0 while a head is being read. */
  statusCode: number
  statusText: string
  contentLength: string
  headersMaxSize: number
  shouldKeepAlive: boolean
  /** Whether the parser has stopped because the client reads slowly. */
  paused: boolean
  keepAlive: string
  connection: string
  /** The header names and values read so far, after the body those of the trailer fields: name, value, name … */
  headers: Buffer[]
  headersSize: number
  execute: (chunk: Buffer) => void
  setTimeout: (ms: number, type: number) => void
  onStatus: (bytes: Buffer) => number
  onHeadersComplete: (status: number, upgrade: boolean, keepAlive: boolean) => number
  onBody: (bytes: Buffer) => number
  onMessageComplete: () => number
  createError: (code: number, rest: Buffer) => Error
}

const METHODS = [
  'execute',
  'setTimeout',
  'onStatus',
  'onHeadersComplete',
  'onBody',
  'onMessageComplete',
  'createError',
  'llhttp',
  'paused',
]

/** The functions of the native parser that are used here. The first argument is the address of a parser. */
interface Llhttp {
  llhttp_execute(parser: number, start: number, length: number): number
  llhttp_reset(parser: number): void
  llhttp_resume(parser: number): void
  llhttp_get_error_pos(parser: number): number
  llhttp_get_status_code(parser: number): number
  llhttp_get_http_major(parser: number): number
  llhttp_get_http_minor(parser: number): number
  llhttp_set_lenient_optional_cr_before_lf(parser: number, on: number): void
  llhttp_set_lenient_spaces_after_chunk_size(parser: number, on: number): void
}

/** Undici's type of the timer that closes an idle connection. */
const KEEP_ALIVE_TIMER = 8

const NO_BYTES = Buffer.alloc(0)

/** The status texts of 101 responses, by connection. */
const phrases = new WeakMap<object, string>()

interface ConnectionSettings {
  /** Whether the connection carries the requests of several clients. */
  readonly shared: boolean
  /** How long the connection may be used for further requests, in ms. */
  readonly maxAge: number
}

/**
 * Corrects how undici reads the responses on a connection, and adds to undici's errors where in the head of a response
 * the error occurred. The caller must call this function after undici has set up the connection.
 *
 * - An unexpected `100 Continue` is skipped like any other interim response
 *   (https://www.rfc-editor.org/rfc/rfc9110#section-15.2). Unpatched, undici destroys the
 *   connection: https://github.com/nodejs/undici/issues/197
 * - The Content-Length of a 204 or 304 does not describe its body (https://www.rfc-editor.org/rfc/rfc9110#section-8.6).
 *   Unpatched, undici compares that length with the body: https://github.com/nodejs/undici/pull/816
 * - The status text keeps its bytes as Latin-1, even across chunks (https://www.rfc-editor.org/rfc/rfc9112#section-4).
 * - A reset never completes a response (https://www.rfc-editor.org/rfc/rfc9112#section-8). Unpatched, undici
 *   accepts a reset as the end of a response without a length: https://github.com/nodejs/undici/pull/784
 * - A connection is not reused after a trailer field like `Connection`, because the native parser may refuse a further
 *   response.
 * - A response that is complete when the application closes the connection is delivered, even while the parser is
 *   paused. Undici ends the process or breaks off the response: https://github.com/nodejs/undici/issues/5360
 * - A shared connection is not reused after the application has requested the authentication of the connection itself.
 * - A connection is not reused after `maxAge`.
 */
export function patchParser(socket: Socket, { shared, maxAge }: ConnectionSettings): void {
  const parser = parserOf(socket)
  if (parser === null) return
  const { execute, setTimeout, onHeadersComplete, onBody, onMessageComplete, createError } = parser
  const endsAt = performance.now() + maxAge
  let chunk: Buffer | null = null
  let isUsed = false
  // This listener comes first, because undici's own listener may fail a request immediately.
  socket.prependListener('error', (error: NodeJS.ErrnoException) => {
    if (isUsed) markUsedConnection(error)
    if (error.code === 'ECONNRESET') parser.shouldKeepAlive = true
    if (error.code === 'UND_ERR_HEADERS_OVERFLOW')
      error.message = `more than limits.answerHeaders, in the header ${printable(latin1(nameAt(parser)))}`
  })
  // A paused parser puts the bytes that it has not parsed back into the socket, which emits `end` only after they are
  // read again. So at this point only the end of the response can be missing, which needs no space in memory.
  socket.prependListener('end', () => {
    if (!parser.paused) return
    parser.paused = false
    parser.llhttp.llhttp_resume(parser.ptr)
    parser.execute(NO_BYTES)
  })
  socket.prependListener('close', () => {
    // Undici has finished the response at `end`. A connection that closes without `end` has been destroyed.
    parser.shouldKeepAlive = true
  })
  parser.execute = (bytes) => {
    chunk = bytes
    execute.call(parser, bytes)
    chunk = null
  }
  // A resumed parser reports an empty chunk, at which a handler that is still paused would pause the parser again.
  parser.onBody = (bytes) => (bytes.length === 0 ? 0 : onBody.call(parser, bytes))
  parser.setTimeout = (ms, type) => {
    // An idle connection closes when it reaches its age. Undici reads 0 as no timer.
    const delay = type === KEEP_ALIVE_TIMER ? Math.max(1, Math.min(ms, endsAt - performance.now())) : ms
    setTimeout.call(parser, delay, type)
  }
  parser.onStatus = (bytes) => {
    parser.statusText += bytes.toString('latin1')
    return 0
  }
  parser.onHeadersComplete = (status, upgrade, keepAlive) => {
    if (status < 100) {
      socket.destroy(new Error(`the response has the status ${status}`))
      return -1
    }
    if (status === 101) phrases.set(socket, parser.statusText)
    const isLast = shared && offersConnectionLogin(parser.headers)
    // Undici destroys the connection at the status 100, so undici gets the status 102 instead.
    const next = onHeadersComplete.call(parser, status === 100 ? 102 : status, upgrade, keepAlive)
    if (isLast) parser.shouldKeepAlive = false
    return next
  }
  parser.onMessageComplete = () => {
    if (parser.statusCode >= 200) isUsed = true
    if (performance.now() >= endsAt) parser.shouldKeepAlive = false
    if (parser.statusCode === 204 || parser.statusCode === 304) parser.contentLength = ''
    if (parser.headers.some((field, i) => i % 2 === 0 && HOP_BY_HOP.has(latin1(field).toLowerCase())))
      parser.shouldKeepAlive = false
    return onMessageComplete.call(parser)
  }
  parser.createError = (code, rest) => {
    const inHead = parser.statusCode === 0
    // If the Content-Length remained, undici would compare it with a body that has not begun.
    if (inHead) parser.contentLength = ''
    const error = createError.call(parser, code, rest)
    if (error.message === '' || chunk === null) return error
    const at = chunk.length - rest.length
    const violation = violationIn(chunk, at, error.message)
    if (inHead)
      error.message += STATUS_LINE.test(error.message) ? ', in the status line' : placeOf(parser.headers, chunk, at)
    if (violation !== null) error.message = `${violation}: ${error.message}`
    return error
  }
}

/** Returns the status text of this socket's 101 response, with one character per byte, or `null`. */
export function phraseOf(socket: object): string | null {
  return phrases.get(socket) ?? null
}

/** Returns the parser that undici has set up for a connection, or `null`. */
export function parserOf(socket: object): Parser | null {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'parser')
  const found: unknown = key === undefined ? null : Reflect.get(socket, key)
  return isParser(found) ? found : null
}

function isParser(found: unknown): found is Parser {
  return typeof found === 'object' && found !== null && METHODS.every((name) => name in found)
}

function offersConnectionLogin(headers: readonly Buffer[]): boolean {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i]
    if (name?.length !== 16 && name?.length !== 18) continue
    if (/^(?:www|proxy)-authenticate$/i.test(name.toString('latin1')) && logsInConnection(latin1(headers[i + 1])))
      return true
  }
  return false
}

/** The parser's reasons for stopping in a status line. */
const STATUS_LINE =
  /Expected (?:HTTP|dot|space after version)|HTTP version|m[ai][jn]or version|response (?:line|status)/

/** Returns what the parser's own reason does not say about the bytes at which it has stopped, or `null`. */
function violationIn(chunk: Buffer, at: number, reason: string): string | null {
  const isBareLineFeed = (i: number): boolean => chunk[i] === LINE_FEED && chunk[i - 1] !== CARRIAGE_RETURN
  // The parser stops at the line feed or behind it.
  if (/(?:header (?:field|value) char|response status)/.test(reason) && (isBareLineFeed(at) || isBareLineFeed(at - 1)))
    return 'a line ends with LF alone'
  return beginsWithHttp2Frame(chunk) ? 'the response begins with an HTTP/2 frame' : null
}

/**
 * Returns whether bytes begin with a SETTINGS or GOAWAY frame, with which a server begins an HTTP/2 connection.
 * @see https://www.rfc-editor.org/rfc/rfc9113#section-4.1
 */
function beginsWithHttp2Frame(bytes: Buffer): boolean {
  const [type, streamId] = bytes.length < 9 ? [null, null] : [bytes[3], bytes.readUInt32BE(5)]
  return bytes[0] === 0 && (type === 4 || type === 7) && streamId === 0
}

/** Text that is probably intended as a header name. */
const NAME = /^[\w-][\w .-]{0,60}$/

/**
 * Describes where in a head the parser has stopped, at the offset `at` of the chunk. Includes only header names,
 * because values and other bytes may be secret.
 */
function placeOf(headers: readonly Buffer[], chunk: Buffer, at: number): string {
  // With an odd count, the last entry is the name of the header whose value is being read.
  if (headers.length % 2 === 1) return `, in the header ${printable(latin1(headers.at(-1)))}`
  const line = lineAt(chunk, at)
  const colon = line.indexOf(':')
  const name = line.slice(0, colon).trimEnd()
  const behind =
    headers.length === 0 ? 'behind the status line' : `behind the header ${printable(latin1(headers.at(-2)))}`
  if (colon > 0 && NAME.test(name)) return `, in the header ${name}`
  return `, ${behind}`
}

/** Returns the name of the header with which the head exceeds its limit. */
function nameAt({ headers, headersMaxSize }: Parser): Buffer | undefined {
  let size = 0
  const at = headers.findIndex((bytes) => (size += bytes.length) >= headersMaxSize)
  return headers[at - (at % 2)]
}

function lineAt(chunk: Buffer, at: number): string {
  if (at < 1) return ''
  const start = chunk.lastIndexOf(LINE_FEED, at - 1) + 1
  // The line may have begun in an earlier chunk, so this may be the middle of a value.
  if (start === 0) return ''
  const end = chunk.indexOf(LINE_FEED, start)
  return chunk.toString('latin1', start, end === -1 ? chunk.length : end)
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
