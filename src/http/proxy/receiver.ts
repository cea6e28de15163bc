import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import { performance } from 'node:perf_hooks'
import type { Dispatcher } from 'undici'
import { Fault } from '../../errors.ts'
import type { CompiledRoute, Facts } from '../../gate/verdict.ts'
import { clientHeaders } from './answer.ts'
import { begin, complete, deliver, newDelivery } from './delivery.ts'
import { hasLeft, offDeparture, onDeparture } from './departure.ts'
import type { AnswerHandler, Control } from './dispatch.ts'
import { allowLastWords, isEventStream } from './event-stream.ts'
import { waitForFinal } from './final-answer.ts'

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
  /** What to do instead of passing the upstream's answer on; `null` to pass it. */
  readonly intercept: (answer: UpstreamAnswer, repeatable: boolean) => (() => void) | null
  /** The answer is an event stream: `end` ends it. Returns what to call when it is over. */
  readonly onEventStream: (end: () => void) => () => void
  /**
   * The wait for the upstream is over, after so many ms; `status` is `null` without an answer, `passed` once its head
   * has gone to the client.
   */
  readonly onWaited: (ms: number, status: number | null, passed: boolean) => void
  /** Called once when nothing has been answered and nothing will come. */
  readonly fail: (fault: Fault) => void
}

/** RFC 9110, section 9.2.2: a request that was refused may be sent again. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** An idle connection that the upstream closed just as it was taken again. */
const STALE = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'])

/** RFC 9112, section 4; undici has read it as UTF-8. */
const PHRASE = /^[\t\u0020-\u007e]+$/

/**
 * What becomes of the upstream's answer; `handedAt` is when it was asked (ms of `performance.now`), `retry` sends the
 * request again, as often as that makes sense.
 */
export function receiver(job: Transfer, handedAt: number, hasBody: boolean, retry: (() => void) | null): AnswerHandler {
  const { request, response } = job
  const delivery = newDelivery(response)
  /** Whatever the upstream still says is not for the client. */
  let over = false
  let control: Control | null = null
  let stopWaiting: (() => void) | null = null

  const gone = (): void => {
    stop('the client has gone')
  }
  const finish = (): void => {
    over = true
    offDeparture(job, gone)
    stopWaiting?.()
  }
  const stop = (why: string): void => {
    if (over) return
    finish()
    delivery.upstream?.abort(new Error(why))
  }
  const endStream = (): void => {
    stop('the stream was ended')
    complete(delivery)
    allowLastWords(response)
  }

  return {
    onStart(upstream) {
      control = upstream
      delivery.upstream = upstream
      if (hasLeft(job)) stop('the client has gone')
      else onDeparture(job, gone)
    },
    onHead(status, rawHeaders, phrase) {
      if (status < 200) {
        stopWaiting ??= waitForFinal(request, hasBody, job.route.timeout, () => {
          control?.abort(new Fault('upstream_timeout'))
        })
        return
      }
      stopWaiting?.()
      const waited = performance.now() - handedAt
      const { headers, location, contentType, authenticate } = clientHeaders(rawHeaders, job.isOwnCookie)
      const instead = job.intercept({ status, location, authenticate }, !hasBody && IDEMPOTENT.has(job.facts.method))
      if (instead !== null) {
        stop('answered by the gateway')
        job.onWaited(waited, status, false)
        closeBehindUpload(job, hasBody)
        instead()
        return
      }
      if (isUploading(job, hasBody)) headers.push('Connection', 'close')
      if (status === 204) dropLength(headers)
      response.writeHead(status, PHRASE.test(phrase) ? phrase : STATUS_CODES[status], headers)
      job.onWaited(waited, status, true)
      if (isEventStream(contentType)) response.once('close', job.onEventStream(endStream))
      // What has come in together is dealt with by then.
      process.nextTick(begin, delivery)
    },
    onData(chunk) {
      if (!over) deliver(delivery, chunk)
    },
    onEnd() {
      if (over) return
      finish()
      complete(delivery)
    },
    onError(error) {
      if (over) return
      finish()
      if (hasLeft(job)) return
      if (response.headersSent) {
        response.destroy(error)
      } else if (retry !== null && STALE.has(codeOf(error))) {
        retry()
      } else {
        closeBehindUpload(job, hasBody)
        job.onWaited(performance.now() - handedAt, null, false)
        job.fail(faultOf(error))
      }
    },
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

function faultOf(error: Error): Fault {
  if (error instanceof Fault) return error
  return new Fault(TIMEOUTS.has(codeOf(error)) ? 'upstream_timeout' : 'upstream_unreachable', { cause: error })
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}
