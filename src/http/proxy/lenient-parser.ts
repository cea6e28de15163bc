import type { Socket } from 'node:net'
import { parserOf, type Parser } from './undici-parser.ts'

/** https://github.com/nodejs/llhttp/blob/v9.3.0/src/llhttp/constants.ts */
const OK = 0
const UNEXPECTED_CONTENT_LENGTH = 4
const PAUSED = 21

const [CR, LF] = [Buffer.from('\r'), 0x0a]

/**
 * Makes the parser of a connection accept lines that end with a bare LF, spaces after a chunk size, and several equal
 * Content-Length headers. The caller must call this function before `patchParser`.
 *
 * llhttp has settings for lines and chunk sizes, but two problems remain:
 *
 * - llhttp stops at a second Content-Length. This function then has the head read again without the first
 *   Content-Length. So llhttp still rejects a response that also has Transfer-Encoding.
 * - After a chunk size with a bare LF, llhttp skips one more LF, although that LF belongs to the data. So this function
 *   pauses llhttp at the beginning of a chunked body, and converts the lines of the chunked coding to CRLF.
 */
export function makeLenient(socket: Socket): void {
  const parser = parserOf(socket)
  if (parser === null) return
  const { llhttp, ptr, execute, onHeadersComplete, onMessageComplete } = parser
  llhttp.llhttp_set_lenient_optional_cr_before_lf(ptr, 1)
  llhttp.llhttp_set_lenient_spaces_after_chunk_size(ptr, 1)
  /** The different values of Content-Length in the head that is being read, without the latest one. */
  const lengths = new Set<string>()
  let withCrlf: ((bytes: Buffer) => Buffer) | null = null
  /** How many bytes undici has put back after their conversion. */
  let converted = 0
  let isPausedForBody = false
  /** The offset at which a call of `llhttp_execute` was to stop here, or -1. */
  let stoppedAt = -1

  parser.llhttp = {
    ...llhttp,
    llhttp_execute(_ptr, start, size) {
      const code = llhttp.llhttp_execute(ptr, start, size)
      const isRepeated = code === UNEXPECTED_CONTENT_LENGTH && parser.headers.length % 2 === 1
      if (!isRepeated && code !== PAUSED) return code
      const at = llhttp.llhttp_get_error_pos(ptr) - start
      if (isRepeated || isPausedForBody) {
        stoppedAt = at
        return OK
      }
      converted = size - at
      return code
    },
  }

  parser.execute = (bytes) => {
    const chunk = withCrlf === null ? bytes : convert(withCrlf, bytes)
    execute.call(parser, chunk)
    if (stoppedAt === -1 || socket.destroyed) return
    const rest = chunk.subarray(stoppedAt)
    stoppedAt = -1
    if (isPausedForBody) {
      isPausedForBody = false
      llhttp.llhttp_resume(ptr)
      if (rest.length > 0) parser.execute(rest)
    } else {
      lengths.add(parser.contentLength.trim())
      parser.execute(Buffer.concat([takeHeadWithoutLength(parser), rest]))
    }
  }

  function convert(conversion: (bytes: Buffer) => Buffer, bytes: Buffer): Buffer {
    const fresh = conversion(bytes.subarray(converted))
    const chunk = converted === 0 ? fresh : Buffer.concat([bytes.subarray(0, converted), fresh])
    converted = 0
    return chunk
  }

  parser.onHeadersComplete = (status, upgrade, keepAlive) => {
    if (lengths.size > 0 && lengths.add(parser.contentLength.trim()).size > 1) {
      socket.destroy(new Error('the response has two lengths that differ, in the header Content-Length'))
      return -1
    }
    lengths.clear()
    const isChunked = parser.headers.some((name, i) => i % 2 === 0 && isNamed(name, 'transfer-encoding'))
    const next = onHeadersComplete.call(parser, status, upgrade, keepAlive)
    if (!isChunked || (next !== OK && next !== PAUSED)) return next
    withCrlf = convertChunkLines()
    llhttp.llhttp_set_lenient_optional_cr_before_lf(ptr, 0)
    isPausedForBody = next === OK
    return PAUSED
  }

  parser.onMessageComplete = () => {
    if (withCrlf !== null) {
      withCrlf = null
      llhttp.llhttp_set_lenient_optional_cr_before_lf(ptr, 1)
    }
    return onMessageComplete.call(parser)
  }
}

/**
 * Returns the head that a parser has read up to the colon of a second Content-Length, without the first one. Sets the
 * parser back to the beginning of the head.
 */
function takeHeadWithoutLength(parser: Parser): Buffer {
  const { llhttp, ptr, statusText, headers } = parser
  const version = `${llhttp.llhttp_get_http_major(ptr)}.${llhttp.llhttp_get_http_minor(ptr)}`
  const lines = [`HTTP/${version} ${llhttp.llhttp_get_status_code(ptr)} ${statusText}`]
  const first = headers.findIndex((name, i) => i % 2 === 0 && isNamed(name, 'content-length'))
  const text = (i: number): string => headers[i]?.toString('latin1') ?? ''
  for (let i = 0; i + 1 < headers.length; i += 2) if (i !== first) lines.push(`${text(i)}: ${text(i + 1)}`)
  const head = Buffer.from([...lines, `${text(headers.length - 1)}: `].join('\r\n'), 'latin1')
  llhttp.llhttp_reset(ptr)
  const atBegin = { headers: [], headersSize: 0, statusText: '', contentLength: '', keepAlive: '', connection: '' }
  Object.assign(parser, atBegin)
  return head
}

function isNamed(name: Buffer, lowerCase: string): boolean {
  return name.length === lowerCase.length && name.toString('latin1').toLowerCase() === lowerCase
}

/** The first characters of a line, without leading zeros, are enough for any size that llhttp accepts. */
const MAX_SIZE_CHARACTERS = 20
const LEADING_ZEROS = /^0+(?=[\da-f])/i

/** Appends bytes to the beginning of a line, up to the length that is needed. */
function append(line: string, part: Buffer): string {
  let text = line
  for (let at = 0; at < part.length && text.length < MAX_SIZE_CHARACTERS; at += MAX_SIZE_CHARACTERS)
    text = (text + part.toString('latin1', at, at + MAX_SIZE_CHARACTERS)).replace(LEADING_ZEROS, '')
  return text
}

/**
 * Returns a function that converts the bytes of a chunked body piece by piece: each line of the coding ends with CRLF,
 * and the data stays as it is.
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-7.1
 */
function convertChunkLines(): (bytes: Buffer) => Buffer {
  let dataLeft = 0
  let line = ''
  let endsWithCr = false
  let next: 'size' | 'end of data' | 'trailer' = 'size'

  function endLine(): void {
    if (next === 'size') {
      dataLeft = Number.parseInt(line, 16) || 0
      next = dataLeft === 0 ? 'trailer' : 'end of data'
    } else if (next === 'end of data') next = 'size'
    line = ''
    endsWithCr = false
  }

  return (bytes) => {
    const pieces: Buffer[] = []
    for (let at = 0; at < bytes.length;) {
      if (dataLeft > 0) {
        const data = bytes.subarray(at, at + dataLeft)
        pieces.push(data)
        dataLeft -= data.length
        at += data.length
        continue
      }
      const lineFeed = bytes.indexOf(LF, at)
      const part = bytes.subarray(at, lineFeed === -1 ? bytes.length : lineFeed)
      pieces.push(part)
      line = append(line, part)
      if (part.length > 0) endsWithCr = part.at(-1) === CR[0]
      at += part.length
      if (lineFeed === -1) break
      if (!endsWithCr) pieces.push(CR)
      pieces.push(bytes.subarray(lineFeed, lineFeed + 1))
      at += 1
      endLine()
    }
    return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces)
  }
}
