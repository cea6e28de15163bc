import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { boundPort } from '../../../src/demo/bound-port.ts'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { createAuthority } from '../../support/certificates.ts'
import { startGateway } from '../../support/gateway.ts'
import { open, parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const headers = { set: { 'X-Team': 'orders' }, remove: ['X-Gone'] }
const publicRoutes = [{ path: '/**', access: 'public', headers }]

/** Starts an application that answers each request, once it is complete, with `answer`, and records all bytes. */
const startRecorder = async (t: Test, answer: { current: string }) => {
  const record = { bytes: '', connections: 0 }
  const upstream = await startSockets(t, (socket, count) => {
    record.connections = count
    let request = ''
    socket.on('data', (chunk) => {
      request += chunk.toString('latin1')
      record.bytes += chunk.toString('latin1')
      const isComplete = /^transfer-encoding/im.test(request) ? /\r\n0\r\n([^\r]+\r\n)*\r\n$/ : /\r\n\r\n$/
      if (!isComplete.test(request)) return
      request = ''
      socket.write(answer.current, 'latin1')
    })
  })
  const { url, events } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const ask = async (request: string): Promise<string> => {
    record.bytes = ''
    return (await sendRaw(url, request)).toString('latin1')
  }
  return { record, ask, events }
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const chunked = (trailers: string, head = ''): string =>
  `HTTP/1.1 200 OK\r\n${head}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${trailers}\r\n`
const get = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
const post = (trailers: string, head = '', body = '5\r\nhello\r\n', method = 'POST'): string =>
  `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${head}Transfer-Encoding: chunked\r\n\r\n${body}0\r\n${trailers}\r\n`

void t.test('trailer fields of a request reach the application byte for byte', async (t) => {
  const { record, ask } = await startRecorder(t, { current: OK })
  await ask(post('X-Sum: caf\xe9 1\r\nx-sum:2\r\nX-Empty:\r\n', 'Trailer: X-Sum, X-Team\r\nTE: trailers\r\n'))
  t.match(record.bytes, /\r\n5\r\nhello\r\n0\r\nX-Sum: caf\xe9 1\r\nx-sum: 2\r\nX-Empty: \r\n\r\n$/)
  t.match(record.bytes, /\r\nTrailer: X-Sum\r\n/)
  t.match(record.bytes, /\r\nTE: trailers\r\n/)
  t.match(record.bytes, /\r\nconnection: keep-alive, TE\r\n/)
  for (const method of ['POST', 'PUT', 'GET', 'DELETE']) {
    await ask(post('X-Sum: 1\r\n', '', '', method))
    t.match(
      record.bytes,
      /\r\ntransfer-encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n$/,
      `${method} with an empty body`,
    )
    t.notMatch(record.bytes, /content-length/i)
  }
})

void t.test('a request without trailer fields gets none from the request before it', async (t) => {
  const { record, ask } = await startRecorder(t, { current: OK })
  await ask(post('X-Sum: 1\r\n'))
  await ask(post(''))
  t.match(record.bytes, /\r\n5\r\nhello\r\n0\r\n\r\n$/)
  await ask(post('X-Sum: 1\r\n', '', ''))
  await ask(post('', '', ''))
  t.match(record.bytes, /\r\ncontent-length: 0\r\n\r\n$/)
  await ask(post('X-Team: mallory\r\n', '', ''))
  t.match(record.bytes, /\r\ncontent-length: 0\r\n\r\n$/, 'nothing is left of the trailer section')
  await ask(get)
  t.notMatch(record.bytes, /X-Sum|chunked|TE/)
  t.equal(record.connections, 1)
})

void t.test('a client can set no header in a trailer field that it cannot set as a header', async (t) => {
  const { record, ask } = await startRecorder(t, { current: OK })
  const forged = [
    'X-Team',
    'x_team',
    'Authorization',
    'Cookie',
    'X-Gone',
    'X-Forwarded-For',
    'Via',
    'Host',
    'Gatehouse',
  ]
  await ask(post(`${forged.map((name) => `${name}: mallory\r\n`).join('')}X-Last: 1\r\n`))
  t.match(record.bytes, /\r\n0\r\nX-Last: 1\r\n\r\n$/)
  t.notMatch(record.bytes, /mallory/)
})

void t.test(
  'a request with invalid trailer fields is rejected, and the application does not see its end',
  async (t) => {
    const { record, ask } = await startRecorder(t, { current: OK })
    for (const line of [
      'X-A: 1\x012',
      'X A: 1',
      'X-A: 1\r2',
      'X-A: 1\n\r',
      'Content-Length: 5',
      'Transfer-Encoding: x',
    ]) {
      const answer = await ask(post(`${line}\r\n`))
      t.match(answer, /^HTTP\/1\.1 400 [^]*bad_request/, JSON.stringify(line))
      t.notMatch(record.bytes, /\r\n0\r\n/, JSON.stringify(line))
    }
  },
)

void t.test('trailer fields of a response reach the client byte for byte', async (t) => {
  const answer = { current: '' }
  const { record, ask } = await startRecorder(t, answer)
  answer.current = chunked('X-Sum: caf\xe9\r\nServer-Timing: a;dur=1\r\nx-sum: 2\r\n', 'Trailer: X-Sum, Set-Cookie\r\n')
  const passed = await ask(get)
  t.match(passed, /\r\n2\r\nok\r\n0\r\nX-Sum: caf\xe9\r\nServer-Timing: a;dur=1\r\nx-sum: 2\r\n\r\n$/)
  t.match(passed, /\r\nTrailer: X-Sum\r\n/)
  answer.current = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n'
  t.match(await ask(get), /\r\n\r\n0\r\nX-Sum: 1\r\n\r\n$/, 'an empty body')
  answer.current = chunked('__proto__: 1\r\nconstructor: 2\r\n')
  t.match(await ask(get), /\r\n0\r\n__proto__: 1\r\nconstructor: 2\r\n\r\n$/)
  answer.current = chunked(
    'Set-Cookie: gatehouse=x\r\nGatehouse: login_required\r\nWWW-Authenticate: Basic\r\nX-Last: 1\r\n',
  )
  t.match(await ask(get), /\r\n0\r\nX-Last: 1\r\n\r\n$/)
  t.equal(record.connections, 1)
})

void t.test('a response without a trailer section does not announce one', async (t) => {
  const answer = { current: chunked('X-Sum: 1\r\n', 'Trailer: X-Sum\r\n') }
  const { ask } = await startRecorder(t, answer)
  t.match(await ask('GET / HTTP/1.0\r\nHost: a\r\n\r\n'), /^HTTP\/1\.1 200 (?:(?!Trailer)[^])*\r\n\r\nok$/)
  for (const [request, response] of [
    [get, 'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nContent-Length: 2\r\n\r\nok'],
    [get, 'HTTP/1.1 304 Not Modified\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n'],
    [get, 'HTTP/1.1 204 No Content\r\nTrailer: X-Sum\r\n\r\n'],
    [get.replace('GET', 'HEAD'), 'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ] as const) {
    answer.current = response
    const passed = await ask(request)
    t.match(passed, response.slice(0, response.indexOf('\r\n')))
    t.notMatch(passed, /Trailer|502/, response)
  }
})

void t.test('a response with invalid trailer fields is broken off, and the log says why', async (t) => {
  const answer = { current: chunked('X-Sum: \x01\r\n') }
  const { ask, events } = await startRecorder(t, answer)
  t.match(await ask(get), /\r\n2\r\nok\r\n$/)
  t.match(events('upstream_aborted')[0], { cause: /Invalid header value char/ })
})

void t.test('an upstream connection is not reused after a trailer field that concerns the connection', async (t) => {
  const answer = { current: '' }
  const { record, ask } = await startRecorder(t, answer)
  for (const [i, line] of ['Connection: close', 'Transfer-Encoding: gzip', 'Keep-Alive: timeout=0'].entries()) {
    answer.current = chunked(`${line}\r\nX-Sum: 1\r\n`)
    t.match(await ask(get), /^HTTP\/1\.1 200 [^]*\r\n0\r\nX-Sum: 1\r\n\r\n$/, line)
    t.equal(record.connections, i + 1)
  }
})

/** An application of node:http that returns the trailer fields of a request as those of its response. */
const echo = (req: IncomingMessage, res: ServerResponse): void => {
  void buffer(req).then((body) => {
    res.writeHead(200, { trailer: 'grpc-status, x-sum' })
    res.write(String(body.length))
    res.addTrailers({ ...req.trailers, 'grpc-status': '0', 'grpc-message': 'ok', 'grpc-status-details-bin': 'CAA=' })
    res.end()
  })
}

/** Sends a request of node:http with a body and with trailer fields. */
const exchange = async (url: string, body: Buffer, trailers: Record<string, string>) => {
  const request = httpRequest(url, {
    method: 'POST',
    headers: { te: 'trailers', trailer: Object.keys(trailers).join() },
  })
  request.write(body)
  request.addTrailers(trailers)
  request.end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return { body: await text(response), trailers: response.trailers, headers: response.headers }
}

void t.test('a client and an application of node:http exchange trailer fields, also in parallel', async (t) => {
  const { url: upstream } = await startApplication(t, echo)
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const status = { 'grpc-status': '0', 'grpc-message': 'ok', 'grpc-status-details-bin': 'CAA=' }
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const mine = i % 3 === 0 ? {} : { 'x-sum': String(i), 'custom-bin': 'AA==' }
      const size = i % 5 === 0 ? 400_000 : i % 4
      const answer = await exchange(url, Buffer.alloc(size, 'x'), mine)
      t.equal(answer.body, String(size))
      t.same(answer.trailers, { ...mine, ...status }, `request ${i}`)
      t.equal(answer.headers.trailer, 'grpc-status, x-sum')
    }),
  )
})

void t.test('trailer fields reach an application over TLS', async (t) => {
  const authority = createAuthority()
  const { cert, key } = authority.issue(['127.0.0.1'])
  const server = createTlsServer({ cert, key }, echo)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const caFile = join(t.testdir({ 'ca.pem': authority.ca }), 'ca.pem')
  const routes = [{ path: '/**', access: 'public', upstreamTls: { caFile } }]
  const { url } = await startGateway(t, { idp, config: { upstream: `https://127.0.0.1:${boundPort(server)}`, routes } })
  for (const size of [0, 5])
    t.match((await exchange(url, Buffer.alloc(size), { 'x-sum': '1' })).trailers, { 'x-sum': '1' })
})

void t.test('curl shows the trailer fields of a response', async (t) => {
  const { url: upstream } = await startApplication(t, echo)
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const { stdout } = await promisify(execFile)('curl', ['-sS', '-D', '-', '-X', 'POST', url])
  t.match(stdout, /grpc-status: 0\r\n/)
})

void t.test('pipelined responses keep their trailer fields', async (t) => {
  const { url: upstream } = await startApplication(t, (req, res) => {
    setTimeout(
      () => {
        res.write('x')
        res.addTrailers({ 'X-Path': req.url ?? '' })
        res.end()
      },
      req.url === '/0' ? 60 : 0,
    )
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const socket = open(url)
  for (const i of [0, 1, 2])
    socket.write(`GET /${i} HTTP/1.1\r\nHost: a\r\n${i === 2 ? 'Connection: close\r\n' : ''}\r\n`)
  const answers = parseAnswers(await buffer(socket))
  t.same(
    answers.map(({ trailers }) => trailers),
    [['X-Path: /0'], ['X-Path: /1'], ['X-Path: /2']],
  )
})

void t.test('trailer fields pass between a client of HTTP/2 and an application of HTTP/1.1', async (t) => {
  const { url: upstream } = await startApplication(t, echo)
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes, listenH2c: true } })
  const session = connectHttp2(url)
  t.teardown(() => {
    session.destroy()
  })
  for (const body of ['', 'hello']) {
    const headers = { ':method': 'POST', 'te': 'trailers', 'trailer': 'x-sum, x-team' }
    const stream = session.request(headers, { waitForTrailers: true })
    stream.on('wantTrailers', () => {
      stream.sendTrailers({ 'x-sum': 'caf\xe9', 'x-team': 'mallory', 'custom-bin': 'AA==' })
    })
    stream.end(body)
    const got: { response?: IncomingHttpHeaders; trailers?: IncomingHttpHeaders } = {}
    stream.on('response', (received) => (got.response = received))
    stream.on('trailers', (received) => (got.trailers = received))
    t.equal(await text(stream), String(body.length))
    t.match(got.response, { ':status': 200, 'trailer': 'grpc-status, x-sum' })
    t.match(got.trailers, { 'x-sum': 'caf\xe9', 'custom-bin': 'AA==', 'grpc-status': '0', 'x-team': undefined })
  }
})
