import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import { performance } from 'node:perf_hooks'
import type { Duplex } from 'node:stream'
import { errors, type Dispatcher } from 'undici'
import { Fault } from '../../errors.ts'
import type { CompiledRoute, Facts } from '../../gate/verdict.ts'
import { breakOff } from '../answer-queue.ts'
import { printable } from '../printable.ts'
import { isPlainCoding } from '../transfer-coding.ts'
import { clientHeaders } from './answer.ts'
import { begin, complete, deliver, type Delivery } from './delivery.ts'
import { allowLastWords, isEventStream } from './event-stream.ts'
import { waitForFinal } from './final-answer.ts'
import { endedUsedConnection } from './undici-parser.ts'

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
export function closeBehindUpload(job: Pick<Transfer, 'request' | 'response'>, hasBody: boolean): void {
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
