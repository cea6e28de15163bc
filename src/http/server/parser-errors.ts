import { STATUS_CODES, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Config } from '../../config/schema.ts'
import { Fault, faults } from '../../errors.ts'
import { classify } from '../../gate/classify.ts'
import type { FindCors } from '../../gate/cors.ts'
import type { RequestKind } from '../../gate/verdict.ts'
import { createLimiter } from '../../resilience/limiter.ts'
import { openAccessLog, type AccessLine } from '../../telemetry/access-line.ts'
import { type Log, printable } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { PageServices } from '../answers/actions.ts'
import { contentOf, answerFor } from '../answers/send.ts'
import { peerOf } from '../facts.ts'
import { causesWithHint } from '../failure-hints.ts'
import { idOf, newRequestId } from '../request-id.ts'
import type { Http2Response } from './http2-stream.ts'
import { answerUnderWay, passDrain, inTurn, latestAnswer } from './response-queue.ts'

export interface ClientError extends Error {
  readonly code?: string
  reason?: string
  /** The bytes that could not be parsed: usually a whole head, sometimes a part of it. */
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

export interface Refusals {
  /**
   * Refuses bytes that the HTTP parser or TLS could not read. `request` is the request whose body was being read; its
   * access line reports the refusal.
   */
  onClientError(error: ClientError, socket: Socket, request: IncomingMessage | null): void
  /**
   * Refuses a request of an HTTP/2 stream. Resets the stream if the response has begun. The access line of a request
   * that was routed reports the refusal.
   */
  refuseStream(fault: Fault, response: Http2Response, wasRouted: boolean): void
  /** Refuses an HTTP/1.1 request whose body has stopped arriving. */
  onSilentUpload(socket: Socket, request: IncomingMessage): void
  /** Returns whether a request on this connection was refused. Further bytes must not be read as another request. */
  hasRefused(socket: Socket): boolean
  /** Records that a client has violated HTTP/2, for which Node.js closes the connection. */
  onConnectionError(error: Error, connection: Pick<Socket, 'remoteAddress'>): void
  /**
   * Refuses an upgrade or CONNECT, for which Node.js has released the connection. The earlier responses are finished,
   * then the connection ends.
   */
  refuse(fault: Fault, socket: Socket, request: IncomingMessage): void
}

interface RefusalServices {
  readonly log: Log
  readonly metrics: Pick<Metrics, 'countRequest'>
  readonly config: () => PageServices['config'] & Pick<Config, 'scripts'>
  readonly routes: () => PageServices['routes']
  readonly findCors: () => FindCors
}

interface Head {
  readonly method: string
  readonly path: string
  readonly kind: RequestKind
  /** The headers as far as they have been read. */
  readonly headers: IncomingHttpHeaders
}

type Rejected = Pick<AccessLine, 'status' | 'verdict' | 'aborted' | 'cause'>

/** How long a refused client may take to close its side. */
const LINGER_MS = 2_000
/** How many refusals are logged per second. All refusals are counted. */
const MAX_LINES_A_SECOND = 100
const LONGEST_PATH = 1_000
const MOST_LINES = 200

const refused = new WeakMap<IncomingMessage, Rejected>()

/** Returns how a request was refused while its body was read, or `null`. */
export function rejectionOf(request: IncomingMessage): Rejected | null {
  return refused.get(request) ?? null
}

export function createRefusals({ log, metrics, config, routes, findCors }: RefusalServices): Refusals {
  const writeLine = openAccessLog(log)
  const mayLog = limitLines(log)
  const ended = new WeakSet<Socket>()

  function refuse(fault: Fault, socket: Socket, request: IncomingMessage | null, head: Head, wait = inOrder): void {
    // The bytes that a client sends after a refused request must not be read as another request.
    if (ended.has(socket)) return
    ended.add(socket)
    wait(socket, request, () => {
      answer(fault, socket, request, head)
    })
  }

  function answer(fault: Fault, socket: Socket, request: IncomingMessage | null, head: Head): void {
    const id = request === null ? newRequestId() : idOf(request)
    const answered = mayAnswer(socket, request)
    if (answered) {
      setTimeout(() => {
        socket.destroy()
      }, LINGER_MS).unref()
      socket.end(rawAnswer(fault, head, id))
    } else socket.destroy()
    record(fault, id, peerOf(socket), request, head, answered)
  }

  /** Logs and counts a refusal. The access line of a request that the gate has seen reports the refusal. */
  function record(
    { code, status, cause: origin }: Fault,
    id: string,
    peer: string,
    request: IncomingMessage | null,
    { method, path, kind }: Head,
    answered: boolean,
  ): void {
    const client = peer || '-'
    const logged = mayLog()
    const cause = causesWithHint(origin)
    if (logged) log[faults[code].level]({ event: code, id, client, cause }, code)
    const outcome: Rejected = { status, verdict: code, aborted: !answered, cause }
    if (request !== null) {
      refused.set(request, outcome)
      return
    }
    metrics.countRequest('-', kind, code, status)
    if (logged) writeLine({ id, method, host: '-', path, route: '-', ms: 0, client, traceId: null, ...outcome })
  }

  function contentFor(
    fault: Fault,
    { method, path, kind, headers: sent }: Head,
    id: string,
  ): { headers: Readonly<Record<string, string>>; body: string } {
    const situation = { kind, facts: null, route: null, session: null, now: Date.now() }
    const request = { id, acceptLanguage: sent['accept-language'] }
    const { headers, body } = contentOf(answerFor(fault), situation, { config: config(), routes: routes() }, request)
    const { 'content-type': type = '', 'cache-control': _same, ...others } = headers
    return {
      headers: {
        'Content-Type': type,
        'Content-Length': String(Buffer.byteLength(body)),
        'Gatehouse': fault.code,
        'Cache-Control': 'no-store',
        'X-Request-Id': id,
        ...others,
        ...findCors()(method, path, sent),
      },
      body,
    }
  }

  function rawAnswer(fault: Fault, head: Head, id: string): string {
    const { headers, body } = contentFor(fault, head, id)
    return [
      `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status] ?? ''}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      'Connection: close',
      '',
      body,
    ].join('\r\n')
  }

  /** Returns the kind of a refused request. A HEAD gets no page, because browsers do not show its response. */
  function kindOf(method: string, headers: IncomingHttpHeaders): RequestKind {
    return method === 'HEAD' ? 'script' : classify(method, headers, config().scripts)
  }

  function headOf({ method = 'GET', url = '', headers }: IncomingMessage): Head {
    const path = printable(url.split('?', 1)[0] ?? '').slice(0, LONGEST_PATH)
    return { method, path, kind: kindOf(method, headers), headers }
  }

  function readHead({ rawPacket, bytesParsed, code }: ClientError): Head {
    if (rawPacket === undefined) return { method: '-', path: '-', kind: 'script', headers: {} }
    const text = rawPacket.toString('latin1')
    const [first = '', ...lines] = text.slice(lastHead(text, bytesParsed ?? 0)).split('\r\n', MOST_LINES)
    const [, method = '-', path = '-'] = /^([A-Z]{1,20}) (\/[^\s?#]*)?/.exec(first) ?? []
    const headers = headersIn(lines)
    // The bytes are a later part of a head that arrived in parts, mostly from a browser with too many cookies.
    const isPiece = code === 'HPE_HEADER_OVERFLOW' && method === '-' && headers.accept === undefined
    const kind = isPiece ? 'navigation' : kindOf(method === '-' ? 'GET' : method, headers)
    return { method, path: printable(path).slice(0, LONGEST_PATH), kind, headers }
  }

  return {
    onClientError(error, socket, request) {
      const fault = faultOf(error, request)
      if (fault !== null) {
        // A client that has sent no bytes has made no request.
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
    refuseStream(fault, response, wasRouted) {
      const { req: request } = response
      const id = idOf(request)
      const head = headOf(request)
      const answered = !response.headersSent
      if (answered) {
        const { headers, body } = contentFor(fault, head, id)
        response.writeHead(fault.status, headers).end(request.method === 'HEAD' ? null : body)
      } else response.destroy()
      record(fault, id, peerOf(request.socket), wasRouted ? request : null, head, answered)
    },
    onSilentUpload(socket, request) {
      refuse(uploadStopped(), socket, request, headOf(request))
    },
    hasRefused: (socket) => ended.has(socket),
    onConnectionError(error, connection) {
      const head: Head = { method: '-', path: '-', kind: 'script', headers: {} }
      record(new Fault('bad_request', { cause: error }), newRequestId(), peerOf(connection), null, head, false)
    },
    refuse(fault, socket, request) {
      lookAfter(socket)
      refuse(fault, socket, null, headOf(request), behindAll)
    },
  }
}

/**
 * Calls `ready` when a refusal cannot be mistaken for the response to an earlier request: after that response, or at
 * once if that response has begun.
 */
function inOrder(socket: Socket, request: IncomingMessage | null, ready: () => void): void {
  const latest = latestAnswer(socket)
  if (latest === null || answerUnderWay(socket)?.headersSent === true) ready()
  else if (latest.req === request) inTurn(latest, ready)
  else latest.once('close', ready)
}

function behindAll(socket: Socket, _request: IncomingMessage | null, ready: () => void): void {
  const latest = latestAnswer(socket)
  if (latest === null) ready()
  else latest.once('close', ready)
}

/**
 * Replaces the listeners that Node.js removes from a connection at an upgrade or CONNECT, so that responses continue
 * after `drain` and the connection ends when the client disconnects. Discards what the client sends.
 */
function lookAfter(socket: Socket): void {
  socket
    .on('drain', passDrain)
    .on('end', () => {
      socket.end()
    })
    // Without an `error` listener, a reset would end the process.
    .on('error', () => {
      socket.destroy()
    })
    .resume()
}

/** Returns whether a refusal can be sent. In the middle of a response, it would be read as part of that response. */
function mayAnswer(socket: Socket, request: IncomingMessage | null): boolean {
  const busy = answerUnderWay(socket)
  if (!socket.writable) return false
  return busy === null || (!busy.headersSent && busy.req === request)
}

export function headTooLarge(cause?: Error): Fault {
  const because = new Error('the head is larger than limits.headers', { cause })
  return new Fault('bad_request', { status: 431, text: 'bad_request.large_head', cause: because })
}

/** Creates the fault for a request whose body has stopped arriving. */
export function uploadStopped(): Fault {
  return timedOut(new Error('the body has stopped arriving'))
}

function timedOut(cause: Error): Fault {
  return new Fault('bad_request', { status: 408, text: 'bad_request.too_slow', cause })
}

/** Returns why a request is refused, or `null` if the connection failed without a request. */
function faultOf(error: ClientError, request: IncomingMessage | null): Fault | null {
  const because = (text: string): Error => new Error(text, { cause: error })
  switch (error.code ?? '') {
    case 'HPE_HEADER_OVERFLOW':
      return request === null
        ? headTooLarge(error)
        : new Fault('bad_request', { status: 431, cause: because('the trailers are larger than limits.headers') })
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new Fault('payload_too_large', { cause: because('the extensions of the chunks are too large') })
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return request === null ? timedOut(because('the head took longer than limits.headersTimeout')) : uploadStopped()
    case 'HPE_INVALID_EOF_STATE':
      // The client has disconnected in the middle of its body.
      return request === null ? new Fault('bad_request', { cause: error }) : null
    case 'ERR_SSL_HTTP_REQUEST':
      return new Fault('bad_request', { cause: new Error('plain HTTP where TLS is spoken') })
    default:
      if (error.code?.startsWith('HPE_') !== true) return null
      return new Fault('bad_request', {
        cause: isTlsHello(error.rawPacket) ? because('TLS where plain HTTP is spoken') : error,
      })
  }
}

/**
 * Returns whether bytes are a handshake record of TLS.
 * @see https://www.rfc-editor.org/rfc/rfc8446#section-5.1
 */
function isTlsHello(bytes: Buffer | undefined): boolean {
  return bytes?.[0] === 0x16 && bytes[1] === 0x03
}

/** Returns the offset of the head in which the parser stopped, which may follow another head. */
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

function limitLines(log: Log): () => boolean {
  const hasRoom = createLimiter(MAX_LINES_A_SECOND, 1_000)
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
