import { once } from 'node:events'
import { connect, constants } from 'node:http2'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { startHttp2Application, type Http2Request } from '../../support/http2-application.ts'
import { fields, FLAG, frame, FRAME, openFrames } from '../../support/http2-frames.ts'
import { startRawHttp2Application } from '../../support/http2-raw-application.ts'
import { ask, openAndRead, parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const gatewayFor = async (t: Test, upstream: string, route: object = {}, config: object = {}): Promise<Running> =>
  startGateway(t, {
    idp,
    config: {
      upstream,
      listenH2c: true,
      routes: [{ path: '/**', access: 'public', upstreamProtocol: 'h2c', ...route }],
      ...config,
    },
  })

const ok = ({ stream }: Http2Request): void => {
  if (stream.destroyed) return
  stream.respond({ ':status': 200 })
  stream.end('ok')
}

const post = async (url: string, rest = 'Content-Length: 2\r\n\r\nok'): Promise<number | undefined> =>
  parseAnswers(await sendRaw(url, `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${rest}`))[0]?.status

const ENDS = FLAG.endHeaders + FLAG.endStream
const head = (stream: number, status: string, flags: number = ENDS): Buffer =>
  frame(FRAME.headers, flags, stream, fields([[':status', status]]))

void t.test('a client that resets its connection during an upload ends its own request only', async (t) => {
  const application = await startHttp2Application(t, (request) => {
    if (request.headers[':method'] === 'GET') ok(request)
  })
  const { url } = await gatewayFor(t, application.url)
  const uploads: (() => Socket)[] = [
    () => {
      const { socket } = openFrames(url)
      const request = fields([
        [':method', 'POST'],
        [':scheme', 'http'],
        [':authority', 'a'],
        [':path', '/'],
      ])
      const data = frame(FRAME.data, 0, 1, Buffer.alloc(100))
      socket.write(Buffer.concat([frame(FRAME.headers, FLAG.endHeaders, 1, request), data]))
      return socket
    },
    () => {
      const { socket } = openAndRead(url)
      socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nbegun')
      return socket
    },
  ]
  for (const [i, upload] of uploads.entries()) {
    const socket = upload()
    await eventually(() => application.requests.length === 2 * i + 1)
    socket.resetAndDestroy()
    await eventually(() => application.requests[2 * i]?.stream.closed === true)
    // An error without a listener would end the process on the next ticks.
    t.equal((await ask(url, 'GET', '/')).status, 200)
  }
})

void t.test('a connection on which the application violates HTTP/2 carries no more requests', async (t) => {
  let isViolating = true
  const { url: upstream, sockets } = await startRawHttp2Application(t, (stream, socket) => {
    // Node.js emits no event for a WINDOW_UPDATE of 5 bytes.
    if (isViolating) socket.write(frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(5)))
    else socket.write(head(stream, '200'))
  })
  const { url, events } = await gatewayFor(t, upstream)
  const pending = post(url)
  await eventually(() => sockets.length === 1)
  await sleep(100)
  isViolating = false
  t.equal((await ask(url, 'GET', '/')).status, 200, 'a request that finds such a connection goes to another')
  t.equal(await pending, 502)
  t.match(events('upstream_unreachable'), [{ cause: /violated HTTP\/2/ }])
  isViolating = true
  t.equal(await post(url), 502, 'a request is not left to its timeout')
  isViolating = false
  t.equal((await ask(url, 'GET', '/')).status, 200)
  await eventually(() => sockets.length === 3 && sockets.slice(0, 2).every((socket) => socket.destroyed))
})

void t.test('a GET is sent again when the application resets it to end a used connection', async (t) => {
  const reset = (stream: number, code: number): Buffer => frame(FRAME.reset, 0, stream, Buffer.from([0, 0, 0, code]))
  const goaway = (last: number): Buffer => frame(FRAME.goaway, 0, 0, Buffer.from([0, 0, 0, last, 0, 0, 0, 0]))
  const endings: ((stream: number) => Buffer[])[] = [
    // As Node.js does without a GOAWAY.
    (stream) => [reset(stream, constants.NGHTTP2_NO_ERROR)],
    (stream) => [goaway(stream), reset(stream, constants.NGHTTP2_CANCEL)],
  ]
  let end: ((stream: number) => Buffer[]) | null = null
  const { url: upstream } = await startRawHttp2Application(t, (stream, socket) => {
    socket.write(Buffer.concat(end?.(stream) ?? [head(stream, '200')]))
    end = null
  })
  const { url } = await gatewayFor(t, upstream)
  for (const ending of endings) {
    t.equal((await ask(url, 'GET', '/')).status, 200)
    end = ending
    t.equal((await ask(url, 'GET', '/')).status, 200)
    end = ending
    t.equal(await post(url), 502, 'the application may have processed a POST')
  }
})

void t.test('the log says why a connection was ended', async (t) => {
  const { url: upstream } = await startRawHttp2Application(t, (stream, socket) => {
    // More frames for one header section than nghttp2 accepts.
    const rest = Array.from({ length: 20 }, () => frame(FRAME.continuation, 0, stream, fields([['a', 'b']])))
    socket.write(Buffer.concat([head(stream, '200', 0), ...rest]))
  })
  const { url, events } = await gatewayFor(t, upstream)
  t.equal((await ask(url, 'GET', '/')).status, 502)
  t.match(events('upstream_unreachable'), [{ cause: /violated HTTP\/2.*CONTINUATION/ }])
})

void t.test('malformed responses are a 502 at once', async (t) => {
  const bytes = new Map<string, (stream: number) => Buffer>([
    ['status 099', (stream) => head(stream, '099')],
    ['status 099 with a body', (stream) => head(stream, '099', FLAG.endHeaders)],
    ['status 0', (stream) => head(stream, '0')],
    ['an interim response that ends the stream', (stream) => head(stream, '103')],
    ['no status', (stream) => frame(FRAME.headers, ENDS, stream, fields([['x', 'y']]))],
    ['a body without a head', (stream) => frame(FRAME.data, FLAG.endStream, stream, Buffer.from('ok'))],
    ['HTTP/1.1', () => Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
  ])
  let respond: ((stream: number) => Buffer) | undefined
  const { url: upstream } = await startRawHttp2Application(t, (stream, socket) => {
    socket.write(respond?.(stream) ?? '')
  })
  const { url } = await gatewayFor(t, upstream, { timeout: '5s' })
  for (const [name, one] of bytes) {
    respond = one
    const startedAt = performance.now()
    t.equal((await ask(url, 'GET', '/')).status, 502, name)
    t.ok(performance.now() - startedAt < 3_000, name)
  }
})

void t.test('a status that HTTP/2 does not have is a 502 for a client of HTTP/2, at any time', async (t) => {
  const chunks = new Map<string, (stream: number) => Buffer[]>([
    ['the head ends the stream', (stream) => [head(stream, '700')]],
    ['the end follows at once', (stream) => [head(stream, '700', FLAG.endHeaders), frame(FRAME.data, 1, stream)]],
    ['the end follows later', (stream) => [head(stream, '700', FLAG.endHeaders), frame(FRAME.data, 0, stream)]],
  ])
  let respond: ((stream: number) => Buffer[]) | undefined
  const { url: upstream } = await startRawHttp2Application(t, (stream, socket) => {
    socket.write(Buffer.concat(respond?.(stream) ?? []))
  })
  const { url } = await gatewayFor(t, upstream)
  const client = connect(url)
  t.teardown(() => {
    client.destroy()
  })
  for (const [name, one] of chunks) {
    respond = one
    const stream = client.request({ ':path': '/' }).resume()
    const [headers] = await once(stream, 'response')
    t.equal(headers[':status'], 502, name)
  }
})

void t.test('a repeated trailer that HTTP/2 allows only once is a 400, unless its values are equal', async (t) => {
  const application = await startHttp2Application(t, (request) => {
    request.stream.on('end', () => {
      ok(request)
    })
    request.stream.resume()
  })
  const { url } = await gatewayFor(t, application.url)
  const withTrailers = async (...trailers: string[]): Promise<number | undefined> =>
    post(url, ['Transfer-Encoding: chunked', '', '2', 'ok', '0', ...trailers, '', ''].join('\r\n'))
  // Node.js 24 sends repeated fields as they are.
  const isRefused = Number.parseInt(process.versions.node, 10) < 24
  t.equal(await withTrailers('ETag: "a"', 'ETag: "b"'), isRefused ? 400 : 200)
  t.equal(await withTrailers('ETag: "a"', 'ETag: "a"'), 200)
  t.equal(await withTrailers('X-A: a', 'X-A: b'), 200)
})

void t.test('large headers pass in both directions, and too large ones fail alone', async (t) => {
  const held: Http2Request[] = []
  const application = await startHttp2Application(
    t,
    (request) => {
      const [, what, count = 0] = request.headers[':path']?.split('/') ?? []
      const large =
        what === 'one' ? '~'.repeat(66_000) : Array.from({ length: Number(count) }, () => '~'.repeat(20_000))
      if (what === 'held') held.push(request)
      else request.stream.respond({ ':status': 200, 'x-large': large }, { endStream: true })
    },
    { settings: { maxHeaderListSize: 1_000_000 }, maxSendHeaderBlockLength: 1_000_000 },
  )
  const limits = { headers: '256kb', answerHeaders: '256kb' }
  const { url, events } = await gatewayFor(t, application.url, {}, { limits })
  const waiting = ask(url, 'GET', '/held')
  await eventually(() => held.length === 1)
  // HPACK does not compress '~': https://www.rfc-editor.org/rfc/rfc7541#appendix-B
  const cookies = Array.from({ length: 20 }, (_, i) => `a${i}=${'~'.repeat(6_000)}`).join('; ')
  const large = '~'.repeat(60_000)
  t.equal((await ask(url, 'GET', '/', [`Cookie: ${cookies}`])).status, 200)
  t.equal(application.requests.at(-1)?.headers.cookie, cookies)
  t.equal((await ask(url, 'GET', '/', [`X-A: ${large}`, `X-B: ${large}`])).status, 200)
  t.equal((await ask(url, 'GET', '/', [`X-A: ${large}`, `X-B: ${large}`, `X-C: ${large}`])).status, 431)
  t.equal((await ask(url, 'GET', '/', [`X-A: ${large}${large}`])).status, 431)
  t.match(events('bad_request'), [
    { cause: /at most 131072 pass over HTTP\/2/ },
    { cause: /x-a has 120000 bytes, but at most 65536 pass over HTTP\/2/i },
  ])
  t.equal((await ask(url, 'GET', '/large/6')).status, 200)
  t.equal((await ask(url, 'GET', '/large/7')).status, 502)
  t.match(events('upstream_unreachable'), [{ cause: /limits\.answerHeaders/ }])
  held.forEach(ok)
  t.equal((await waiting).status, 200)
  t.equal(application.sessions.length, 1)
  t.equal((await ask(url, 'GET', '/one')).status, 502)
  t.match(events('upstream_unreachable').at(-1), { cause: /a header above 64 kB/ })
})

void t.test('the time that a request waits for a connection is a part of its timeout', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    // The connection is ready after most of the timeout.
    setTimeout(() => {
      socket.write(frame(FRAME.settings, 0, 0))
    }, 700)
  })
  const { url } = await gatewayFor(t, upstream, { timeout: '1s' })
  for (const send of [async () => (await ask(url, 'GET', '/')).status, async () => post(url)]) {
    const startedAt = performance.now()
    t.equal(await send(), 504)
    t.ok(performance.now() - startedAt < 1_500)
  }
})

void t.test('a WebSocket whose application reads nothing for limits.idleRead is cut', async (t) => {
  const application = await startHttp2Application(
    t,
    ({ stream }) => {
      stream.pause().respond({ ':status': 200 })
    },
    { settings: { enableConnectProtocol: true } },
  )
  const { url } = await gatewayFor(t, application.url, {}, { limits: { idleRead: '1s' } })
  const { socket, text } = openAndRead(url)
  socket.write(
    `GET / HTTP/1.1\r\nHost: ${new URL(url).host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  )
  await eventually(() => text().startsWith('HTTP/1.1 101 '))
  for (let i = 0; i < 400; i += 1) socket.write(Buffer.alloc(64 * 1024))
  await eventually(() => socket.destroyed && application.requests[0]?.stream.closed === true)
  t.not(application.requests[0]?.stream.rstCode, constants.NGHTTP2_REFUSED_STREAM)
})
