import type { IncomingMessage, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import { performance } from 'node:perf_hooks'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { Fault } from '../../errors.ts'
import type { CompiledRoute, Facts } from '../../gate/verdict.ts'
import { clientHeaders } from './answer.ts'
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
  /** What to do instead of passing the upstream's answer on; `null` to pass it. */
  readonly intercept: (answer: UpstreamAnswer, repeatable: boolean) => (() => void) | null
  /** The answer is an event stream: `end` ends it. Returns what to call when it is over. */
  readonly onEventStream: (end: () => void) => () => void
  /** The wait for the upstream is over, after so many ms; `status` is `null` without an answer, `passed` once its head has gone to the client. */
  readonly onWaited: (ms: number, status: number | null, passed: boolean) => void
  /** Called once when nothing has been answered and nothing will come. */
  readonly fail: (fault: Fault) => void
}

/** Media types of answers that have no end of their own. */
const STREAM = /^(?:text\/event-stream|multipart\/x-mixed-replace|application\/(?:x-ndjson|stream\+json|json-seq|grpc-web))\b/i
/** How long a client may take to read the end of a stream, ms. */
const LAST_WORDS = 1_000
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** RFC 9110, section 9.2.2: a request that was refused may be sent again. */
const IDEMPOTENT = new Set([...REPEATABLE, 'PUT', 'DELETE'])
/** An idle connection that the upstream closed just as it was taken again. */
const STALE = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])
/** An application that restarts closes all of them at once. */
const MAX_RETRIES = 3

/** RFC 9112, section 4; undici has read it as UTF-8. */
const PHRASE = /^[\t\u0020-\u007e]+$/

/** Sends the request upstream and its answer back, both as streams with back-pressure, nothing kept, nothing changed. */
export function transfer(job: Transfer): void {
  const { route, facts, request } = job
  const hasBody = request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0
  const announced = Number(request.headers['content-length'] ?? 0)
  if (route.maxBody !== null && announced > route.maxBody) {
    job.fail(new Fault('payload_too_large'))
    return
  }
  const handedAt = performance.now()
  const dispatch = (retries: number): void => {
    const what: Dispatcher.DispatchOptions = {
      path: upstreamPath(route, facts.path) + facts.query,
      method: facts.method,
      headers: job.headers,
      body: hasBody ? bodyOf(request, route.maxBody) : null,
      headersTimeout: route.timeout,
      bodyTimeout: 0,
    }
    job.pool.dispatch(what, receiver(job, handedAt, hasBody, retries === 0 ? null : () => { dispatch(retries - 1) }))
  }
  dispatch(!hasBody && REPEATABLE.has(facts.method) ? MAX_RETRIES : 0)
}

/** What becomes of the upstream's answer; `handedAt` is when it was asked, `retry` asks again, as often as that makes sense. */
export function receiver(job: Transfer, handedAt: number, hasBody: boolean, retry: (() => void) | null): Dispatcher.DispatchHandler {
  const { response } = job
  let upstream: Dispatcher.DispatchController | null = null
  let over = false
  let intercepted = false
  /** The first chunk, until it is known whether it is the only one: most answers are, and go out in one piece. */
  let held: Buffer | null = null
  let flushed = false
  const write = (chunk: Buffer): void => {
    if (response.write(chunk)) return
    upstream?.pause()
    response.once('drain', () => { upstream?.resume() })
  }
  const flush = (): void => {
    if (flushed || over || response.destroyed) return
    flushed = true
    const first = held
    held = null
    if (first === null) response.flushHeaders()
    else write(first)
  }
  const gone = (): void => {
    if (!over) upstream?.abort(new Error('the client has gone'))
  }
  const finish = (): void => {
    over = true
    response.off('close', gone)
  }
  /** The rest of the body is of no use to anybody, and the connection can't be used again. */
  const dropBody = (): void => {
    if (!hasBody || job.request.complete) return
    response.setHeader('connection', 'close')
    job.request.resume()
  }
  return {
    onRequestStart(controller) {
      upstream = controller
      if (response.destroyed) controller.abort(new Error('the client has gone'))
      else response.on('close', gone)
    },
    onResponseStart(controller, status, _headers, statusMessage) {
      if (status < 200) return
      const waited = performance.now() - handedAt
      const raw = controller.rawHeaders
      const { headers, location, contentType, authenticate } = clientHeaders(Array.isArray(raw) ? raw : [], job.isOwnCookie)
      const instead = job.intercept({ status, location, authenticate }, !hasBody && IDEMPOTENT.has(job.facts.method))
      if (instead !== null) {
        finish()
        intercepted = true
        job.onWaited(waited, status, false)
        controller.abort(new Error('answered by the gateway'))
        dropBody()
        instead()
        return
      }
      response.writeHead(status, PHRASE.test(statusMessage ?? '') ? statusMessage : STATUS_CODES[status], headers)
      job.onWaited(waited, status, true)
      if (contentType !== null && STREAM.test(contentType)) {
        const ended = job.onEventStream(() => {
          finish()
          intercepted = true
          controller.abort(new Error('the stream was ended'))
          response.end()
          setTimeout(() => { if (!response.writableFinished) response.destroy() }, LAST_WORDS).unref()
        })
        response.once('close', ended)
      }
      // What has come in together is dealt with by then: event streams show their headers before their first byte.
      process.nextTick(flush)
    },
    onResponseData(_controller, chunk) {
      if (intercepted) return
      if (!flushed && held === null) {
        held = chunk
        return
      }
      flush()
      write(chunk)
    },
    onResponseEnd() {
      finish()
      if (intercepted) return
      if (held === null) response.end()
      else response.end(held)
    },
    onResponseError(_controller, error) {
      finish()
      if (intercepted || response.destroyed) return
      if (response.headersSent) {
        response.destroy(error)
        return
      }
      if (retry !== null && STALE.has(codeOf(error))) {
        retry()
        return
      }
      dropBody()
      job.onWaited(performance.now() - handedAt, null, false)
      job.fail(faultOf(error))
    },
  }
}

/** Leaves the client's connection open when the upstream fails: it still has to get its answer. */
function bodyOf(request: IncomingMessage, most: number | null): Readable {
  const chunks = request.iterator({ destroyOnReturn: false })
  return Readable.from(most === null ? chunks : limited(chunks, most), { objectMode: false })
}

async function* limited(chunks: AsyncIterable<Buffer>, most: number): AsyncIterable<Buffer> {
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.length
    if (size > most) throw new Fault('payload_too_large')
    yield chunk
  }
}

const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'])

function faultOf(error: Error): Fault {
  if (error instanceof Fault) return error
  return new Fault(TIMEOUTS.has(codeOf(error)) ? 'upstream_timeout' : 'upstream_unreachable', { cause: error })
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}
