import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { faults, type FaultCode } from '../errors.ts'
import { answerUnderWay } from './answer-under-way.ts'
import { PROBLEM_TYPE, problem } from './problem.ts'

/** How long a client that was refused may take to close its side, ms. */
const LAST_WORDS = 2_000

/** Answers what the HTTP parser refuses, before there is a request: a problem, then the connection closes. */
export function answerParserError(error: Error & { code?: string }, socket: Socket): void {
  // In the middle of an answer, another one would be read as part of it.
  const answering = answerUnderWay(socket)?.headersSent === true
  if (error.code === 'ECONNRESET' || !socket.writable || answering) {
    socket.destroy()
    return
  }
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code ?? ''] ?? 400
  setTimeout(() => {
    socket.destroy()
  }, LAST_WORDS).unref()
  socket.end(rawProblem(status, 'bad_request'))
}

/** A complete HTTP/1.1 answer with a problem, for a connection that never becomes a request. */
export function rawProblem(status: number, code: FaultCode): string {
  const { title, detail } = faults[code]
  const body = problem({ status, code, title, detail })
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    `Gatehouse: ${code}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}
