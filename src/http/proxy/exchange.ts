import type { ServerResponse } from 'node:http'
import { performance } from 'node:perf_hooks'
import type { Duplex } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errors, type Dispatcher } from 'undici'
import { percentEncodeBytes } from '../../bytes.ts'
import type { Config } from '../../config/schema.ts'
import { Fault, faults } from '../../errors.ts'
import { admit, denyWithoutToken } from '../../gate/admit.ts'
import { SAFE_METHODS } from '../../gate/csrf.ts'
import { challenge, type Answer } from '../../gate/challenge.ts'
import { addCorsHeaders } from '../../gate/cors.ts'
import type { UpstreamHeaders } from '../../gate/headers.ts'
import { upstreamOrigin, upstreamPath } from '../../gate/upstream-urls.ts'
import type { Denial, Verdict } from '../../gate/verdict.ts'
import { createProof } from '../../oidc/dpop.ts'
import type { Session } from '../../session/session.ts'
import type { Sessions } from '../../session/sessions.ts'
import { printable } from '../../telemetry/log.ts'
import type { Metrics } from '../../telemetry/metrics.ts'
import type { Acquired, Tokens } from '../../token/acquire.ts'
import type { RouteToken } from '../../token/route-tokens.ts'
import { logDenial } from '../answers/denial-log.ts'
import { answerFor, kindOf, type Answers } from '../answers/send.ts'
import { contextOf, type Context } from '../context.ts'
import type { Cookies } from '../cookies/cookies.ts'
import { causesWithHint } from '../failure-hints.ts'
import { isGrpc } from '../http2-fields.ts'
import { isPlainCoding, hasBody } from '../server/framing.ts'
import { breakOff } from '../server/response-queue.ts'
import { upgradeOf, type Upgrade } from '../server/upgrade.ts'
import { addCall, endCall } from './grpc.ts'
import type { Http2Options } from './http2-dispatch.ts'
import { intercept, type Interception, type LoginRedirects, type UpstreamAnswer } from './intercept.ts'
import type { Streams } from './open-streams.ts'
import {
  limitLastBytes,
  begin,
  complete,
  deliver,
  isEventStream,
  sendEarlyHints,
  type ResponseBody,
} from './response-body.ts'
import { toPublicUrls } from './public-urls.ts'
import { clientHeaders, clientTrailers, dropLength, statusText } from './response-headers.ts'
import { faultOf, isStale, unusable } from './upstream-errors.ts'
import { bodyOf, uploadOf, type Upload } from './upload.ts'
import { dispatcherOf, upstreamHeaders } from './upstream-request.ts'
import type { Upstreams } from './upstreams.ts'
import { phraseOf } from './undici-parser.ts'
import { joinWebSocket } from './websocket.ts'

export interface ExchangeServices {
  readonly config: Config
  readonly headers: UpstreamHeaders
  readonly upstreams: Upstreams
  readonly loginRedirects: LoginRedirects
  readonly sessions: Sessions
  readonly tokens: Pick<Tokens, 'renew' | 'renewExchanged'>
  readonly cookies: Cookies
  readonly answers: Answers
  readonly streams: Streams
  readonly metrics: Pick<Metrics, 'upstreamSeconds' | 'addedSeconds'>
}

type Forward = Extract<Verdict, { type: 'forward' }>
type Options = Http2Options & { readonly headers: string[] }

/** Why the request is a repetition: with a new token, with the upstream's nonce, or with both. Each happens once. */
interface Repeated {
  readonly withToken: boolean
  readonly withNonce: boolean
}

const NOT_REPEATED: Repeated = { withToken: false, withNonce: false }

/** The latest DPoP nonce of each upstream, by its pool. */
const nonces = new WeakMap<Dispatcher, string>()

/** Methods that may be sent again with a new token: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2 */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])
/** The limit of retries. An application that restarts closes all its idle connections at the same time. */
const MAX_RETRIES = 3

/**
 * A request to an upstream and the response to the client, both streamed with backpressure.
 *
 * Undici calls the exchange as a handler. Undici 7 wraps this handler, and both undici 7 and 8 parse the headers into
 * an object that the exchange does not use. Wrapping and parsing take 0.7 µs per request. The earlier handler interface
 * avoided this cost, but undici 8 has removed it:
 * https://github.com/nodejs/undici/pull/4786
 */
export class Exchange implements ResponseBody, Dispatcher.DispatchHandler {
  readonly response: ServerResponse
  controller: Dispatcher.DispatchController | null = null
  held: Buffer | null = null
  begun = false
  readonly #services: ExchangeServices
  readonly #verdict: Forward
  readonly #request: FastifyRequest
  readonly #reply: FastifyReply
  readonly #context: Context
  readonly #upgrade: Upgrade | null
  readonly #hasBody: boolean
  readonly #repeated: Repeated
  readonly #sentAt = performance.now()
  #dispatcher: Dispatcher | null = null
  #options: Options | null = null
  #retriesLeft = 0
  /** Whether the rest of the upstream's response is ignored. */
  #isOver = false
  #hasStarted = false
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #forgetStream: (() => void) | null = null

  constructor(
    services: ExchangeServices,
    verdict: Forward,
    request: FastifyRequest,
    reply: FastifyReply,
    repeated: Repeated = NOT_REPEATED,
  ) {
    this.response = reply.raw
    this.#services = services
    this.#verdict = verdict
    this.#request = request
    this.#reply = reply
    this.#context = contextOf(request)
    this.#upgrade = upgradeOf(request.raw)
    this.#hasBody = hasBody(request.raw)
    this.#repeated = repeated
  }

  /** Sends the request. Never throws: Fastify does not answer a request that it has handed over. */
  send(): void {
    try {
      this.#send()
    } catch (cause) {
      if (this.#isOver) return
      this.#stop('the request cannot be sent')
      this.#closeBehindUpload()
      this.#fail(new Fault('internal_error', { cause }))
    }
  }

  #send(): void {
    const { headers: rules, upstreams } = this.#services
    const { route, session } = this.#verdict
    const { facts } = this.#context
    const { raw } = this.#request
    if (route.maxBody !== null && Number(raw.headers['content-length'] ?? 0) > route.maxBody) {
      this.#closeBehindUpload()
      this.#fail(new Fault('payload_too_large'))
      return
    }
    this.response.on('close', () => {
      this.#stop('the client has gone')
    })
    const headers = upstreamHeaders(rules, this.#verdict, this.#context)
    const dispatcher = dispatcherOf(upstreams, route, session, facts, raw.socket, headers)
    const isHttp1 = route.upstreamProtocol === 'http1'
    const upload = this.#hasBody ? this.#openUpload() : null
    const options: Options = {
      path: upstreamPath(route, facts.path) + facts.query,
      method: facts.method,
      headers,
      body: upload !== null && isHttp1 ? bodyOf(raw, upload) : null,
      upload: isHttp1 ? null : upload,
      // Without a body, `#startTimer` enforces the timeout: undici's clock ticks only twice a second, and each garbage
      // collection copies its timers of ended requests.
      headersTimeout: this.#hasBody ? route.timeout : 0,
      bodyTimeout: 0,
      upgrade: this.#upgrade === null ? null : 'websocket',
    }
    if (!this.#hasBody && this.#upgrade === null && SAFE_METHODS.has(facts.method)) this.#retriesLeft = MAX_RETRIES
    this.#dispatcher = dispatcher
    this.#options = options
    if (isGrpc(facts.headers['content-type'])) this.#openCall()
    this.#dispatch(dispatcher, options)
  }

  #openUpload(): Upload {
    const { config, headers } = this.#services
    const { raw } = this.#request
    const { route } = this.#verdict
    return uploadOf(raw, route, config.limits.headerFields, () =>
      headers.trailers(raw.rawTrailers, this.#context.facts, route),
    )
  }

  /** Sends the request, each time with a DPoP proof of its own, because a proof is accepted once. */
  #dispatch(dispatcher: Dispatcher, options: Options): void {
    const { proofKey, accessToken, route } = this.#verdict
    if (proofKey === null) {
      dispatcher.dispatch(options, this)
      return
    }
    const { facts } = this.#context
    const proof = createProof(proofKey, {
      method: facts.method,
      url: upstreamOrigin(route, facts.origin) + percentEncodeBytes(upstreamPath(route, facts.path)),
      accessToken,
      nonce: nonces.get(this.#services.upstreams.poolFor(route)),
    })
    dispatcher.dispatch({ ...options, headers: [...options.headers, 'DPoP', proof] }, this)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    if (this.#clientHasLeft()) {
      controller.abort(new Error('the client has gone'))
      return
    }
    if (!this.#hasBody) this.#startTimer()
  }

  /** Called at the first byte of a response: https://github.com/nodejs/undici/pull/4840 */
  onResponseStarted(): void {
    this.#hasStarted = true
  }

  /** Also called for interim responses: https://www.rfc-editor.org/rfc/rfc9110#section-15.2 */
  onResponseStart(controller: Dispatcher.DispatchController, status: number, _headers: unknown, phrase = ''): void {
    if (status >= 200) {
      this.#takeHead(controller, status, phrase)
      return
    }
    if (this.#timer === undefined) this.#startTimer()
    if (status === 103) this.#passHints(controller)
  }

  /** Passes 103 Early Hints to a navigation. Scripts have no use for hints, and some HTTP libraries fail on them. */
  #passHints(controller: Dispatcher.DispatchController): void {
    if (this.#clientHasLeft() || kindOf(this.#request, this.#services.config) !== 'navigation') return
    const { headers } = clientHeaders(rawHeadersOf(controller), this.#services.cookies.isOwn)
    dropLength(headers)
    sendEarlyHints(this.response, headers)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return
    this.#context.bytes += chunk.length
    deliver(this, chunk)
  }

  onResponseEnd({ rawTrailers }: Dispatcher.DispatchController): void {
    if (this.#isOver) return
    complete(this, Array.isArray(rawTrailers) ? clientTrailers(rawTrailers) : [])
    this.#finish()
  }

  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    _status: number,
    _headers: unknown,
    socket: Duplex,
  ): void {
    this.#finish()
    const upgrade = this.#upgrade
    if (upgrade === null || upgrade.socket.destroyed) {
      socket.destroy()
      return
    }
    const { headers } = clientHeaders(rawHeadersOf(controller), this.#services.cookies.isOwn)
    toPublicUrls(headers, this.#verdict.route, this.#context.facts, this.#services.config)
    this.#addNonce(headers)
    headers.push('X-Request-Id', this.#context.facts.requestId)
    try {
      upgrade.accept(headers, statusText(101, phraseOf(socket)))
    } catch (cause) {
      // HTTP/2 cannot send every header of the upstream.
      socket.destroy()
      this.#fail(new Fault('upstream_unreachable', { cause }))
      return
    }
    this.#noteWait(performance.now() - this.#sentAt, 101, true)
    joinWebSocket(this.#services, this.#verdict, this.#request, upgrade.socket, socket)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#isOver) return
    this.#finish()
    if (this.#clientHasLeft()) return
    if (this.response.headersSent) {
      // A `Fault` reports a problem with the client's body, so the application did not break off its response.
      if (!(error instanceof Fault)) this.#logBrokenOff(error)
      breakOff(this.response)
    } else if (this.#mayRetry(error)) {
      this.#retriesLeft -= 1
      this.#isOver = false
      if (this.#options !== null && this.#dispatcher !== null) this.#dispatch(this.#dispatcher, this.#options)
    } else {
      this.#closeBehindUpload()
      this.#noteWait(performance.now() - this.#sentAt, null, false)
      this.#fail(faultOf(error, this.#hasStarted))
    }
  }

  /** Returns whether the request was sent on an idle connection that the upstream was closing. */
  #mayRetry(error: Error): boolean {
    return this.#retriesLeft > 0 && !this.#hasStarted && isStale(error)
  }

  #takeHead(controller: Dispatcher.DispatchController, status: number, phrase: string): void {
    this.#stopTimer()
    const waited = performance.now() - this.#sentAt
    const answer = clientHeaders(rawHeadersOf(controller), this.#services.cookies.isOwn)
    const { headers, transferEncoding, location, authenticate, dpopNonce, trailer } = answer
    const { proofKey, route } = this.#verdict
    if (proofKey !== null && dpopNonce !== null) nonces.set(this.#services.upstreams.poolFor(route), dpopNonce)
    if (transferEncoding !== null && !isPlainCoding(transferEncoding))
      throw unusable(
        new Error(
          `the header Transfer-Encoding has a transfer coding other than chunked: ${printable(transferEncoding)}`,
        ),
      )
    const concernsLogin = location !== null || authenticate.length > 0
    if (concernsLogin && this.#answerInstead({ status, location, authenticate, dpopNonce }, waited)) return
    toPublicUrls(headers, route, this.#context.facts, this.#services.config)
    if (this.#isUploading()) headers.push('Connection', 'close')
    if (status === 204) dropLength(headers)
    this.#addNonce(headers)
    if (route.cors !== null) addCorsHeaders(headers, route, this.#context.facts.headers.origin)
    headers.push('X-Request-Id', this.#context.facts.requestId)
    if (trailer !== null && this.#hasTrailerSection(status, headers)) headers.push('Trailer', trailer)
    this.response.writeHead(status, statusText(status, phrase), headers)
    this.#noteWait(waited, status, true)
    if (isEventStream(answer.contentType)) this.#openEventStream()
    // The head is written on the next tick, together with a chunk that has arrived with it.
    process.nextTick(begin, this)
  }

  /** Replaces the application's nonce, because the client's proofs are for the gateway. */
  #addNonce(headers: string[]): void {
    const { dpopNonce } = this.#verdict
    if (dpopNonce === undefined) return
    for (let i = headers.length - 2; i >= 0; i -= 2)
      if (headers[i]?.toLowerCase() === 'dpop-nonce') headers.splice(i, 2)
    headers.push('DPoP-Nonce', dpopNonce)
  }

  /** Returns whether the response to the client can have trailer fields. Otherwise, Node.js throws for a `Trailer` header. */
  #hasTrailerSection(status: number, headers: readonly string[]): boolean {
    const { method, httpVersion } = this.#request.raw
    if (method === 'HEAD' || status === 204 || status === 304 || httpVersion === '1.0') return false
    return !headers.some((name, i) => i % 2 === 0 && name.toLowerCase() === 'content-length')
  }

  /** Answers in place of the upstream, or sends the request again, if the upstream's response requires a login. */
  #answerInstead(answer: UpstreamAnswer & { readonly dpopNonce: string | null }, waited: number): boolean {
    const { config, loginRedirects } = this.#services
    const { route, exchanged } = this.#verdict
    const kind = kindOf(this.#request, config)
    const session = this.#checkedSession()
    const found = intercept(answer, { kind, route, session, exchanged }, loginRedirects, this.#context.now)
    switch (found.type) {
      case 'pass':
        return false
      case 'deny':
        this.#dismiss(answer.status, waited)
        this.#deny(found.denial)
        return true
      case 'use-nonce':
        if (answer.dpopNonce === null || this.#verdict.proofKey === null) return false
        if (this.#repeated.withNonce || !this.#mayRepeat()) return false
        this.#dismiss(answer.status, waited)
        this.#repeat(this.#verdict, { ...this.#repeated, withNonce: true })
        return true
      case 'renew':
      case 'renew-exchanged': {
        const renewal = this.#renew(found)
        if (renewal === null) return false
        this.#dismiss(answer.status, waited)
        this.#sendAgain(session, renewal).catch((error: unknown) => {
          this.#fail(error instanceof Fault ? error : new Fault('internal_error', { cause: error }))
        })
        return true
      }
    }
  }

  /** Returns the session, or `null` if the upstream has checked the client's own Authorization. */
  #checkedSession(): Session | null {
    const { route, session, accessToken } = this.#verdict
    const { authorization } = this.#context.facts.headers
    return route.authorization === 'client' && (accessToken === null || authorization !== undefined) ? null : session
  }

  /** Ends the exchange without the upstream's response, because the gateway answers itself. */
  #dismiss(status: number, waited: number): void {
    this.#stop('answered by the gateway')
    this.#noteWait(waited, status, false)
    this.#closeBehindUpload()
  }

  /**
   * Refreshes a rejected token once per request. Returns `null` if the token cannot be refreshed or the request cannot
   * be sent again.
   */
  #renew(found: Extract<Interception, { type: 'renew' | 'renew-exchanged' }>): Promise<Acquired | RouteToken> | null {
    const { route, accessToken } = this.#verdict
    if (this.#repeated.withToken) return null
    const { tokens } = this.#services
    const renewal =
      found.type === 'renew'
        ? tokens.renew(found.session, route.token, accessToken, Date.now())
        : accessToken === null
          ? null
          : tokens.renewExchanged(found.exchanged, route.token, accessToken, Date.now())
    if (this.#mayRepeat()) return renewal
    // The next request uses the new token. If this refresh fails, the next request can refresh the token again.
    renewal?.catch(() => {})
    return null
  }

  #mayRepeat(): boolean {
    return !this.#hasBody && IDEMPOTENT.has(this.#context.facts.method)
  }

  #repeat(verdict: Forward, repeated: Repeated): void {
    new Exchange(this.#services, verdict, this.#request, this.#reply, repeated).send()
  }

  /**
   * Sends the request once more with the new token. If the provider gives no new token, sends the old token, so that
   * the client gets the upstream's own response. The gateway answers any other denial of a session itself.
   */
  async #sendAgain(session: Session | null, renewal: Promise<Acquired | RouteToken>): Promise<void> {
    const got = await renewal
    if (this.response.destroyed) return
    const { route } = this.#verdict
    const { facts, now } = this.#context
    const own = 'session' in got ? got.session : null
    const denial =
      own !== null
        ? admit(route, own, true, now, facts.client.address)
        : got.ok || session === null
          ? null
          : denyWithoutToken(got.denial, route, session, facts, this.#services.sessions, now)
    if (denial !== null && denial.reason !== 'token-refused' && denial.reason !== 'token-unavailable') {
      this.#deny(denial)
      return
    }
    const renewed = got.ok
      ? { accessToken: got.accessToken, proofKey: got.proofKey, ...(own === null ? {} : { session: own, who: own }) }
      : {}
    this.#repeat({ ...this.#verdict, ...renewed }, { ...this.#repeated, withToken: true })
  }

  #deny(denial: Denial): void {
    const { config } = this.#services
    const kind = kindOf(this.#request, config)
    logDenial(this.#request, denial, this.#verdict.route.label)
    this.#answer(challenge(denial, kind, this.#context.facts, this.#verdict.route, config))
  }

  #answer(answer: Answer): void {
    this.#services.answers.send(this.#request, this.#reply, answer)
  }

  #fail(fault: Fault): void {
    const { id, log } = this.#request
    const { label } = this.#verdict.route
    log[faults[fault.code].level](
      { event: fault.code, id, route: label, cause: causesWithHint(fault.cause) },
      fault.message,
    )
    this.#answer(answerFor(fault))
  }

  #logBrokenOff(error: Error): void {
    const { id, log } = this.#request
    log.error(
      { event: 'upstream_aborted', id, route: this.#verdict.route.label, cause: causesWithHint(error) },
      'the application broke off its response',
    )
  }

  /** Records the wait. `status` is `null` if the upstream did not respond. `passed`: the client gets the response. */
  #noteWait(ms: number, status: number | null, passed: boolean): void {
    const { upstreamSeconds, addedSeconds } = this.#services.metrics
    const context = this.#context
    upstreamSeconds.observeMs(ms, this.#verdict.route.series)
    context.waited += ms
    if (passed) addedSeconds.observeMs(performance.now() - context.arrivedAt - context.waited)
    context.trace?.endUpstreamSpan(status)
  }

  #openEventStream(): void {
    // A gRPC request may get an event stream as its response.
    this.#forgetStream?.()
    this.#forgetStream = this.#services.streams.add(this.#verdict.session, {
      kind: 'event-stream',
      close: () => {
        this.#stop('the stream was ended')
        complete(this)
        limitLastBytes(this.response)
      },
    })
  }

  /** A gRPC call counts as a stream from its beginning, because many servers send the head only with their first message. */
  #openCall(): void {
    this.#forgetStream = addCall(this.#services.streams, this.#verdict.session, (status) => {
      if (this.#isOver) return
      this.#stop('the call was ended')
      if (!this.response.headersSent) this.#closeBehindUpload()
      endCall(this, status)
    })
  }

  /**
   * Aborts the request if no final response begins within the route's timeout. The timer restarts while the client
   * sends a body, and undici's own timer restarts with each interim response.
   */
  #startTimer(): void {
    this.#timer = setTimeout(Exchange.#onTimer, this.#verdict.route.timeout, this)
  }

  static #onTimer(this: void, exchange: Exchange): void {
    if (exchange.#hasBody && !exchange.#request.raw.complete) exchange.#startTimer()
    // The abort waits for one more read: after a suspension, a process runs its timers before it reads its sockets.
    else exchange.#immediate = setImmediate(Exchange.#giveUp, exchange)
  }

  static #giveUp(this: void, exchange: Exchange): void {
    exchange.controller?.abort(new errors.HeadersTimeoutError())
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }

  #finish(): void {
    this.#isOver = true
    this.#stopTimer()
    this.#forgetStream?.()
  }

  #stop(why: string): void {
    if (this.#isOver) return
    this.#finish()
    this.controller?.abort(new Error(why))
  }

  /** Returns whether the client has disconnected. A waiting response is destroyed later than its socket. */
  #clientHasLeft(): boolean {
    return this.response.destroyed || this.#request.raw.socket.destroyed
  }

  /** Returns whether the client is still sending its body. The rest of the body must not be read as a new request. */
  #isUploading(): boolean {
    return this.#hasBody && !this.#request.raw.complete
  }

  /** Makes the gateway's own response the last on its connection if an unread body is arriving. */
  #closeBehindUpload(): void {
    if (this.#isUploading()) this.response.setHeader('connection', 'close')
  }
}

function rawHeadersOf({ rawHeaders }: Dispatcher.DispatchController): readonly (Buffer | string)[] {
  return Array.isArray(rawHeaders) ? rawHeaders : []
}
