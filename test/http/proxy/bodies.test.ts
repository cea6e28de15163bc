import { createHash, randomBytes } from 'node:crypto'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startIdp } from '../../../src/demo/idp.ts'
import { startApplication } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { createBrowser } from '../../support/browser.ts'
import { startGateway } from '../../support/gateway.ts'
import { ask, header, open, parseAnswers, sendRaw } from '../../support/raw-http.ts'
import { startSockets } from '../../support/sockets.ts'

// One provider for all gateways here: what it does is not what these tests are about.
const idp = await startIdp()
t.teardown(() => idp.close())

const publicRoutes = [{ path: '/**', access: 'public' }]
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

const post = async (
  url: string,
  body: Buffer,
  { chunked = false, headers = {} } = {},
): Promise<{ body: { length: number; sha256: string }; headers: Record<string, string> }> => {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const req = httpRequest(
      url,
      {
        method: 'POST',
        headers: { ...headers, ...(chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length }) },
      },
      resolve,
    )
    req.on('error', reject)
    for (let at = 0; at < body.length; at += 50_000) req.write(body.subarray(at, at + 50_000))
    req.end()
  })
  return JSON.parse((await buffer(answer)).toString())
}

void t.test('a request body is forwarded unchanged, sized or chunked, of any size', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  for (const size of [0, 1, 65_535, 65_536, 3_000_000]) {
    const body = randomBytes(size)
    for (const chunked of [false, true]) {
      const seen = await post(`${url}/api/echo`, body, { chunked })
      t.same(seen.body.length, size, `${size} bytes, ${chunked ? 'chunked' : 'sized'}`)
      t.equal(seen.body.sha256, sha256(body))
      if (size > 0 && !chunked)
        t.equal(seen.headers['content-length'], String(size), 'an announced length stays announced')
    }
  }
})

void t.test('a response body is forwarded unchanged, sized or chunked', async (t) => {
  const bodies = new Map(['/0', '/1', '/65536', '/3000000'].map((path) => [path, randomBytes(Number(path.slice(1)))]))
  const application = await startApplication(t, ({ url = '' }, res) => {
    const [path = '', how] = url.split('?')
    const body = bodies.get(path) ?? Buffer.alloc(0)
    if (how === 'sized') res.setHeader('content-length', body.length)
    else res.flushHeaders()
    for (let at = 0; at < body.length; at += 10_000) res.write(body.subarray(at, at + 10_000))
    res.end()
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  for (const [path, body] of bodies)
    for (const how of ['sized', 'chunked']) {
      const answer = await ask(url, 'GET', `${path}?${how}`)
      t.equal(sha256(answer.body), sha256(body), `${path} ${how}`)
      t.equal(header(answer, 'content-length'), how === 'sized' ? String(body.length) : null)
    }
})

void t.test('compressed responses stay compressed', async (t) => {
  const bytes = randomBytes(1000)
  const application = await startApplication(t, (_req, res) => {
    res.writeHead(200, { 'content-encoding': 'br', 'content-type': 'text/html' }).end(bytes)
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const answer = await ask(url, 'GET', '/', ['Accept-Encoding: br'])
  t.equal(header(answer, 'content-encoding'), 'br')
  t.ok(answer.body.equals(bytes))
})

void t.test('bodies of every media type pass, even of a malformed media type', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const types = [
    'application/json',
    'text/',
    '/',
    ';;;',
    'multipart/form-data',
    'application/json; charset=x; charset=y',
    'text/html, text/plain',
    '\u00e9',
  ]
  for (const type of types) {
    const seen = await post(`${url}/api/echo`, Buffer.from('{not json'), { headers: { 'content-type': type } })
    t.equal(seen.body.length, 9, type)
    t.equal(seen.headers['content-type'], type)
  }
})

void t.test('a body passes with any method', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  for (const method of ['GET', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND', 'REPORT']) {
    const bytes = await sendRaw(
      url,
      `${method} /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello`,
    )
    const [answer] = parseAnswers(bytes)
    t.match(JSON.parse(answer?.body.toString() ?? ''), { method, body: { text: 'hello' } }, method)
  }
})

void t.test('204 and 304 have no body, and the connection stays usable', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const bytes = await sendRaw(
    url,
    ['204', '304', '200']
      .map(
        (status, i) => `GET /api/status/${status} HTTP/1.1\r\nHost: a\r\n${i === 2 ? 'Connection: close\r\n' : ''}\r\n`,
      )
      .join(''),
  )
  t.same(
    parseAnswers(bytes).map(({ status, body }) => [status, body.length > 0]),
    [
      [204, false],
      [304, false],
      [200, true],
    ],
  )
})

void t.test('a 204 with Content-Length loses the header, and the connection stays open', async (t) => {
  const upstream = await startSockets(t, (socket) => {
    socket.on('data', () => {
      socket.write('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nX-After: kept\r\n\r\n')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream, routes: publicRoutes } })
  const answer = await ask(url, 'GET', '/')
  t.same([answer.status, header(answer, 'content-length'), header(answer, 'x-after')], [204, null, 'kept'])
})

void t.test('Expect: 100-continue is answered by the gateway and not forwarded', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const socket = open(url)
  socket.write(
    'POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
  )
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  await eventually(() => text.includes('100 Continue'))
  socket.write('hello')
  await eventually(() => text.includes('"text":"hello"'))
  socket.destroy()
  t.notOk(upstream.requests.at(-1)?.headers.expect)
})

void t.test('an unknown expectation is ignored', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  t.equal((await ask(url, 'GET', '/api/orders', ['Expect: something-else'])).status, 200)
})

void t.test('a body with two framings is refused', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const framings = [
    'Content-Length: 5\r\nContent-Length: 6',
    'Content-Length: 5, 5',
    'Content-Length: 5\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: gzip',
    'Transfer-Encoding: chunked, x',
    'Content-Length: -1',
    'Content-Length: 0x5',
    'Content-Length: +5',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
  ]
  for (const framing of framings) {
    const bytes = await sendRaw(
      url,
      `POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${framing}\r\n\r\nhello`,
    )
    const [answer] = parseAnswers(bytes)
    t.equal(answer?.status, 400, framing)
    t.match(JSON.parse(answer?.body.toString() ?? ''), { code: 'bad_request' }, framing)
  }
  t.equal(upstream.requests.length, 0)
})

void t.test('a chunked HTTP/1.0 request is refused, and its connection ends', async (t) => {
  const { url, upstream } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  const bytes = await sendRaw(
    url,
    'POST /api/echo HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: ' +
      'chunked\r\n\r\n0\r\n\r\nGET /second HTTP/1.0\r\nHost: a\r\n\r\n',
  )
  t.same(
    parseAnswers(bytes).map(({ status }) => status),
    [400],
  )
  t.notOk(upstream.requests.some(({ method }) => method === 'POST'))
})

void t.test('a request for an unsupported protocol upgrade is the last one on its connection', async (t) => {
  const { url } = await startGateway(t, { idp, config: { routes: publicRoutes } })
  for (const [name, bytes] of [
    [
      'h2c',
      'GET /api/orders HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ' +
        'h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
    ],
    [
      'a WebSocket by POST',
      'POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: ' +
        '5\r\n\r\nhello',
    ],
  ] as const) {
    const answers = await sendRaw(url, `${bytes}GET /second HTTP/1.1\r\nHost: a\r\n\r\n`)
    const [first] = parseAnswers(answers)
    t.same([first?.status, first === undefined ? null : header(first, 'connection')], [200, 'close'], name)
  }
})

void t.test('an upload waits for an application that reads slowly', async (t) => {
  const held: IncomingMessage[] = []
  const application = await startApplication(t, (req, res) => {
    held.push(req)
    req.once('readable', () => undefined)
    req.on('end', () => {
      res.end('done')
    })
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const socket = open(url)
  const total = 50_000_000
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${total}\r\n\r\n`)
  const chunk = Buffer.alloc(1_000_000)
  let sent = 0
  const pump = (): void => {
    while (sent < total && !socket.destroyed) {
      sent += chunk.length
      if (!socket.write(chunk)) break
    }
  }
  socket.on('drain', pump)
  pump()
  await eventually(() => held.length === 1)
  await sleep(500)
  t.ok(sent < 30_000_000, `${sent} bytes were accepted without a reader`)
  let answer = ''
  socket.on('data', (data: Buffer) => {
    answer += data.toString()
  })
  held[0]?.resume()
  await eventually(() => answer.includes('done'))
  t.equal(sent, total)
})

void t.test('a download waits for a client that reads slowly', async (t) => {
  let written = 0
  const application = await startApplication(t, (_req, res) => {
    const chunk = Buffer.alloc(100_000)
    const pump = (): void => {
      while (written < 80_000_000 && !res.destroyed) {
        written += chunk.length
        if (!res.write(chunk)) break
      }
      if (written >= 80_000_000) res.end()
    }
    res.on('drain', pump)
    pump()
  })
  const { url } = await startGateway(t, { idp, config: { upstream: application.url, routes: publicRoutes } })
  const socket = open(url)
  socket.pause()
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await eventually(() => written > 0)
  await sleep(500)
  t.ok(written < 30_000_000, `${written} bytes were accepted without a reader`)
  let read = 0
  socket.on('data', (data: Buffer) => {
    read += data.length
  })
  socket.resume()
  await eventually(() => read >= 80_000_000, { timeoutMs: 10_000 })
})

void t.test('a form with a session is forwarded as it was posted', async (t) => {
  const { url, upstream } = await startGateway(t, { idp })
  const browser = createBrowser()
  await browser.login(`${url}/`, 'alice')
  const answer = await browser.post(`${url}/api/echo`, new URLSearchParams({ note: 'a&b=ü' }), { from: `${url}/` })
  t.match(answer.json(), { body: { text: 'note=a%26b%3D%C3%BC' } })
  t.equal(upstream.requests.at(-1)?.headers['content-type'], 'application/x-www-form-urlencoded')
})
