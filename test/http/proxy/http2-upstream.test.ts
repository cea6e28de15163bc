import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { constants, type IncomingHttpHeaders } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startUpstream } from '../../../src/demo/upstream.ts'
import { Http2Upstream } from '../../../src/http/proxy/http2-upstream.ts'
import { startApplication } from '../../support/application.ts'
import { createAuthority } from '../../support/certificates.ts'
import { eventually } from '../../support/eventually.ts'
import { startGateway, type Running } from '../../support/gateway.ts'
import { startHttp2Application, type Http2Application, type Http2Request } from '../../support/http2-application.ts'
import { ask, header, open, openAndRead, parseAnswers, sendRaw, type RawAnswer } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

type Started = { readonly running: Running; readonly url: string; readonly application: Http2Application }

const gatewayFor = async (t: Test, upstream: string, route: object = {}): Promise<Running> =>
  startGateway(t, {
    idp,
    config: { upstream, routes: [{ path: '/**', access: 'public', upstreamProtocol: 'h2c', ...route }] },
  })

const start = async (
  t: Test,
  listener: (request: Http2Request, count: number) => void,
  route: object = {},
  options: Parameters<typeof startHttp2Application>[2] = {},
): Promise<Started> => {
  const application = await startHttp2Application(t, listener, options)
  const running = await gatewayFor(t, application.url, route)
  return { running, url: running.url, application }
}

const ok = ({ stream }: Http2Request): void => {
  stream.respond({ ':status': 200 })
  stream.end('ok')
}

/** Answers with the body. */
const echo = ({ stream }: Http2Request): void => {
  stream.respond({ ':status': 200 })
  stream.pipe(stream)
}

void t.test('the application gets the request with its bytes, in the form of HTTP/2', async (t) => {
  const { url, application } = await start(t, ok)
  const host = new URL(url).host
  const answer = await ask(url, 'GET', '/a%2fb/%C3%A9?q=caf%E9&x', [
    `Host: ${host}`,
    'X-Latin: caf\u00e9 \u00ff',
    'X-UTF8: caf\u00c3\u00a9',
    'X-Twice: one',
    'X-Twice: two',
    'Cookie: a=b; c=d',
    'TE: trailers, gzip',
    'Keep-Alive: timeout=5',
    'If-None-Match: "a"',
    'If-None-Match: "b"',
  ])
  t.equal(answer.status, 200)
  const [request] = application.requests
  const fields: [string, string][] = []
  for (let i = 0; i < (request?.raw.length ?? 0); i += 2)
    fields.push([request?.raw[i] ?? '', request?.raw[i + 1] ?? ''])
  const all = (name: string): string[] => fields.filter(([one]) => one === name).map(([, value]) => value)
  t.same(all(':method'), ['GET'])
  t.same(all(':scheme'), ['http'])
  t.same(all(':authority'), [host])
  t.same(all(':path'), ['/a%2fb/%C3%A9?q=caf%E9&x'])
  t.same(all('x-latin'), ['caf\u00e9 \u00ff'])
  t.same(all('x-utf8'), ['caf\u00c3\u00a9'])
  t.same(all('x-twice'), ['one', 'two'])
  t.same(all('cookie'), ['a=b; c=d'])
  t.same(all('te'), ['trailers'])
  t.equal(all('if-none-match').join(', '), '"a", "b"')
  t.same(all('x-forwarded-for'), ['127.0.0.1'])
  t.same([...all('host'), ...all('connection'), ...all('keep-alive'), ...all('transfer-encoding')], [])
})

void t.test('the client gets the response with its bytes', async (t) => {
  const { url } = await start(t, ({ stream, headers }) => {
    const status = Number(headers[':path']?.slice(1))
    stream.respond(
      {
        ':status': status,
        'x-latin': 'caf\u00e9 \u00ff',
        'content-disposition': 'attachment; filename="caf\u00c3\u00a9"',
        'set-cookie': ['a=b', 'c=d'],
        ...(status === 204 ? {} : { 'content-length': '3' }),
      },
      { endStream: headers[':method'] === 'HEAD' || status === 204 || status === 304 },
    )
    if (stream.writable) stream.end('abc')
  })
  const answer = await ask(url, 'GET', '/599')
  t.equal(answer.status, 599)
  t.equal(header(answer, 'x-latin'), 'caf\u00e9 \u00ff')
  t.equal(header(answer, 'content-disposition'), 'attachment; filename="caf\u00c3\u00a9"')
  t.same(answer.headers.get('set-cookie'), ['a=b', 'c=d'])
  t.equal(answer.body.toString(), 'abc')
  const head = await ask(url, 'HEAD', '/200')
  t.equal(header(head, 'content-length'), '3')
  t.equal((await ask(url, 'GET', '/204')).status, 204)
  t.equal((await ask(url, 'GET', '/304')).status, 304)
})

void t.test('bodies pass in both directions, of every size and framing', async (t) => {
  const { url, application } = await start(t, echo)
  for (const size of [0, 1, 70_000, 3_000_000]) {
    const body = randomBytes(size)
    const head = `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n`
    const withLength = Buffer.concat([Buffer.from(`${head}Content-Length: ${size}\r\n\r\n`), body])
    t.ok(parseAnswers(await sendRaw(url, withLength))[0]?.body.equals(body), `${size} bytes with a length`)
    const chunk = size === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), body, CRLF])
    const chunked = Buffer.concat([Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`), chunk, LAST_CHUNK])
    t.ok(parseAnswers(await sendRaw(url, chunked))[0]?.body.equals(body), `${size} bytes in chunks`)
  }
  await eventually(() => application.requests.every(({ stream }) => stream.closed))
  t.ok(
    application.requests.every(({ stream }) => stream.rstCode === constants.NGHTTP2_NO_ERROR),
    'no stream was reset',
  )
})

const post = async (url: string, body: string): Promise<RawAnswer | undefined> => {
  const head = `POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`
  return parseAnswers(await sendRaw(url, head + body))[0]
}

const CRLF = Buffer.from('\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')

void t.test('trailers pass in both directions', async (t) => {
  const received: unknown[] = []
  const { url } = await start(t, ({ stream }) => {
    stream.on('trailers', (headers: IncomingHttpHeaders) => {
      received.push(headers['x-check'])
    })
    stream.resume()
    stream.on('end', () => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => {
        stream.sendTrailers({ 'x-sum': 'abc' })
      })
      stream.end('body')
    })
  })
  const request =
    'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n' +
    '2\r\nok\r\n0\r\nX-Check: 42\r\n\r\n'
  const text = (await sendRaw(url, request)).toString('latin1')
  t.match(text, /\r\n0\r\nx-sum: abc\r\n\r\n$/i)
  t.same(received, ['42'])
})

void t.test('`maxBody` and `Expect: 100-continue` apply', async (t) => {
  const { url } = await start(t, echo, { maxBody: '10b' })
  const chunks = 'b\r\n12345678901\r\n0\r\n\r\n'
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n'
  t.match((await sendRaw(url, `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}`)).toString(), /^HTTP\/1\.1 413 /)
  const { socket, text } = openAndRead(url)
  socket.write(`${head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`)
  await eventually(() => text().includes('100 Continue'))
  socket.write('ok')
  await once(socket, 'close')
  t.match(text(), /200 OK[^]*ok/)
})

void t.test(
  'a header that HTTP/2 allows only once is a 400 that names the header, unless its values are equal',
  async (t) => {
    const { url, running, application } = await start(t, ok)
    const statusOf = async (one: string, other: string): Promise<number> =>
      (await ask(url, 'GET', '/', [`Content-Type: ${one}`, `Content-Type: ${other}`])).status
    const typesAt = (index: number): string[] => {
      const { raw = [] } = application.requests[index] ?? {}
      return raw.filter((_, i) => raw[i - 1] === 'content-type')
    }
    t.equal(await statusOf('a/b', 'a/b'), 200)
    t.same(new Set(typesAt(0)), new Set(['a/b']))
    // Later versions of Node.js send both values.
    const isRefused = Number.parseInt(process.versions.node, 10) < 24
    t.equal(await statusOf('a/b', 'c/d'), isRefused ? 400 : 200)
    t.same(typesAt(1), isRefused ? [] : ['a/b', 'c/d'])
    t.match(running.events('bad_request'), isRefused ? [{ cause: /content-type/ }] : [])
  },
)

void t.test(
  'one connection carries all requests, up to the number of streams that the application allows',
  async (t) => {
    const waiting: Http2Request[] = []
    const { url, application } = await start(
      t,
      (request) => {
        waiting.push(request)
      },
      {},
      { settings: { maxConcurrentStreams: 3 } },
    )
    const answers = Array.from({ length: 9 }, () => ask(url, 'GET', '/'))
    await eventually(() => waiting.length === 9)
    t.equal(application.sessions.length, 3)
    waiting.forEach(ok)
    t.same(
      (await Promise.all(answers)).map(({ status }) => status),
      Array.from({ length: 9 }, () => 200),
    )
    const more = ask(url, 'GET', '/')
    await eventually(() => waiting.length === 10)
    waiting.slice(9).forEach(ok)
    t.equal((await more).status, 200)
    t.equal(application.sessions.length, 3, 'an open connection is reused')
  },
)

void t.test('requests that the application has not processed are sent again, with their bodies', async (t) => {
  const { url, application } = await start(t, (request, count) => {
    const { stream } = request
    if (count === 1) echo(request)
    // GOAWAY: only the first stream was processed.
    else if (count === 2) stream.session?.goaway(0, application.requests[0]?.stream.id)
    else if (count === 4) stream.close(constants.NGHTTP2_REFUSED_STREAM)
    else echo(request)
  })
  for (const body of ['first', 'behind the GOAWAY', 'refused']) {
    const answer = await post(url, body)
    t.equal(answer?.status, 200)
    t.equal(answer?.body.toString(), body)
  }
  t.equal(application.requests.length, 5)
  t.equal(application.sessions.length, 2)
})

void t.test('a request that the application keeps refusing is a 502', async (t) => {
  const { url, application, running } = await start(t, ({ stream }) => {
    stream.close(constants.NGHTTP2_REFUSED_STREAM)
  })
  t.equal((await ask(url, 'POST', '/', ['Content-Length: 0'])).status, 502)
  t.match(running.events('upstream_unreachable'), [{ cause: /REFUSED_STREAM/ }])
  t.equal(application.requests.length, 4)
})

void t.test('a GET on a used connection that breaks is sent again, and a POST is not', async (t) => {
  let breaks = false
  const { url, application } = await start(t, (request) => {
    if (!breaks) {
      ok(request)
      return
    }
    breaks = false
    request.stream.session?.destroy()
  })
  t.equal((await ask(url, 'GET', '/')).status, 200)
  breaks = true
  t.equal((await ask(url, 'GET', '/')).status, 200)
  t.equal(application.requests.length, 3)
  breaks = true
  t.equal((await post(url, 'ok'))?.status, 502)
  t.equal(application.requests.length, 4)
  breaks = true
  t.equal((await ask(url, 'GET', '/')).status, 502, 'the request on a new connection is sent once')
})

void t.test('a connection takes no new requests after upstreamConnectionAge, and ends with its last one', async (t) => {
  const held: Http2Request[] = []
  const { url, application } = await start(
    t,
    (request) => {
      if (request.headers[':path'] === '/held') held.push(request)
      else ok(request)
    },
    { upstreamConnectionAge: '1s' },
  )
  const slow = ask(url, 'GET', '/held')
  await eventually(() => held.length === 1)
  await sleep(1_100)
  t.equal((await ask(url, 'GET', '/')).status, 200)
  t.equal(application.sessions.length, 2)
  t.notOk(application.sessions[0]?.destroyed)
  held.forEach(ok)
  t.equal((await slow).status, 200)
  await eventually(() => application.sessions[0]?.destroyed === true)
})

void t.test('a response that breaks off reaches no client as complete', async (t) => {
  const { url, running } = await start(t, ({ stream, headers }) => {
    const [, what = ''] = headers[':path']?.split('/') ?? []
    stream.respond({ ':status': 200, ...(what === 'length' ? { 'content-length': '10' } : {}) })
    stream.write('begun')
    setTimeout(() => {
      if (what === 'connection') stream.session?.destroy()
      else if (what === 'length') stream.end()
      // Node.js resets the stream with INTERNAL_ERROR or NO_ERROR.
      else stream.destroy(what === 'error' ? new Error('broken') : undefined)
    }, 30)
  })
  for (const what of ['error', 'no error', 'length', 'connection']) {
    const { socket, text } = openAndRead(url)
    socket.write(`GET /${encodeURIComponent(what)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
    await once(socket, 'close')
    t.match(text(), /^HTTP\/1\.1 200 OK\r\n[^]*begun/, what)
    t.notMatch(text(), /\r\n0\r\n/, what)
  }
  t.equal(running.events('upstream_aborted').length, 4)
})

void t.test('a reset in place of a response is a 502 with the error code', async (t) => {
  const { url, running } = await start(t, ({ stream, headers }) => {
    stream.close(Number(headers[':path']?.slice(1)))
  })
  t.equal((await ask(url, 'GET', `/${constants.NGHTTP2_INTERNAL_ERROR}`)).status, 502)
  t.equal((await ask(url, 'GET', `/${constants.NGHTTP2_HTTP_1_1_REQUIRED}`)).status, 502)
  t.match(running.events('upstream_unreachable'), [{ cause: /INTERNAL_ERROR/ }, { cause: /requires HTTP\/1\.1/ }])
})

void t.test('response headers may be as large as limits.answerHeaders, and have many fields', async (t) => {
  const answer = ({ stream, headers }: Http2Request): void => {
    const [, count = 0, size = 0] = headers[':path']?.split('/').map(Number) ?? []
    const fields = Array.from({ length: count }, (_, i) => [`x-${i}`, 'a'.repeat(size)])
    stream.respond({ ':status': 200, ...Object.fromEntries(fields) }, { endStream: true })
  }
  const { url, running } = await start(t, answer, {}, { maxSendHeaderBlockLength: 200_000 })
  t.equal((await ask(url, 'GET', '/500/20')).headers.get('x-499')?.length, 1)
  t.equal((await ask(url, 'GET', '/3/20000')).status, 200)
  t.equal((await ask(url, 'GET', '/4/20000')).status, 502)
  t.match(running.events('upstream_unreachable'), [{ cause: /limits\.answerHeaders/ }])
})

/** Sends a GET without a gateway, and returns the status or the error. */
const dispatch = async (upstream: Http2Upstream): Promise<number | Error> =>
  new Promise((resolve) => {
    upstream.dispatch(
      { path: '/', method: 'GET', headers: ['Host', 'a'] },
      {
        onResponseStart(_controller, status) {
          resolve(status)
        },
        onResponseError(_controller, error) {
          resolve(error)
        },
      },
    )
  })

void t.test('dead connections are given up, and an idle one is closed', async (t) => {
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])
  const silent = await startSockets(t, (socket) => {
    socket.once('data', () => socket.write(settings))
  })
  const violating = await startSockets(t, (socket) => {
    socket.once('data', () => {
      socket.write(settings)
      setTimeout(() => socket.write(Buffer.alloc(1000, 0xff)), 20)
    })
  })
  const { url: working, sessions } = await startHttp2Application(t, ok)
  const outcomes: (number | Error)[] = []
  for (const origin of [silent, violating, working]) {
    const tls = { rejectUnauthorized: true }
    const limits = { connectTimeout: 1_000, upstreamConnectionAge: 60_000, answerHeaders: 64_000 }
    const upstream = new Http2Upstream({ upstream: { origin, socketPath: null }, tls, servername: '', ...limits }, 20)
    t.teardown(() => upstream.destroy())
    outcomes.push(await dispatch(upstream))
  }
  t.match(outcomes, [{ message: /answers no ping/ }, { message: /violated HTTP\/2/ }, 200])
  await eventually(() => sessions[0]?.destroyed === true)
})

void t.test('a client that disconnects, and a timeout, cancel the stream', async (t) => {
  const { url, application } = await start(t, () => {}, { timeout: '300ms' })
  const socket = open(url)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => application.requests.length === 1)
  socket.destroy()
  await eventually(() => application.requests[0]?.stream.closed === true)
  t.equal(application.requests[0]?.stream.rstCode, constants.NGHTTP2_CANCEL)
  t.equal((await ask(url, 'GET', '/')).status, 504)
  t.equal((await post(url, 'ok'))?.status, 504)
  await eventually(() => application.requests.every(({ stream }) => stream.closed))
  t.equal(application.sessions.length, 1, 'the connection stays open')
})

void t.test('a client that does not read stops the application, and then gets everything', async (t) => {
  const size = 40_000_000
  let written = 0
  const { url } = await start(t, ({ stream }) => {
    stream.respond({ ':status': 200, 'content-length': String(size) })
    const chunk = Buffer.alloc(100_000, 'x')
    const more = (): void => {
      while (written < size) {
        written += chunk.length
        if (!stream.write(chunk)) {
          stream.once('drain', more)
          return
        }
      }
      stream.end()
    }
    more()
  })
  const socket = open(url)
  socket.pause()
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  let before = -1
  await eventually(async () => {
    await sleep(200)
    const isSteady = written > 0 && before === written
    before = written
    return isSteady
  })
  t.ok(written < size / 2, `the application has written ${written} bytes`)
  let received = 0
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  socket.resume()
  await once(socket, 'close')
  t.ok(received > size, `${received} bytes`)
})

void t.test('an application that does not speak HTTP/2 is a 502, and the log says why', async (t) => {
  const http1 = await startApplication(t, (_req, res) => {
    res.end('HTTP/1.1')
  })
  const silent = await startSockets(t, (socket) => {
    socket.resume()
  })
  const closing = await startSockets(t, (socket) => {
    socket.end()
  })
  const authority = createAuthority()
  const tls = await startUpstream({ tls: authority.issue(['127.0.0.1']) })
  t.teardown(() => tls.close())
  for (const [upstream, route] of [
    [http1.url, {}],
    [silent, { timeout: '300ms' }],
    [closing, {}],
    [tls.url, { upstreamProtocol: 'h2', upstreamTls: { insecureSkipVerify: true } }],
  ] as const) {
    const { url, events } = await gatewayFor(t, upstream, route)
    t.equal((await ask(url, 'GET', '/')).status, 502, upstream)
    t.match(events('upstream_unreachable'), [{ cause: /HTTP\/2/ }])
  }
})

void t.test('h2 trusts the application by its certificate and negotiates the protocol', async (t) => {
  const authority = createAuthority()
  const caFile = join(t.testdir({ 'ca.pem': authority.ca }), 'ca.pem')
  const { url: upstream } = await startHttp2Application(t, ok, { ...authority.issue(['orders.internal']) })
  const statusWith = async (upstreamTls: object): Promise<number> => {
    const { url } = await gatewayFor(t, upstream, { upstreamProtocol: 'h2', upstreamTls })
    return (await ask(url, 'GET', '/')).status
  }
  t.equal(await statusWith({ caFile, serverName: 'orders.internal' }), 200)
  t.equal(await statusWith({ caFile }), 502)
  t.equal(await statusWith({}), 502)
  t.equal(await statusWith({ insecureSkipVerify: true }), 200)
})

void t.test('h2c over a Unix socket', async (t) => {
  const path = join(tmpdir(), `gatehouse-${randomBytes(6).toString('hex')}.sock`)
  const { url: upstream, requests } = await startHttp2Application(t, ok, {}, path)
  const { url } = await gatewayFor(t, upstream)
  t.equal((await ask(url, 'GET', '/')).status, 200)
  t.equal(requests[0]?.headers[':authority'], new URL(url).host)
})

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const handshake = ({ url }: Running): string =>
  `GET /socket HTTP/1.1\r\nHost: ${new URL(url).host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`

void t.test('a WebSocket goes to an application that accepts extended CONNECT', async (t) => {
  const { url, running, application } = await start(
    t,
    ({ stream, headers }) => {
      if (headers[':protocol'] !== 'websocket') return
      stream.respond({ ':status': 200, 'x-app': 'yes' })
      stream.pipe(stream)
    },
    {},
    { settings: { enableConnectProtocol: true } },
  )
  const { socket, text, bytes } = openAndRead(url)
  socket.write(handshake(running))
  await eventually(() => text().includes('\r\n\r\n'))
  const accept = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  t.match(text(), /^HTTP\/1\.1 101 /)
  t.ok(text().includes(`Sec-WebSocket-Accept: ${accept}\r\n`))
  t.match(text(), /\r\nx-app: yes\r\n/)
  const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x6f, 0x6b])
  socket.write(frame)
  await eventually(() => bytes().subarray(-frame.length).equals(frame))
  t.match(application.requests[0]?.headers, { ':method': 'CONNECT', ':path': '/socket', 'sec-websocket-version': '13' })
  t.equal(application.requests[0]?.headers['sec-websocket-key'], undefined)
  socket.destroy()
  await eventually(() => application.requests[0]?.stream.closed === true)
})

void t.test('a WebSocket to an application without extended CONNECT is a 502, and the log says why', async (t) => {
  const { url, running, application } = await start(t, ok)
  const { socket, text } = openAndRead(url)
  socket.write(handshake(running))
  await eventually(() => text().includes('\r\n\r\n'))
  t.match(text(), /^HTTP\/1\.1 502 /)
  t.match(running.events('upstream_unreachable'), [{ cause: /RFC 8441/ }])
  t.equal(application.requests.length, 0)
  socket.destroy()
})
