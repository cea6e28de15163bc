import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { performance } from 'node:perf_hooks'
import { type Duplex, Readable } from 'node:stream'
import { errors, type Dispatcher } from 'undici'
import { Fault } from '../../errors.ts'
import type { CompiledRoute, Facts } from '../../gate/verdict.ts'
import { printable } from '../printable.ts'
import { askForBody, waitsToBeAsked } from '../server/expect-continue.ts'
import { tooManyFields } from '../server/header-fields.ts'
import { hasBody } from '../server/lingering-close.ts'
import { breakOff } from '../server/response-queue.ts'
import { isPlainCoding } from '../server/transfer-coding.ts'
import { begin, complete, deliver, type Delivery, allowLastWords, isEventStream } from './response-body.ts'
import { clientHeaders } from './response-headers.ts'
import { endedUsedConnection } from './undici-parser.ts'
import { upstreamPath } from './upstream-path.ts'

/** What an upstream's answer is judged by. */
export interface UpstreamAnswer {
  readonly status: number
  readonly location: string | null
  /** The values of WWW-Authenticate. */
  readonly authenticate: readonly string[]
}

/** One request on its way to its upstream. */
export interface Transfer {
  readonly pool: Dispatcher
  readonly route: CompiledRoute
  readonly facts: Facts
  readonly headers: string[]
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly isOwnCookie: (name: string) => boolean
  /** How many trailer fields the request may have. */
  readonly headerFields: number
  /**
   * What to do instead of passing on an upstream's answer that says where to go or who may come; `null` to pass it.
   */
  intercept(answer: UpstreamAnswer, repeatable: boolean): (() => void) | null
  /** The answer is an event stream: `end` ends it. Returns what to call when it is over. */
  onEventStream(end: () => void): () => void
  /**
   * The wait for the upstream is over, after so many ms; `status` is `null` without an answer, `passed` once its head
   * has gone to the client.
   */
  onWaited(ms: number, status: number | null, passed: boolean): void
  /** The answer has begun, and its rest will not come. */
  onBrokenOff(error: Error): void
  /** Called once when nothing has been answered and nothing will come. */
  fail(fault: Fault): void
}

/** RFC 9110, section 9.2.2: a request that was refused may be sent again. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** An idle connection that the upstream closed just as it was taken again. */
const STALE = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'])

/** RFC 9112, section 4, one character a byte. */
const PHRASE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/

/** What is particular to one way of sending. */
interface Way {
  /** When the upstream was asked, ms of `performance.now`. */
  readonly handedAt: number
  readonly hasBody: boolean
  /** Sends the request again, as often as that makes sense; `null` where it does not. */
  readonly retry: (() => void) | null
  /** The upstream has switched protocols. */
  readonly onSwitched?: (rawHeaders: readonly (Buffer | string)[], socket: Duplex) => void
}

/**
 * What becomes of the upstream's answer. Of undici's two forms of handlers this is the one that it uses itself: the
 * other one makes an object of all headers first, which nobody here looks at. It is one object with its methods on the
 * prototype, because every request makes one.
 */
export class Receiver implements Delivery, Dispatcher.DispatchHandler {
  readonly response: ServerResponse
  held: Buffer | null = null
  begun = false
  readonly #job: Transfer
  readonly #way: Way
  readonly #gone: () => void
  /** Whatever the upstream still says is not for the client. */
  #over = false
  #paused = false
  /** The upstream has begun to answer. */
  #answered = false
  #abort: ((reason: Error) => void) | null = null
  #resume: (() => void) | null = null
  #stopWaiting: (() => void) | null = null
  #forgetStream: (() => void) | null = null

  constructor(job: Transfer, way: Way) {
    this.response = job.response
    this.#job = job
    this.#way = way
    this.#gone = () => {
      this.#stop('the client has gone')
    }
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#resume?.()
  }

  onConnect(abort: (reason: Error) => void): void {
    this.#abort = abort
    if (hasLeft(this.#job)) {
      this.#stop('the client has gone')
      return
    }
    this.response.on('close', this.#gone)
    if (!this.#way.hasBody) this.#stopWaiting = this.#waitForFinal()
  }

  onResponseStarted(): void {
    this.#answered = true
  }

  /** `rawHeaders`: name, value …; interim answers (RFC 9110, section 15.2) have heads of their own. */
  onHeaders(status: number, rawHeaders: readonly Buffer[], resume: () => void, phrase: string): boolean {
    this.#resume = resume
    if (status < 200) this.#stopWaiting ??= this.#waitForFinal()
    else this.#takeHead(status, rawHeaders, phrase)
    return !this.#paused
  }

  onData(chunk: Buffer): boolean {
    if (!this.#over) deliver(this, chunk)
    return !this.#paused
  }

  onComplete(): void {
    if (this.#over) return
    this.#finish()
    complete(this)
  }

  onUpgrade(_status: number, rawHeaders: readonly (Buffer | string)[] | null, socket: Duplex): void {
    this.#finish()
    this.#way.onSwitched?.(rawHeaders ?? [], socket)
  }

  onError(error: Error): void {
    if (this.#over) return
    this.#finish()
    const job = this.#job
    const { retry, hasBody, handedAt } = this.#way
    if (hasLeft(job)) return
    if (this.response.headersSent) {
      // A fault is about the client's body.
      if (!(error instanceof Fault)) job.onBrokenOff(error)
      breakOff(this.response)
    } else if (retry !== null && !this.#answered && STALE.has(codeOf(error)) && endedUsedConnection(error)) {
      retry()
    } else {
      closeBehindUpload(job, hasBody)
      job.onWaited(performance.now() - handedAt, null, false)
      job.fail(faultOf(error, this.#answered))
    }
  }

  #takeHead(status: number, rawHeaders: readonly Buffer[], phrase: string): void {
    const { response } = this
    const job = this.#job
    const { hasBody, handedAt } = this.#way
    this.#stopWaiting?.()
    const waited = performance.now() - handedAt
    const { headers, transferEncoding, location, contentType, authenticate } = clientHeaders(
      rawHeaders,
      job.isOwnCookie,
    )
    if (transferEncoding !== null && !isPlainCoding(transferEncoding))
      throw unusable(new Error(`the answer has a transfer coding other than chunked: ${printable(transferEncoding)}`))
    const instead =
      location === null && authenticate.length === 0
        ? null
        : job.intercept({ status, location, authenticate }, !hasBody && IDEMPOTENT.has(job.facts.method))
    if (instead !== null) {
      this.#stop('answered by the gateway')
      job.onWaited(waited, status, false)
      closeBehindUpload(job, hasBody)
      instead()
      return
    }
    if (isUploading(job, hasBody)) headers.push('Connection', 'close')
    if (status === 204) dropLength(headers)
    response.writeHead(status, statusText(status, phrase), headers)
    job.onWaited(waited, status, true)
    if (isEventStream(contentType))
      this.#forgetStream = job.onEventStream(() => {
        this.#endStream()
      })
    // What has come in together is dealt with by then.
    process.nextTick(begin, this)
  }

  #waitForFinal(): () => void {
    const { request, route } = this.#job
    return waitForFinal(request, this.#way.hasBody, route.timeout, () => {
      this.#abort?.(new errors.HeadersTimeoutError())
    })
  }

  #endStream(): void {
    this.#stop('the stream was ended')
    complete(this)
    allowLastWords(this.response)
  }

  #finish(): void {
    this.#over = true
    this.response.off('close', this.#gone)
    this.#stopWaiting?.()
    this.#forgetStream?.()
  }

  #stop(why: string): void {
    if (this.#over) return
    this.#finish()
    this.#abort?.(new Error(why))
  }
}

/**
 * Lets the gateway's own answer be the last one on a connection on which a body is still coming that nobody reads any
 * more.
 */
function closeBehindUpload(job: Pick<Transfer, 'request' | 'response'>, hasBody: boolean): void {
  if (isUploading(job, hasBody)) job.response.setHeader('connection', 'close')
}

/**
 * Whether the answer comes before the client has sent all: what it sends afterwards must not be taken for a request.
 */
function isUploading({ request }: Pick<Transfer, 'request'>, hasBody: boolean): boolean {
  return hasBody && !request.complete
}

/** RFC 9110, section 8.6: who believes it would wait for a body that a 204 never has. */
function dropLength(headers: string[]): void {
  for (let i = headers.length - 2; i >= 0; i -= 2)
    if (headers[i]?.toLowerCase() === 'content-length') headers.splice(i, 2)
}

/** The status text for the client: the upstream's own, or the usual one where that can't be sent. */
export function statusText(status: number, phrase: string | null): string {
  return phrase !== null && PHRASE.test(phrase) ? phrase : (STATUS_CODES[status] ?? '')
}

/** Whether the client has gone; an answer that waits for its turn hears of it a moment later. */
function hasLeft({ request, response }: Pick<Transfer, 'request' | 'response'>): boolean {
  return response.destroyed || request.socket.destroyed
}

/** `answered`: the upstream has said something, but nothing that can be passed on. */
function faultOf(error: Error, answered: boolean): Fault {
  if (error instanceof Fault) return error
  if (TIMEOUTS.has(codeOf(error))) return new Fault('upstream_timeout', { cause: error })
  return answered ? unusable(error) : new Fault('upstream_unreachable', { cause: error })
}

function unusable(cause: Error): Fault {
  return new Fault('upstream_unreachable', {
    title: 'Unusable answer',
    detail: 'The application behind this address gave an answer that can’t be passed on.',
    cause,
  })
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** What may be sent anew where a connection turns out to be closed (RFC 9110, section 9.2.1). */
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** An application that restarts closes all of them at once. */
const MAX_RETRIES = 3

/**
 * Sends the request upstream and its answer back, both as streams with back-pressure, nothing kept, nothing changed.
 */
export function transfer(job: Transfer): void {
  const { route, facts, request } = job
  const body = hasBody(request)
  if (route.maxBody !== null && Number(request.headers['content-length'] ?? 0) > route.maxBody) {
    closeBehindUpload(job, body)
    job.fail(new Fault('payload_too_large'))
    return
  }
  send(job, performance.now(), body, !body && REPEATABLE.has(facts.method) ? MAX_RETRIES : 0)
}

function send(job: Transfer, handedAt: number, hasBody: boolean, retries: number): void {
  const { route, facts } = job
  const retry =
    retries === 0
      ? null
      : () => {
          send(job, handedAt, hasBody, retries - 1)
        }
  const options: Dispatcher.DispatchOptions = {
    path: upstreamPath(route, facts.path) + facts.query,
    method: facts.method,
    headers: job.headers,
    body: hasBody ? bodyOf(job) : null,
    headersTimeout: headersTimeout(route, hasBody),
    bodyTimeout: 0,
  }
  job.pool.dispatch(options, new Receiver(job, { handedAt, hasBody, retry }))
}

/** Leaves the client's connection open when the upstream fails: it still has to get its answer. */
function bodyOf(job: Transfer): Readable {
  const { request, route } = job
  const chunks = request.iterator({ destroyOnReturn: false })
  const plain = route.maxBody === null && !waitsToBeAsked(request) && request.headers['transfer-encoding'] === undefined
  return Readable.from(plain ? chunks : watched(job, chunks), { objectMode: false })
}

/**
 * Asks for the body only when the upstream is there to take it, and takes no more bytes and trailer fields than there
 * may be.
 */
async function* watched(
  { request, route, headerFields }: Transfer,
  chunks: AsyncIterable<Buffer>,
): AsyncIterable<Buffer> {
  askForBody(request)
  const most = route.maxBody ?? Number.POSITIVE_INFINITY
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.length
    if (size > most) throw new Fault('payload_too_large')
    yield chunk
  }
  if (request.rawTrailers.length > 2 * headerFields) throw tooManyFields('trailer', headerFields)
}

/**
 * How long undici is to wait for an answer's head, ms. Without a body there is no limit (0): its clock ticks twice a
 * second, and what it has kept in mind for requests that are over, each collection of memory carries along. Their time is
 * kept by `waitForFinal` instead.
 */
export function headersTimeout({ timeout }: Pick<CompiledRoute, 'timeout'>, hasBody: boolean): number {
  return hasBody ? timeout : 0
}

/**
 * Calls `late` when `timeout` ms have passed. With a body, for which undici's clock starts anew at each interim answer, it
 * looks again as often as that until the client has sent it. Returns how to stop counting.
 */
function waitForFinal(request: IncomingMessage, hasBody: boolean, timeout: number, late: () => void): () => void {
  let last: NodeJS.Immediate | undefined
  const wait = (): NodeJS.Timeout =>
    setTimeout(() => {
      if (hasBody && !request.complete) timer = wait()
      // A process that was stopped for a while hears of its timers before it looks at its sockets.
      else last = setImmediate(late)
    }, timeout)
  let timer = wait()
  return () => {
    clearTimeout(timer)
    clearImmediate(last)
  }
}
