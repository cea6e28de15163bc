import { STATUS_CODES, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Config } from '../../config/schema.ts'
import { Fault, causes, faults } from '../../errors.ts'
import { classify } from '../../gate/classify.ts'
import type { RequestKind } from '../../gate/verdict.ts'
import { createLimiter } from '../../resilience/limiter.ts'
import { openAccessLog, type AccessLine } from '../../telemetry/access-line.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import { contentOf, answerFor } from '../answers/send.ts'
import { peerOf } from '../facts.ts'
import { printable } from '../printable.ts'
import { idOf, newRequestId } from '../request-id.ts'
import { answerUnderWay, passDrain } from './answer-under-way.ts'
import { inTurn, latestAnswer } from './response-queue.ts'

/** What Node says of a connection on which it could not read on. */
export interface ClientError extends Error {
  readonly code?: string
  readonly reason?: string
  /** The bytes in which it happened: mostly all of a head, sometimes a piece of one. */
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

/** Answers, logs and counts what is refused without going the way of all requests. */
export interface Refusals {
  /**
   * What the HTTP parser or TLS could not read. `request` is the one whose body was being read: its own access line
   * tells the refusal.
   */
  onClientError(error: ClientError, socket: Socket, request: IncomingMessage | null): void
  /**
   * An upgrade or CONNECT, for which Node.js has let go of the connection: the answers before it are finished, then it
   * is refused, and the connection ends.
   */
  refuse(fault: Fault, socket: Socket, request: IncomingMessage): void
}

interface RefusalServices {
  readonly log: Log
  readonly metrics: Pick<Metrics, 'countRequest'>
  /** The configuration as it is. */
  readonly config: () => Pick<Config, 'pages' | 'scripts' | 'publicUrl'>
}

/** What is known of a request that was refused. */
interface Head {
  readonly method: string
  readonly path: string
  readonly kind: RequestKind
}

/** What became of a request that was refused in the middle of its body. */
type Refused = Pick<AccessLine, 'status' | 'verdict' | 'aborted' | 'cause'>

/** How long a client that was refused may take to close its side, ms. */
const LAST_WORDS = 2_000
/** How many refusals a second are logged; all are counted. */
const LINES_A_SECOND = 100
const LONGEST_PATH = 1_000
const MOST_LINES = 200

const HEAD_TOO_LARGE =
  'The address and the headers of this request are too large. Mostly that is too many cookies: delete the cookies of ' +
  'this site in your browser, then try again.'

const refused = new WeakMap<IncomingMessage, Refused>()

/** How a request was refused while its body was read, or `null`. */
export function refusalOf(request: IncomingMessage): Refused | null {
  return refused.get(request) ?? null
}

/** For one listener. */
export function createRefusals({ log, metrics, config }: RefusalServices): Refusals {
  const writeLine = openAccessLog(log)
  const mayLog = limitLines(log)
  const ended = new WeakSet<Socket>()

  function refuse(fault: Fault, socket: Socket, request: IncomingMessage | null, head: Head, wait = inOrder): void {
    // What still comes on a connection that was refused is no further request.
    if (ended.has(socket)) return
    ended.add(socket)
    wait(socket, request, () => {
      answer(fault, socket, request, head)
    })
  }

  function answer(fault: Fault, socket: Socket, request: IncomingMessage | null, head: Head): void {
    const { code, status } = fault
    const id = request === null ? newRequestId() : idOf(request)
    const client = peerOf(socket) || '-'
    const answered = mayAnswer(socket, request)
    if (answered) {
      setTimeout(() => {
        socket.destroy()
      }, LAST_WORDS).unref()
      socket.end(rawAnswer(fault, head.kind, id))
    } else socket.destroy()

    const logged = mayLog()
    const cause = causes(fault.cause)
    if (logged) log[faults[code].level]({ event: code, id, client, cause }, code)
    const outcome: Refused = { status, verdict: code, aborted: !answered, cause }
    if (request !== null) {
      refused.set(request, outcome)
      return
    }
    const { method, path, kind } = head
    metrics.countRequest('-', kind, code)
    if (logged) writeLine({ id, method, path, route: '-', ms: 0, client, traceId: null, ...outcome })
  }

  /** A complete HTTP/1.1 answer, for a connection that never becomes a request. */
  function rawAnswer(fault: Fault, kind: RequestKind, id: string): string {
    const { pages, publicUrl } = config()
    const { headers, body } = contentOf(answerFor(fault), kind, id, publicUrl[0] ?? '', pages)
    const { 'content-type': type = '', 'cache-control': _same, ...others } = headers
    return [
      `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status] ?? ''}`,
      `Content-Type: ${type}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      `Gatehouse: ${fault.code}`,
      'Cache-Control: no-store',
      ...Object.entries(others).map(([name, value]) => `${name}: ${value}`),
      'Connection: close',
      '',
      body,
    ].join('\r\n')
  }

  /** No page for a HEAD: a browser shows nothing of its answer. */
  function kindOf(method: string, headers: IncomingHttpHeaders): RequestKind {
    return method === 'HEAD' ? 'script' : classify(method, headers, config().scripts)
  }

  function headOf({ method = 'GET', url = '', headers }: IncomingMessage): Head {
    const path = printable(url.split('?', 1)[0] ?? '').slice(0, LONGEST_PATH)
    return { method, path, kind: kindOf(method, headers) }
  }

  function readHead({ rawPacket, bytesParsed, code }: ClientError): Head {
    if (rawPacket === undefined) return { method: '-', path: '-', kind: 'script' }
    const text = rawPacket.toString('latin1')
    const [first = '', ...lines] = text.slice(lastHead(text, bytesParsed ?? 0)).split('\r\n', MOST_LINES)
    const [, method = '-', path = '-'] = /^([A-Z]{1,20}) (\/[^\s?#]*)?/.exec(first) ?? []
    const headers = headersIn(lines)
    // A head that has come in pieces, of which this is a later one: mostly a browser's with too many cookies.
    const isPiece = code === 'HPE_HEADER_OVERFLOW' && method === '-' && headers.accept === undefined
    const kind = isPiece ? 'navigation' : kindOf(method === '-' ? 'GET' : method, headers)
    return { method, path: printable(path).slice(0, LONGEST_PATH), kind }
  }

  return {
    onClientError(error, socket, request) {
      const fault = faultOf(error, request)
      if (fault !== null) {
        // A connection on which nothing was said has made no request.
        const wasSilent = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0
        if (wasSilent) socket.destroy()
        else refuse(fault, socket, request, request === null ? readHead(error) : headOf(request))
        return
      }
      if (/^ERR_(?:SSL|TLS)_/.test(error.code ?? '') && mayLog()) {
        const { code, reason } = error
        log.info(
          { event: 'tls_failed', client: peerOf(socket) || '-', cause: `${code}: ${reason}` },
          'a client could not speak TLS',
        )
      }
      socket.destroy()
    },
    refuse(fault, socket, request) {
      lookAfter(socket)
      refuse(fault, socket, null, headOf(request), behindAll)
    },
  }
}

/**
 * Calls `ready` once a refusal would not be taken for the answer to an earlier request: when that has ended, or at once
 * where it has begun.
 */
function inOrder(socket: Socket, request: IncomingMessage | null, ready: () => void): void {
  const latest = latestAnswer(socket)
  if (latest === null || answerUnderWay(socket)?.headersSent === true) ready()
  else if (latest.req === request) inTurn(latest, ready)
  else latest.once('close', ready)
}

/** Calls `ready` once every answer before has ended. */
function behindAll(socket: Socket, _request: IncomingMessage | null, ready: () => void): void {
  const latest = latestAnswer(socket)
  if (latest === null) ready()
  else latest.once('close', ready)
}

/**
 * Does for the answers on a connection what Node.js stops doing with an upgrade or CONNECT: tells them to go on, and
 * ends with the client. What the client still sends is dropped.
 */
function lookAfter(socket: Socket): void {
  socket
    .on('drain', passDrain)
    .on('end', () => {
      socket.end()
    })
    // Without a listener a reset would end the process.
    .on('error', () => {
      socket.destroy()
    })
    .resume()
}

/** Whether an answer can be sent: in the middle of another one it would be read as a part of that. */
function mayAnswer(socket: Socket, request: IncomingMessage | null): boolean {
  const busy = answerUnderWay(socket)
  if (!socket.writable) return false
  return busy === null || (!busy.headersSent && busy.req === request)
}

/** What has been refused; `null` where the connection has failed otherwise, and no request with it. */
function faultOf(error: ClientError, request: IncomingMessage | null): Fault | null {
  const because = (text: string): Error => new Error(text, { cause: error })
  switch (error.code ?? '') {
    case 'HPE_HEADER_OVERFLOW':
      return request === null
        ? new Fault('bad_request', {
            status: 431,
            detail: HEAD_TOO_LARGE,
            cause: because('the head is larger than limits.headers'),
          })
        : new Fault('bad_request', { status: 431, cause: because('the trailers are larger than limits.headers') })
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new Fault('payload_too_large', { cause: because('the extensions of the chunks are too large') })
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Fault('bad_request', {
        status: 408,
        detail: 'What you sent took too long to arrive.',
        cause: because(
          request === null ? 'the head took longer than limits.headersTimeout' : 'the body does not come any more',
        ),
      })
    case 'ERR_SSL_HTTP_REQUEST':
      return new Fault('bad_request', { cause: new Error('plain HTTP where TLS is spoken') })
    default:
      if (error.code?.startsWith('HPE_') !== true) return null
      return new Fault('bad_request', {
        cause: isTlsHello(error.rawPacket) ? because('TLS where plain HTTP is spoken') : error,
      })
  }
}

/** A handshake record of TLS (RFC 8446, section 5.1). */
function isTlsHello(bytes: Buffer | undefined): boolean {
  return bytes?.[0] === 0x16 && bytes[1] === 0x03
}

/** Where the head begins in which the parser stopped: behind the one before, when there is one. */
function lastHead(text: string, stopped: number): number {
  const end = text.lastIndexOf('\r\n\r\n', Math.max(0, stopped - 4))
  return end === -1 ? 0 : end + 4
}

function headersIn(lines: readonly string[]): IncomingHttpHeaders {
  const headers: Record<string, string> = {}
  for (const line of lines) {
    if (line === '') break
    const [, name, value = ''] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*)$/.exec(line) ?? []
    if (name !== undefined) headers[name.toLowerCase()] ??= value
  }
  return headers
}

/** Permits `LINES_A_SECOND` log lines a second, and logs how many it suppressed. */
function limitLines(log: Log): () => boolean {
  const hasRoom = createLimiter(LINES_A_SECOND, 1_000)
  let leftOut = 0
  const tell = (): void => {
    log.warn({ event: 'refusals_not_logged', count: leftOut }, 'some refused requests were not logged')
    leftOut = 0
  }
  return () => {
    if (hasRoom()) return true
    if (leftOut === 0) setTimeout(tell, 1_000).unref()
    leftOut += 1
    return false
  }
}
