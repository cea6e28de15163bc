import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { faults, type FaultCode } from '../errors.ts'
import { inTurn, latestAnswer } from './answer-queue.ts'
import { answerUnderWay } from './answer-under-way.ts'
import { PROBLEM_TYPE, problem } from './problem.ts'

/** How long a client that was refused may take to close its side, ms. */
const LAST_WORDS = 2_000

/** What comes behind an error is garbage, and the parser reports each piece of it. */
const refused = new WeakSet<Socket>()

/**
 * Answers what the HTTP parser refuses, before there is a request: a problem, behind the answers to earlier requests,
 * then the connection closes.
 */
export function answerParserError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  if (refused.has(socket)) return
  const status = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code ?? ''] ?? 400
  refuse(socket, rawProblem(status, 'bad_request'))
}

/**
 * Sends a raw answer as the last one on its connection, in the order of the requests; in the middle of another answer the
 * connection only closes.
 */
export function refuse(socket: Socket, answer: string): void {
  refused.add(socket)
  const end = (): void => {
    if (!socket.writable || answerUnderWay(socket)?.headersSent === true) {
      socket.destroy()
      return
    }
    setTimeout(() => {
      socket.destroy()
    }, LAST_WORDS).unref()
    socket.end(answer)
  }
  const latest = latestAnswer(socket)
  if (latest === null || answerUnderWay(socket)?.headersSent === true) end()
  else if (latest.req.complete) latest.once('finish', end)
  else inTurn(latest, end)
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
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}
