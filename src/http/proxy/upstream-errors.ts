import { constants } from 'node:http2'
import { Fault } from '../../errors.ts'

const { NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_HTTP_1_1_REQUIRED, NGHTTP2_PROTOCOL_ERROR } = constants

/** The error codes of a connection that the upstream closed while a request was being sent. */
const STALE = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'])

const ofUsed = new WeakSet<Error>()

/** Marks the error of a connection on which an earlier response has arrived. */
export function markUsedConnection(error: Error): void {
  ofUsed.add(error)
}

/** Returns whether an error ended an idle connection that the upstream was closing while the request was sent. */
export function isStale(error: Error): boolean {
  return STALE.has(codeOf(error)) && ofUsed.has(error)
}

/**
 * Returns the fault for a failed exchange. `hasStarted`: the upstream has begun a response that cannot be forwarded.
 */
export function faultOf(error: Error, hasStarted: boolean): Fault {
  if (error instanceof Fault) return error
  if (TIMEOUTS.has(codeOf(error))) return new Fault('upstream_timeout', { cause: error })
  return hasStarted ? unusable(error) : new Fault('upstream_unreachable', { cause: error })
}

/** Returns the fault for a response that cannot be forwarded. */
export function unusable(cause: Error): Fault {
  return new Fault('upstream_unreachable', {
    text: 'upstream_unreachable.unusable',
    cause,
  })
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** The error codes of HTTP/2 by their numbers: https://www.rfc-editor.org/rfc/rfc9113#section-7 */
const ERROR_CODES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
]

const RESET_REASONS = new Map([
  [NGHTTP2_ENHANCE_YOUR_CALM, ': the response headers exceed limits.answerHeaders, or the application limits requests'],
  [NGHTTP2_PROTOCOL_ERROR, ': the response violates HTTP/2, or the application rejects the form of the request'],
  [NGHTTP2_HTTP_1_1_REQUIRED, ': the application requires HTTP/1.1 for this request'],
])

/** Returns the error of a stream that the upstream has reset. */
export function resetError(code: number): Error {
  return new Error(`the stream was reset with ${codeName(code)}${RESET_REASONS.get(code) ?? ''}`)
}

/** Returns the error of a connection that the upstream has ended with GOAWAY. */
export function goawayError(code: number): Error {
  return new Error(`the application ended the connection with ${codeName(code)}`)
}

/** Returns why a connection has ended, from the error with which Node.js has ended its streams. */
export function sessionError(error: Error | null): Error {
  if (error === null) return new Error('other side closed')
  return codeOf(error) === 'ERR_HTTP2_ERROR' ? violation(`: ${error.message}`) : error
}

/** Returns the error of a connection on which the upstream has violated HTTP/2. nghttp2 limits a header to 64 kB. */
export function violation(detail = ''): Error {
  return new Error(`the application violated HTTP/2, or sent a header above 64 kB${detail}`)
}

function codeName(code: number): string {
  return ERROR_CODES[code] ?? String(code)
}
